"""What is wrong with the rows: contradictory, uneven, mislabelled, not read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from ...config.objective import REPEATED
from ...data.labels import find_variants, fold_label, sort_labels
from ...metrics.analyses import LabelErrors
from ...run.history import History
from ...wording.names import name_row
from ...wording.numbers import format_count, format_interval, format_value
from .case import EVIDENCE_ROWS, Case, Finding, pitfall
from .course import training

IMBALANCE = 5.0  # rows of the largest label to one of the smallest
SMALL_SUPPORT = 10  # rows of a label: fewer, and its recall is anecdote
LISTED = 5
NOISY = 0.08  # of the labels estimated wrong: from there a warning


@pitfall(
    "repeated_test_rows",
    title="repeated rows in the test split",
    rank=11,
    see=("leakage", "interval", "test_too_small", "near duplicate"),
    aliases=("repeated rows", "duplicate test rows", "distinct rows"),
)
def _repeated_test_rows(case: Case) -> Iterator[Finding]:
    """More than one in fifty rows of the split that is judged repeat an input before them in it.

    A copy is answered as its first was, so it brings weight and no new evidence. Copies of one
    input are therefore one cluster: every interval and every paired test draws or exchanges them
    together, and is as wide as the distinct inputs allow. Where messages truly arrive in copies,
    the figures describe that stream.

    Trap: Taking this for leakage: no row of train is involved, and the metric itself need not be
    wrong.
    """
    # Copies within the rows that judge; before there are results, within those that will.
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


@pitfall(
    "conflicting_labels",
    title="same input, different labels",
    see=("label_errors", "leakage", "confusion matrix"),
    aliases=("contradictory labels",),
)
def _conflicting_labels(case: Case) -> Iterator[Finding]:
    """The same text occurs more than once, with labels that disagree.

    No model can be right on both, so each such pair lowers the best score there is and teaches
    noise. A handful is normal; one per cent of the rows is a problem of the label guide and not of
    the model. Read the pairs that the finding lists, decide on one label for each, or admit that
    the labels overlap.

    Trap: Dropping the minority answer automatically: it may be the right one, and the pair may show
    that context is missing from the input.
    """
    found = case.history.leakage
    if found is None or not found.conflicting_labels:
        return
    across = sum(1 for a, _, b, _ in found.conflicts if a != b)
    message = f"{found.conflicting_labels:,} rows repeat an input that has another label before"
    if found.conflicts:
        a, row_a, b, row_b = found.conflicts[0]
        splits = case.history.splits
        message += f", for instance {name_row(splits, b, row_b)} and {name_row(splits, a, row_a)}"
        if len(found.conflicts) >= found.conflicting_labels:
            message += f"; {across:,} of these pairs cross splits"
    pairs = [row for a, i, b, j in found.conflicts for row in ((a, i), (b, j))]
    yield Finding(
        "conflicting_labels",
        "warning",
        message,
        {"rows": found.conflicting_labels, "pairs_across_splits": across},
        list(dict.fromkeys(pairs))[:EVIDENCE_ROWS],
        "Decide on one label for each of them",
    )


@pitfall(
    "label_errors",
    title="suspected label errors",
    see=("conflicting_labels", "confusion matrix", "cross-validation"),
    aliases=("mislabelled rows", "label noise"),
)
def _label_errors(case: Case) -> Iterator[Finding]:
    """Rows whose given label the models, trained without them, find very unlikely.

    Ranked by confidence out of sample and tied to cells of the confusion matrix, so that a mix-up
    of two labels shows as a pattern. They are candidates for reading, not convictions: a hard but
    correct row looks the same. If most of the first twenty are wrong labels, correct the file and
    evaluate again.

    Trap: Relabelling the test set by what the model thinks raises its score without making it
    better; a person has to decide, without seeing the prediction if possible.
    """
    # Wrong labels of held-out rows, graver the more there are (V12).
    for split in ("test", "validation"):
        found = case.analysis(LabelErrors, split)
        if found is None or not found.suspected or found.share is None:
            continue
        suspected, rows, share = found.suspected, found.n, found.share
        by_tuned = found.model in (None, "tuned")
        if math.isnan(share) or (by_tuned and training(case).diverged):
            continue
        listed = [(split, row.row_id) for row in found.rows or []]
        model = "tuned model" if by_tuned else "linear probe"
        yield Finding(
            "label_errors",
            "warning" if share >= NOISY else "info",
            f"about {format_value('accuracy', share)} of the labels in {split} are probably wrong "
            f"(95 %: {format_interval('accuracy', found.low, found.high)}): the {model} errs as "
            f"often where it is sure. {suspected:,} of {format_count(rows, 'row')} are suspect"
            f"{_commonest_cell(found)}",
            {
                "split": split,
                "model": found.model,
                "share": share,
                "low": found.low,
                "high": found.high,
                "suspected": suspected,
                "rows": rows,
            },
            listed[:EVIDENCE_ROWS],
            f"Read the listed rows of {split}, correct what is wrong, and evaluate again",
            {split: suspected},
        )


@pitfall(
    "class_imbalance",
    title="class imbalance",
    see=("macro_f1", "balanced_accuracy", "base rate", "threshold", "small_classes"),
    aliases=("imbalanced labels", "imbalance"),
)
def _imbalance(case: Case) -> Iterator[Finding]:
    """Train has at least five times as many rows of its largest label as of its smallest.

    Common labels then dominate the loss, and accuracy mostly reports on them. Not an error in
    itself: the world is uneven. Read macro F1, recall by label, or MCC, and set a threshold for the
    label that matters. If the rare label fails, more of its rows help most, then weights or
    sampling.

    Trap: Balancing the training rows changes the probabilities: they are then those of a world in
    which the rare label is common, and need recalibrating.
    """
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


@pitfall(
    "small_classes",
    title="labels too small to judge",
    see=("support", "Wilson interval", "macro average", "test_too_small"),
    aliases=("labels too small", "small labels"),
)
def _small_classes(case: Case) -> Iterator[Finding]:
    """Some labels have fewer than ten rows in the split that is judged.

    Recall from eight rows moves by 12.5 points when one of them changes, and its interval spans
    half the scale. Such a label's own figures are an anecdote; it still counts as a full label in
    macro averages and makes them jumpy. Gather more rows of it, merge it with a neighbour, or say
    openly that it was not measured.

    Trap: Reading "recall 100 %" of a label with three rows as solved: the Wilson interval of 3 in 3
    begins at 44 %.
    """
    # By the rows that judge; before there are results, by those that will.
    split, supports = _judging_rows(case)
    small = {k: n for k, n in supports.items() if n < SMALL_SUPPORT}
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
        rows = (case.tuned.per_class if case.tuned else None) or {}
        return case.split, {k: row.support for k, row in rows.items()}
    return _prepared_rows(case.history)


def _prepared_rows(history: History) -> tuple[str, dict[str, int]]:
    name = "test" if "test" in history.splits else "validation"
    split = history.splits.get(name)
    known = dict.fromkeys(history.labels, 0) if split and split.labels else {}
    return name, known | (split.labels if split else {})


def _commonest_cell(found: LabelErrors) -> str:
    if not found.cells:
        return ""
    cell = found.cells[0]
    return f', most often "{cell.label}" that looks like "{cell.suggested}" ({cell.rows})'


@pitfall(
    "label_variants",
    title="spellings of one label",
    rank=6,
    see=("small_classes", "class_imbalance", "conflicting_labels"),
    aliases=("case-folded labels", "duplicate labels"),
)
def _label_variants(case: Case) -> Iterator[Finding]:
    """Two labels are equal but for upper case, spaces or a decimal .0 at the end.

    YES and yes, or 1 and 1.0, usually arise where two exports were joined. To a classifier they are
    separate answers between which nothing in the text decides, so it is wrong about half of the
    time however well it reads. Every per-label figure is then meaningless, which is why it prevents
    shipping. The message counts what would be right if spellings were merged. Labels that you name
    in data.labels are taken as meant.

    Trap: Judging such a run by top-two accuracy or by merged scores after the fact: the model still
    spent its training on distinguishing what is the same.
    """
    # Spellings of one label, each learnt as a label of its own. Named in the config, it is meant
    # so.
    counts: Counter[str] = Counter(dict.fromkeys(case.history.labels, 0))
    for split in case.history.splits.values():
        counts.update(split.labels)
    groups = find_variants(sort_labels(counts))
    if not groups:
        return
    variants = "; ".join(
        " and ".join(f'"{label}" ({format_count(counts[label], "row")})' for label in group)
        for group in groups[:LISTED]
    )
    meant = case.config is not None and case.config.data.labels is not None
    yield Finding(
        "label_variants",
        "warning" if meant else "error",
        f'labels differ only in case, spaces or ".0", and each counts as one of its own: {variants}'
        + ("; …" if len(groups) > LISTED else "")
        + _describe_folded(case),
        {"groups": groups, **_folded(case)},
        remedy="Write each label in one way only; if they do differ, name all of them in "
        "data.labels",
    )


def _folded(case: Case) -> dict[str, int]:
    """Rows of the judged split that are right, as they are and with spellings taken as one."""
    confusion = case.tuned.confusion if case.tuned else None
    if case.tuned is None or confusion is None or not confusion.labels:
        return {}
    keys, table = [fold_label(name) for name in confusion.labels], confusion.counts
    right = sum(row[i] for i, row in enumerate(table))
    alike = sum(
        n
        for key, row in zip(keys, table, strict=True)
        for k, n in zip(keys, row, strict=True)
        if k == key
    )
    return {"rows": case.tuned.n, "right": right, "folded": alike}


def _describe_folded(case: Case) -> str:
    f = _folded(case)
    if not f or not f["rows"]:
        return ""
    return (
        f". Of {format_count(f['rows'], f'{case.split} row')} {f['right']:,} are right "
        f"({f['right'] / f['rows'] * 100:.1f} %); with spellings taken as one, {f['folded']:,} are "
        f"({f['folded'] / f['rows'] * 100:.1f} %)"
    )


@pitfall(
    "rows_skipped",
    title="malformed rows skipped",
    see=("rows scored", "nothing_to_score"),
)
def _rows_skipped(case: Case) -> Iterator[Finding]:
    """Rows that could not be read were skipped, as the configuration allows.

    They are counted by split. A few broken lines are normal in exported files; if they share a
    cause, such as an unquoted comma or one missing label, then a kind of row is missing from
    training and judging alike. The check command lists each with its line.

    Trap: Every figure is about the rows that remained. Skipping the hard ones is the easiest way to
    a better score.
    """
    for name, s in case.history.splits.items():
        if s.skipped_rows:
            yield Finding(
                "rows_skipped",
                "info",
                f"{s.skipped_rows:,} bad rows of {name} were skipped, as data.bad_rows says",
                {"split": name, "rows": s.skipped_rows},
            )
        for why, rows in s.not_learned.items():
            yield Finding(
                "rows_skipped",
                "info",
                f"{format_count(rows, 'row')} of {name} left out: {why}",
                {"split": name, "rows": rows},
            )


@pitfall(
    "unread_columns",
    title="unused columns and keys",
    see=("rows_skipped", "truncation"),
    aliases=("unused columns",),
)
def _unread(case: Case) -> Iterator[Finding]:
    """The files hold columns, or the messages keys, that play no part in this run.

    Most are identifiers and dates, and rightly ignored. Read the list once for one that carries
    meaning: the second sentence of a pair, the context of a question, tool calls of a chat. The
    model sees none of it, in training or afterwards, and no metric will say what it would have
    gained.

    Trap: Believing that a column takes part because it stands in the file; only the roles that the
    pre-flight prints are given to the model.
    """
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
            remedy="If the model needs one of them, "
            + (
                f"write {found.template} under [data]"
                if found and found.template and kind == "column"
                else "write it into the text or the prompt"
            ),
        )
