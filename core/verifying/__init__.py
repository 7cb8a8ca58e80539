"""Under verify: what was stored, row by row, and the numbers made of it once more."""
