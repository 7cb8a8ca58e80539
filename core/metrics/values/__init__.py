"""Rows with numbers: predicted ones, and scores that answers were given."""
