"""How the tuned model does on each label, and what it confuses, on the split that is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...judgement.selection import SPLITS
from ...metrics.results import LabelScores
from ...wording.numbers import format_value
from ..blocks import Block, Heading, Matrix, Paragraph, Table, section
from ..document import Report

MATRIX_LABELS = 20  # up to so many a confusion matrix is shown whole
WORST = 20  # confusions told where it is not


@section(60, more=None)
def show_labels(report: Report) -> list[Block]:
    results = report["results"]
    split = next((s for s in SPLITS if "tuned" in results.get(s, {})), None)
    if split is None or (confusion := results[split]["tuned"].confusion) is None:
        return []
    tuned = results[split]["tuned"]
    rows = _label_rows(tuned.per_class or {})
    told: list[Block] = [
        Heading(f"Labels (tuned, {split})"),
        Table(["label", "precision", "recall", "F1", "rows"], rows),
    ]
    if tuned.undefined:
        named = ", ".join(tuned.undefined)
        told.append(Paragraph(f"In neither truth nor predictions, and so in no average: {named}."))
    return told + _confusion(split, confusion.labels, confusion.counts)


def _label_rows(per_class: Mapping[str, LabelScores]) -> list[list[str]]:
    return [
        [
            label,
            format_value("precision", row.precision),
            format_value("recall", row.recall),
            format_value("f1", row.f1),
            f"{row.support:,}",
        ]
        for label, row in per_class.items()
    ]


def _confusion(split: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[Block]:
    if len(labels) <= MATRIX_LABELS:
        words = "Rows are truth, columns predictions; the last column is the recall of the label."
        return [
            Heading(f"Confusion matrix (tuned, {split})"),
            Paragraph(words),
            Matrix(labels, counts),
        ]
    worst = _worst_confusions(labels, counts)
    if not worst:
        return []
    columns = ["truth", "predicted", "rows", "of the truth"]
    told = Table(columns, worst, words=("predicted",))
    return [Heading(f"Commonest confusions (tuned, {split})"), told]


def _worst_confusions(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[list[str]]:
    cells = [(n, i, j) for i, line in enumerate(counts) for j, n in enumerate(line) if n and i != j]
    cells.sort(key=lambda c: (-c[0], c[1], c[2]))
    return [
        [labels[i], labels[j], f"{n:,}", format_value("recall", n / sum(counts[i]))]
        for n, i, j in cells[:WORST]
    ]
