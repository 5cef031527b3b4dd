"""The pages: HTML, figures, charts."""
