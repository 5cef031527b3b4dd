"""What every job does around its one call: log, lock, progress, resume, tables, record."""
