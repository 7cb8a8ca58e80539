"""What is wrong with the rows: contradictory, uneven, mislabelled, not read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ...config.objective import REPEATED
from ...data.labels import find_variants, fold_label, sort_labels
from ...run.history import History
from ...wording.names import name_row
from ...wording.numbers import format_count, format_interval, format_value, read_number
from .case import EVIDENCE_ROWS, Case, Finding, Look
from .course import training

IMBALANCE = 5.0  # rows of the largest label to one of the smallest
SMALL_SUPPORT = 10  # rows of a label: fewer, and its recall is anecdote
LISTED = 5
NOISY = 0.08  # of the labels estimated wrong: from there a warning


def _repeated_test_rows(case: Case) -> Iterator[Finding]:
    """Copies within the rows that judge; before there are results, within those that will."""
    name = case.judging
    split = case.history.splits.get(name)
    if split is None or not split.distinct_rows:
        return
    repeated = split.rows - split.distinct_rows
    if repeated <= REPEATED * split.rows:
        return
    leaked = case.history.leakage
    pairs = leaked.pairs if leaked else []
    copies = [(b, j) for a, _, b, j, layer, _ in pairs if (a, b, layer) == (name, name, "exact")]
    yield Finding(
        "repeated_test_rows",
        "info",
        f"{repeated:,} of {format_count(split.rows, f'{name} row')} repeat an earlier one of "
        f"{name} ({format_count(split.distinct_rows, 'distinct input')}): copies of one input "
        "are no new evidence, so they are resampled and exchanged together",
        {"split": name, "rows": split.rows, "distinct": split.distinct_rows},
        copies[: EVIDENCE_ROWS if len(copies) >= min(repeated, EVIDENCE_ROWS) else LISTED],
        f"Keep one of each in {name} if the copies are an accident of how the rows were gathered",
        {name: repeated},
    )


def _conflicting_labels(case: Case) -> Iterator[Finding]:
    found = case.history.leakage
    if found is None or not found.conflicting_labels:
        return
    across = sum(1 for a, _, b, _ in found.conflicts if a != b)
    told = f"{found.conflicting_labels:,} rows repeat an input that has another label before"
    if found.conflicts:
        a, row_a, b, row_b = found.conflicts[0]
        splits = case.history.splits
        told += f", for instance {name_row(splits, b, row_b)} and {name_row(splits, a, row_a)}"
        if len(found.conflicts) >= found.conflicting_labels:
            told += f"; {across:,} of these pairs cross splits"
    pairs = [row for a, i, b, j in found.conflicts for row in ((a, i), (b, j))]
    yield Finding(
        "conflicting_labels",
        "warning",
        told,
        {"rows": found.conflicting_labels, "pairs_across_splits": across},
        list(dict.fromkeys(pairs))[:EVIDENCE_ROWS],
        "Decide on one label for each of them",
    )


def _imbalance(case: Case) -> Iterator[Finding]:
    counts = case.train_labels()
    if len(counts) < 2:
        return
    most, least = max(counts, key=lambda k: counts[k]), min(counts, key=lambda k: counts[k])
    ratio = counts[most] / counts[least]
    if ratio >= IMBALANCE:
        yield Finding(
            "class_imbalance",
            "warning",
            f'train has {ratio:.1f} rows of "{most}" for each of "{least}" '
            f"({counts[most]:,} to {counts[least]:,})",
            {"ratio": ratio, "largest": most, "smallest": least},
            remedy="Read macro F1 and the row of each label, not accuracy",
        )


def _small_classes(case: Case) -> Iterator[Finding]:
    """By the rows that judge; before there are results, by those that will."""
    split, supports = _judging_rows(case)
    small = {k: int(n) for k, n in supports.items() if n < SMALL_SUPPORT}
    if small:
        some = ", ".join(f'"{k}" ({n})' for k, n in list(small.items())[:LISTED])
        yield Finding(
            "small_classes",
            "info",
            f"fewer than {SMALL_SUPPORT} rows of {format_count(len(small), 'label')} "
            f"in {split}: {some}" + (", …" if len(small) > LISTED else ""),
            {"split": split, "support": small},
            remedy="Do not judge those labels by their own figures",
        )


def _judging_rows(case: Case) -> tuple[str, dict[str, int]]:
    """The judged split and the rows of each label in it."""
    if case.split is not None:
        rows = case.tuned.get("per_class") or {}
        return case.split, {k: row.get("support", 0) for k, row in rows.items()}
    return _prepared_rows(case.history)


def _prepared_rows(history: History) -> tuple[str, dict[str, int]]:
    name = "test" if "test" in history.splits else "validation"
    split = history.splits.get(name)
    known = dict.fromkeys(history.labels, 0) if split and split.labels else {}
    return name, known | (split.labels if split else {})


def _label_errors(case: Case) -> Iterator[Finding]:
    """Wrong labels of held-out rows, graver the more there are (V12)."""
    for split in ("test", "validation"):
        found = case.analysis("label_errors", split)
        suspected, rows = int(found.get("suspected", 0)), int(found.get("n", 0))
        share, low = read_number(found.get("share")), read_number(found.get("low"))
        by_tuned = found.get("model", "tuned") == "tuned"
        if not suspected or math.isnan(share) or (by_tuned and training(case).diverged):
            continue
        listed = [(split, int(r["row_id"])) for r in found.get("rows", [])]
        model = "tuned model" if by_tuned else "linear probe"
        yield Finding(
            "label_errors",
            "warning" if share >= NOISY else "info",
            f"about {format_value('accuracy', share)} of the labels in {split} are probably wrong "
            f"(95 %: {format_interval('accuracy', low, found['high'])}): the {model} errs as often "
            f"where it is sure. {suspected:,} of {format_count(rows, 'row')} are suspect"
            f"{_commonest_cell(found)}",
            {
                "split": split,
                "model": found.get("model"),
                "share": share,
                "low": low,
                "high": read_number(found["high"]),
                "suspected": suspected,
                "rows": rows,
            },
            listed[:EVIDENCE_ROWS],
            f"Read the listed rows of {split}, correct what is wrong, and evaluate again",
            {split: suspected},
        )


def _commonest_cell(found: dict[str, Any]) -> str:
    if not found.get("cells"):
        return ""
    cell = found["cells"][0]
    return f', most often "{cell["label"]}" that looks like "{cell["suggested"]}" ({cell["rows"]})'


def _unread(case: Case) -> Iterator[Finding]:
    found = case.history.columns
    for kind, names in (
        ("column", found.unread if found else []),
        ("message key", found.unread_keys if found else []),
    ):
        if not names:
            continue
        listed = ", ".join(f'"{name}"' for name in names)
        yield Finding(
            "unread_columns",
            "info",
            f"nothing reads {format_count(len(names), kind)} of the data: {listed}",
            {"kind": kind, "names": list(names)},
            remedy="If the model needs one of them, write it into the text or the prompt",
        )


def _label_variants(case: Case) -> Iterator[Finding]:
    """Spellings of one label, each learnt as a label of its own. Named in the config, it is meant
    so."""
    counts: Counter[str] = Counter(dict.fromkeys(case.history.labels, 0))
    for split in case.history.splits.values():
        counts.update(split.labels)
    groups = find_variants(sort_labels(counts))
    if not groups:
        return
    told = "; ".join(
        " and ".join(f'"{label}" ({format_count(counts[label], "row")})' for label in group)
        for group in groups[:LISTED]
    )
    meant = case.config is not None and case.config.data.labels is not None
    yield Finding(
        "label_variants",
        "warning" if meant else "error",
        f'labels differ only in case, spaces or ".0", and each counts as one of its own: {told}'
        + ("; …" if len(groups) > LISTED else "")
        + _tell_folded(case),
        {"groups": groups, **_folded(case)},
        remedy="Write each label in one way only; if they do differ, name all of them in "
        "data.labels",
    )


def _folded(case: Case) -> dict[str, int]:
    """Rows of the judged split that are right, as they are and with spellings taken as one."""
    confusion = case.tuned.get("confusion") or {}
    names, table = confusion.get("labels", []), confusion.get("counts", [])
    if not names:
        return {}
    keys = [fold_label(str(name)) for name in names]
    right = sum(row[i] for i, row in enumerate(table))
    alike = sum(
        n
        for key, row in zip(keys, table, strict=True)
        for k, n in zip(keys, row, strict=True)
        if k == key
    )
    return {"rows": int(case.tuned.get("n") or 0), "right": int(right), "folded": int(alike)}


def _tell_folded(case: Case) -> str:
    f = _folded(case)
    if not f or not f["rows"]:
        return ""
    return (
        f". Of {format_count(f['rows'], f'{case.split} row')} {f['right']:,} are right "
        f"({f['right'] / f['rows'] * 100:.1f} %); with spellings taken as one, {f['folded']:,} are "
        f"({f['folded'] / f['rows'] * 100:.1f} %)"
    )


def _rows_skipped(case: Case) -> Iterator[Finding]:
    for name, s in case.history.splits.items():
        if s.skipped_rows:
            yield Finding(
                "rows_skipped",
                "info",
                f"{s.skipped_rows:,} bad rows of {name} were left out, as data.bad_rows says",
                {"split": name, "rows": s.skipped_rows},
            )


LOOKS: tuple[Look, ...] = (
    _repeated_test_rows,
    _conflicting_labels,
    _label_errors,
    _imbalance,
    _small_classes,
    _rows_skipped,
    _label_variants,
    _unread,
)
