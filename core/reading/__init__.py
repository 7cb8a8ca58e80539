"""Files to rows: sources, formats, columns, splits, duplicates."""
