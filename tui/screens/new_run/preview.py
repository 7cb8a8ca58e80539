"""What a new run would do with data and model, as lines beside the form: facts, then evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.cells import cell_len

from ....core.data.look import Look, Source
from ....core.errors import Fault
from ....core.judgement.preflight import CheckResult
from ....core.judgement.selection import NOT_COMPARED, describe_leaked, was_compared
from ....core.run.estimate import Estimate
from ....core.wording.text import visible, visible_lines
from ...drawing.format import bar, fit, fit_right, format_bytes, format_clock, format_count, wrap
from ...drawing.lines import Line, cut, titled
from ...widgets.pane import ScrolledPane

ROW_LINES, DOCUMENT_LINES = 3, 8  # lines of a value in the first rows, and of a plain text
LISTED_LABELS, EVEN_LABELS = 10, 4  # fewer where they hardly differ
LISTED_FAULTS = 12
SPLIT_COLOURS = {"train": "train", "validation": "validation", "test": "accent"}


@dataclass
class Preview:
    """All that is known by now about the run that the form describes."""

    look: Look | None = None
    check: CheckResult | None = None
    estimate: Estimate | None = None
    faults: tuple[Fault, ...] = ()  # of the data and the model
    progress: str = ""  # what is being done now
    not_checked: str = ""

    @property
    def model(self) -> dict[str, Any] | None:
        return self.check.model if self.check else None


def preview_lines(preview: Preview, width: int) -> list[Line]:
    """Blocks with a blank line between them, all of them as far as they are known."""
    look = preview.look
    if look is None or (not look.sources and not preview.faults):
        return _invitation(width)
    blocks = [
        _aside_lines(preview, width),
        _fault_lines(preview.faults, width),
        *(_source_lines(source, width) for source in look.sources[:1]),
        *([] if preview.check is None else _check_blocks(preview, preview.check, width)),
        *([] if preview.check is None else _token_blocks(preview.check, width)),
    ]
    lines: list[Line] = []
    for block in blocks:
        if block:
            lines += [*([[]] if lines else []), *block]
    return lines


def _invitation(width: int) -> list[Line]:
    line = "Name a file to learn from: its rows, columns, labels and lengths are shown here."
    return [[(text, "muted")] for text in wrap(line, width)]


def _aside_lines(preview: Preview, width: int) -> list[Line]:
    return [[(text, "muted")] for text in wrap(visible(preview.not_checked), width)]


def _fault_lines(faults: Sequence[Fault], width: int) -> list[Line]:
    if not faults:
        return []
    lines: list[Line] = [[("In the way of a run", "strong bad")]]
    for fault in faults[:LISTED_FAULTS]:
        first, *listing = str(fault).split("\n")
        wrapped = wrap(visible(first), width - 2)
        lines += [[("✗ " if not i else "  ", "bad"), (text, "")] for i, text in enumerate(wrapped)]
        lines += [cut([("  " + visible(line), "muted")], width) for line in listing[:8]]
    if rest := len(faults) - LISTED_FAULTS:
        lines += [[(f"  and {rest:,} more", "muted")]] if rest > 0 else []
    return lines


# The source as it stands in its files


def _source_lines(source: Source, width: int) -> list[Line]:
    size = "plain text" if source.document else f"{format_count(source.records)} rows"
    lines = [titled("Columns", f"{size} in {visible(', '.join(source.files))}")]
    named = max((cell_len(visible(c.name)) for c in source.columns), default=0)
    named = min(named, width // 3)
    ordered = sorted(source.columns, key=lambda c: not c.role)
    for column in ordered[:8]:
        line: Line = [(fit(visible(column.name), named) + "  ", "" if column.role else "muted")]
        if column.role:
            line += [(f"→ {column.role}", "accent"), (f"  {column.why}", "muted")]
        else:
            line.append((column.why or "not used", "muted"))
        lines.append(cut(line, width))
    if len(ordered) > 8:
        lines.append([(f"and {len(ordered) - 8} more, not used", "muted")])
    return [*lines, [], *_row_lines(source, width)]


def _row_lines(source: Source, width: int) -> list[Line]:
    """The first rows: only the columns with a role, or all where none has one."""
    lines: list[Line] = [titled("First rows")]
    used = [i for i, c in enumerate(source.columns) if c.role] or list(range(len(source.columns)))
    label_width = min(12, max((cell_len(_role_name(source, i)) for i in used), default=4))
    for row in source.rows[:3]:
        for i in used:
            head = fit(visible(_role_name(source, i)), label_width) + "  "
            room = width - label_width - 2
            wrapped = [t for line in visible_lines(row[i]) if line for t in wrap(line, room)]
            most = DOCUMENT_LINES if source.document else ROW_LINES
            if len(wrapped) > most:
                wrapped = [*wrapped[: most - 1], fit(wrapped[most - 1] + " …", room)]
            for n, text in enumerate(wrapped):
                lines.append([(head if not n else " " * len(head), "muted"), (text, "")])
        lines.append([])
    return lines[:-1]


def _role_name(source: Source, index: int) -> str:
    return source.columns[index].role or source.columns[index].name


# What a run would find


def _check_blocks(preview: Preview, check: CheckResult, width: int) -> list[list[Line]]:
    return [
        _split_lines(check),
        [] if preview.model is None else _estimate_lines(preview, preview.model, width),
        _finding_lines(preview, width),
        _remark_lines(check, width),
        _leakage_lines(check, width),
        _label_lines(check, width),
    ]


def _remark_lines(check: CheckResult, width: int) -> list[Line]:
    """How files were read, and what their rows hold that nobody may have meant."""
    noticed = [*check.how_read, *check.remarks]
    wrapped = [line for text in noticed for line in wrap(visible(text), width)]
    return [titled("Noticed"), *([(line, "")] for line in wrapped)] if noticed else []


def _token_blocks(check: CheckResult, width: int) -> list[list[Line]]:
    if check.model is None:
        return []
    return token_blocks(check.model, width, windows=check.form == "text")


def _split_lines(check: CheckResult) -> list[Line]:
    columns = ("rows", "duplicates", "left out")
    lines: list[Line] = [
        [(fit("Splits", 12), "strong"), ("".join(fit_right(c, 12) for c in columns), "muted")]
    ]
    for name, split in check.splits.items():
        counts = (split.rows, split.duplicates, split.skipped)
        cells = "".join(fit_right(format_count(n), 12) for n in counts)
        lines.append([(fit(name, 12), SPLIT_COLOURS.get(name, "")), (cells, "")])
    return lines


def _label_lines(check: CheckResult, width: int) -> list[Line]:
    """A bar per label, by its share of train; the most frequent first."""
    if not check.labels:
        return []
    first = next(iter(check.splits.values()))
    counts, total = first.labels, first.rows or 1
    ordered = sorted(check.labels, key=lambda label: -counts.get(label, 0))
    most = counts.get(ordered[0], 0) or 1
    lines = [titled(f"{len(ordered):,} labels", _balance(counts, ordered))]
    named = min(28, width // 3, max(cell_len(visible(label)) for label in ordered))
    room = min(LONGEST_BAR, max(4, width - named - 20))
    listed = LISTED_LABELS if most > 1.5 * counts.get(ordered[-1], 0) else EVEN_LABELS
    for label in ordered[:listed]:
        count = counts.get(label, 0)
        lines.append(
            [
                (fit(visible(label), named) + "  ", ""),
                (fit(bar(count / most, room), room), "train"),
                (
                    fit_right(format_count(count), 8)
                    + fit_right(f"{count / total * 100:.1f} %", 8),
                    "muted",
                ),
            ]
        )
    if rest := ordered[listed:]:
        least = rest[-1]
        more = f"and {len(rest)} more, down to {counts.get(least, 0):,} of {visible(least)}"
        lines.append(cut([(more, "muted")], width))
    return lines


def _balance(counts: Mapping[str, int], ordered: Sequence[str]) -> str:
    """How far the most frequent label is from the rarest, in words."""
    least, most = counts.get(ordered[-1], 0), counts.get(ordered[0], 0)
    if not least:
        return "not each of them occurs in train"
    times = most / least
    return "evenly spread" if times < 1.5 else f"the most frequent {times:.0f} times the rarest"


def _leakage_lines(check: CheckResult, width: int) -> list[Line]:
    found = check.leakage
    if not was_compared([*check.splits]):
        return [[(text, "muted")] for text in wrap(NOT_COMPARED, width)]
    leaked = sum(check.leaked.values())
    if any(finding.code == "leakage" for finding in check.findings):
        return []  # listed there, with what to do
    if not leaked:
        return [[("✓ ", "good"), ("no row repeats a row of an earlier split", "")]]
    line = describe_leaked(check.leaked) or "rows that repeat a row of an earlier split"
    line += (
        f": {found['exact']:,} exactly, {found['near']:,} nearly, {found['ngram']:,} by 13 words"
    )
    return [
        [("! " if not i else "  ", "warn"), (text, "")]
        for i, text in enumerate(wrap(line, width - 2))
    ]


def _estimate_lines(preview: Preview, model: Mapping[str, Any], width: int) -> list[Line]:
    lines = [titled("What it takes", f"{model['parameters']:,} parameters")]
    estimate = preview.estimate
    state = format_bytes(model["state_bytes"])
    if estimate is None:
        return [*lines, [(f"memory  {state} for weights, gradients and optimizer", "")]]
    whole, state = format_bytes(estimate.memory_bytes), format_bytes(estimate.state_bytes)
    texts = [
        f"steps   {estimate.steps:,}, over {estimate.tokens:,} tokens",
        f"memory  about {whole}: {state} for weights, gradients and optimizer, "
        f"{format_bytes(estimate.activation_bytes)} for activations; the program comes on top",
        f"time    {describe_time(estimate)}",
    ]
    for text in texts:
        head, rest = text[:8], text[8:]
        for n, part in enumerate(wrap(rest, width - 8)):
            lines.append([(head if not n else " " * 8, "muted"), (part, "")])
    return lines


def describe_time(estimate: Estimate) -> str:
    if estimate.seconds is None:
        return "unknown until the first steps: no run of this base model has been on this machine"
    runs = len(estimate.from_runs)
    whose = "an earlier run" if runs == 1 else f"{runs} earlier runs"
    return (
        f"about {format_clock(estimate.seconds)} of training, at "
        f"{format_count(estimate.tokens_per_second)} tokens per second as {whose} here; "
        "loading and evaluation come on top"
    )


def _finding_lines(preview: Preview, width: int) -> list[Line]:
    findings = preview.check.findings if preview.check else []
    if not findings:
        return []
    lines = [titled("Findings", "nothing here stops the run")]
    for finding in findings:
        sign, role = ("✗", "bad") if finding.severity == "error" else ("!", "warn")
        wrapped = wrap(visible(f"{finding.message}. {finding.remedy}"), width - 2)
        lines += [[(f"{sign} " if not n else "  ", role), (t, "")] for n, t in enumerate(wrapped)]
    return lines


# Tokens: how long the rows are, and what is learned of them

LONGEST_BAR = 40
MASK_LINES = 4  # lines of one stretch of masked or scored tokens


def token_blocks(model: Mapping[str, Any], width: int, *, windows: bool) -> list[list[Line]]:
    """How long the rows are as the model reads them, and what of them it learns."""
    first = next(iter(model["splits"].values()))
    return [
        _length_lines(first, int(model["max_length"]), width, windows=windows),
        _mask_lines(first, width),
    ]


def _length_lines(split: Mapping[str, Any], limit: int, width: int, *, windows: bool) -> list[Line]:
    """A bar per bin of token lengths, and where rows are truncated."""
    if windows:
        head = f"{split['rows']:,} windows of at most {limit:,} tokens, {split['tokens']:,} in all"
        return [titled("Token lengths", head)]
    head = f"median {split['median']:,}, 95 % up to {split['p95']:,}, longest {split['longest']:,}"
    lines = [titled("Token lengths", head)]
    bins = [b for b in split.get("histogram", ()) if b[2] or b[1] <= split["longest"]]
    most = max((count for _, _, count in bins), default=1) or 1
    room = min(LONGEST_BAR, max(4, width - 24))
    for low, high, count in bins:
        at_limit = low <= limit <= high and split["truncated_rows"]
        line: Line = [
            (fit_right(f"{low:,}–{min(high, limit):,}", 12) + "  ", "muted"),
            (fit(bar(count / most, room), room), "warn" if at_limit else "train"),
            (fit_right(format_count(count), 8), "muted"),
        ]
        lines.append(line)
    return [*lines, *_truncation_lines(split, limit, width)]


def _truncation_lines(split: Mapping[str, Any], limit: int, width: int) -> list[Line]:
    if not split["truncated_rows"]:
        return [[("✓ ", "good"), (f"no row is truncated: the limit is {limit:,} tokens", "")]]
    share = split["truncated_rows"] / max(1, split["rows"])
    text = (
        f"truncated at {limit:,}: {split['truncated_rows']:,} rows ({share * 100:.1f} %) lose "
        f"{split['truncated_tokens']:,} tokens"
    )
    dashes = max(0, width - cell_len(text) - 4)
    return [cut([("╌╌ ", "warn"), (text, "warn"), (" " + "╌" * dashes, "warn")], width)]


def _mask_lines(split: Mapping[str, Any], width: int) -> list[Line]:
    """The first rows in stretches: what the model only reads, and what it learns to write."""
    if "scored_tokens" not in split:
        return []
    learned, tokens = split["scored_tokens"], split["tokens"]
    share = learned / max(1, tokens)
    head = f"{learned:,} of {tokens:,} tokens are learned ({share * 100:.0f} %)"
    lines = [titled("What is learned", head)]
    for name, what in (("unscored_rows", "learn nothing"), ("rows_without_eos", "have no end")):
        if split.get(name):
            lines.append([("! ", "warn"), (f"{split[name]:,} rows {what}", "")])
    for row in split.get("rows_shown", ())[:2]:
        lines += _stretches(row, width)
        lines.append([])
    return lines[:-1] if not lines[-1] else lines


def _stretches(row: Sequence[Sequence[Any]], width: int) -> list[Line]:
    lines: list[Line] = []
    for scored, tokens in groupby(row, key=lambda token: bool(token[1])):
        wrapped = wrap(visible(" ".join(str(text) for text, _ in tokens)), width - 10)
        if len(wrapped) > MASK_LINES:
            wrapped = [*wrapped[: MASK_LINES // 2], "…", *wrapped[-(MASK_LINES // 2) :]]
        name, role, text_role = ("learned", "tuned", "") if scored else ("read", "muted", "muted")
        for n, text in enumerate(wrapped):
            lines.append(
                [
                    (fit(name if not n else "", 8), role),
                    ("▌ " if scored else "· ", role),
                    (text, text_role),
                ]
            )
    return lines


class PreviewPane(ScrolledPane):
    def __init__(self) -> None:
        super().__init__(id="preview")
        self.preview = Preview()

    def all_lines(self, width: int) -> list[Line]:
        return preview_lines(self.preview, width)
