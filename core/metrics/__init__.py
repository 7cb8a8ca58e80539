"""Metrics, one definition each, with their intervals, tests and paired comparisons.

The definitions are read with the package: whoever asks for one has them all, in the order in which
tables show them. None of them needs NumPy.
"""

from . import definitions  # noqa: F401
