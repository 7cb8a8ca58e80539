"""Rows with several labels each: read, measured, compared."""
