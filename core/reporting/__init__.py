"""Under report: its parts, its words, its formats."""
