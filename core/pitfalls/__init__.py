"""Pitfalls that the numbers of a run show: a file a theme, each look a function of a `Case`."""
