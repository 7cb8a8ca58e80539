"""The rows of each split, their labels, and what the splits share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...judgement.selection import NOT_COMPARED, describe_leaked, of_models, was_compared
from ...metrics.analyses import TokenChange, TokenChanges
from ...wording.names import name_row, rows_of_report
from ...wording.numbers import DASH, format_count, format_shape, format_value, read_number
from ...wording.text import quoted
from ..blocks import Block, Exchange, Heading, Paragraph, Table, section
from ..document import AnswerPart, LeakagePart, Report, SplitPart, TextPart, leakage_of, splits_of

LISTED_LABELS = 20
LISTED_PAIRS = 10


@section(190, more=70)
def show_data(report: Report) -> list[Block]:
    splits = splits_of(report)
    blocks: list[Block] = []
    if splits:
        columns = ["split", "source", "sha256", "rows × columns", "truncated rows"]
        columns += ["rows without scored tokens", "malformed rows skipped"]
        rows = [_split_row(name, s) for name, s in splits.items()]
        blocks += [Heading("Data"), Table(columns, rows, words=("source", "sha256"))]
    if repeated := _repeated(splits):
        blocks.append(Paragraph(repeated, quiet=True))
    if labels := _label_table(splits):
        blocks.append(labels)
    return blocks


def _split_row(name: str, s: SplitPart) -> list[str]:
    counts = s.get("truncated_rows", 0), s.get("unscored_rows", 0), s.get("skipped_rows", 0)
    return [
        name,
        s["source"],
        s["sha256"][:12] or DASH,
        format_shape(s["rows"], s["columns"]),
        *(f"{count:,}" for count in counts),
    ]


def _repeated(splits: Mapping[str, SplitPart]) -> str:
    """`test: 1,115 rows, 1,033 distinct inputs.` for each split where they differ."""
    repeated = [
        f"{name}: {format_count(s['rows'], 'row')}, {format_count(distinct, 'distinct input')}"
        for name, s in splits.items()
        if 0 < (distinct := s.get("distinct_rows", 0)) < s["rows"]
    ]
    return f"{'; '.join(repeated)}." if repeated else ""


def _label_table(splits: Mapping[str, SplitPart]) -> Table | None:
    """Rows of each label in each split; None where there are no labels or too many."""
    counted = {name: s["labels"] for name, s in splits.items() if s["labels"]}
    labels = list(dict.fromkeys(label for counts in counted.values() for label in counts))
    if not counted or len(labels) > LISTED_LABELS:
        return None
    rows = [[label, *(_share_of(splits[n], label) for n in counted)] for label in labels]
    return Table(["label", *counted], rows)


def _share_of(split: SplitPart, label: str) -> str:
    """Rows with a label, of all rows: they may have several, or none."""
    n, total = split["labels"].get(label, 0), split["rows"]
    return f"{n:,} ({n / total * 100:.1f} %)" if total else f"{n:,}"


@section(200, more=60)
def show_leakage(report: Report) -> list[Block]:
    found = leakage_of(report)
    if found is None:
        return []
    blocks: list[Block] = [Heading("Leakage"), Paragraph(_layers(found))]
    if found["pairs"]:
        splits = rows_of_report(report["data"])
        rows = [
            [name_row(splits, b, j), name_row(splits, a, i), layer, f"{read_number(likeness):.2f}"]
            for a, i, b, j, layer, likeness in found["pairs"][:LISTED_PAIRS]
        ]
        columns = ["row", "repeats", "layer", "similarity"]
        blocks.append(Table(columns, rows, words=("row", "repeats", "layer")))
        if rest := _which_pairs(found, len(rows)):
            blocks.append(Paragraph(rest, quiet=True))
    return blocks


def _which_pairs(found: LeakagePart, shown: int) -> str:
    """How many of the pairs the table shows; how many there are is unknown in older runs."""
    every = found.get("pairs_found") or 0
    if max(every, len(found["pairs"])) <= shown:
        return ""
    of = f" of {every:,}" if every else ""
    note = f"The table shows the first {shown:,} pairs{of}"
    return f"{note}, pairs across splits before pairs within one; a row may be in several."


def _layers(found: LeakagePart) -> str:
    leaked = describe_leaked(found.get("leaked", {}), found.get("group_rows"))
    if not was_compared(found.get("splits", [])):
        text = f"{NOT_COMPARED[0].upper()}{NOT_COMPARED[1:]}."
        return _with_notes(text, found)
    text = f"{leaked}; the layers overlap. " if leaked else ""
    text += (
        f"Rows that repeat a row of an earlier split: {found['exact']:,} exactly (after NFKC, "
        f"casefold and white-space collapse), {found['near']:,} nearly (Jaccard of character "
        f"5-grams at least 0.8), {found['ngram']:,} by a common run of 13 words."
    )
    return _with_notes(text, found)


def _with_notes(text: str, found: LeakagePart) -> str:
    if conflicting := found["conflicting_labels"]:
        text += f" Rows whose input has another label earlier: {conflicting:,}."
    return text + (f" {found['note']}." if found["note"] else "")


PREFIX = (
    "The prefix is one token of context and is not scored. "
    "Models with different tokenizers can be compared in bits per byte only."
)
SHOWN_LABELS = 3


@section(170, more=40)
def show_texts(report: Report) -> list[Block]:
    if not report["texts"]:
        return []
    columns = ["text", "model", "scored tokens", "average log-likelihood", "bits per byte"]
    columns += ["prefix", "window / stride"]
    rows = [_text_row(t) for t in report["texts"]]
    return [
        Heading("Held-out text"),
        Table(columns, rows, words=("model", "prefix")),
        Paragraph(PREFIX),
        *(block for source, found in _changes(report) for block in _show_changes(source, found)),
    ]


def _changes(report: Report) -> Iterator[tuple[str, TokenChanges]]:
    for source in report["analyses"]:
        for found in of_models(report["analyses"], TokenChanges, source).values():
            yield source, found


def _show_changes(source: str, found: TokenChanges) -> Iterator[Block]:
    """The tokens that changed most, likelier ones first."""
    yield Paragraph(
        f"Of the {found.tokens:,} scored tokens of {source}, {found.gained_tokens:,} became "
        f"likelier with tuning and {found.lost_tokens:,} less likely. Those that changed most, at "
        f"most {found.kept} of each, in nats; a rank of 1 is "
        "the token that the model held to be the likeliest:"
    )
    columns = ["token", "", "position", "base", "tuned", "difference", "rank"]
    rows = [_change_row("likelier", t) for t in found.gained]
    rows += [_change_row("less likely", t) for t in found.lost]
    yield Table(columns, rows, words=("token", ""))


def _change_row(kind: str, t: TokenChange) -> list[str]:
    return [
        quoted(t.token),
        kind,
        f"{t.position:,}",
        f"{t.before:.3f}",
        f"{t.after:.3f}",
        f"{t.after - t.before:+.3f}",
        f"{t.rank_before:,} → {t.rank_after:,}",
    ]


def _text_row(t: TextPart) -> list[str]:
    return [
        t["source"],
        t["model"],
        f"{t['scored_tokens']:,}",
        format_value("average_log_likelihood", t["average_log_likelihood"]),
        format_value("bits_per_byte", t["bits_per_byte"]),
        t["prefix"] or "none",
        f"{t['window']:,} / {t['stride']:,}",
    ]


@section(180, more=50)
def show_answers(report: Report) -> list[Block]:
    if not report["answers"]:
        return []
    return [Heading("Answers"), *(_exchange(a) for a in report["answers"])]


def _exchange(a: AnswerPart) -> Exchange:
    if "base_probabilities" in a or "tuned_probabilities" in a:
        base, tuned = a.get("base_probabilities"), a.get("tuned_probabilities")
        limits = a.get("thresholds", {})
        answers = [
            (a.get("base_name", "base"), base, limits.get("base", {})),
            ("tuned", tuned, limits.get("tuned", {})),
        ]
        said = [(name, _probabilities(p, own)) for name, p, own in answers if p]
        return Exchange(a["prompt"], said)
    return Exchange(a["prompt"], [("base", a.get("base", "")), ("tuned", a.get("tuned", ""))])


def _probabilities(found: Mapping[str, float], thresholds: Mapping[str, float]) -> str:
    """The likeliest labels; where each is a yes or no of its own, those that are given first."""
    shown = list(found.items())[:SHOWN_LABELS]
    listed = ", ".join(f"{label} {p * 100:.1f} %" for label, p in shown)
    if not thresholds:
        return listed
    given = [label for label, p in found.items() if p >= thresholds.get(label, 0.5)]
    return f"{', '.join(given) or 'no label'} (each by itself: {listed})"
