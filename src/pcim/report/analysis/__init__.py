"""Tables and tests behind the report: tables in, tables out."""
