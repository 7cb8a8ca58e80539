"""The receipt of a number: formula, what was divided by what, which rows, and how it was made."""

from .forms import DifferenceReceipt, IntervalReceipt, Part, Receipt, Rows, Tokens
from .of_results import (
    compared_with,
    difference_receipt,
    differences,
    every_receipt,
    explained_split,
    receipt,
)
from .of_training import evaluation_receipt, training_receipts

__all__ = [
    "DifferenceReceipt",
    "IntervalReceipt",
    "Part",
    "Receipt",
    "Rows",
    "Tokens",
    "compared_with",
    "difference_receipt",
    "differences",
    "evaluation_receipt",
    "every_receipt",
    "explained_split",
    "receipt",
    "training_receipts",
]
