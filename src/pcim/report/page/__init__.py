"""The pages of the report: HTML, charts, figures."""
