"""What the data and the model of a new run look like, as lines: facts first, then the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from ....core.data.look import Look, Source
from ....core.errors import Fault
from ....core.judgement.leaked import NOT_COMPARED, tell_leaked, was_compared
from ....core.judgement.preflight import CheckResult
from ....core.run.estimate import Estimate
from ....core.wording.text import visible, visible_lines
from ...drawing.format import bar, fit, fit_right, format_bytes, format_clock, format_count, wrap
from ...drawing.lines import Line, cut, titled
from .preview_tokens import LONGEST_BAR, token_blocks

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
    told = "Name a file to learn from: its rows, columns, labels and lengths are shown here."
    return [[(text, "muted")] for text in wrap(told, width)]


def _aside_lines(preview: Preview, width: int) -> list[Line]:
    told = preview.not_checked
    return [[(text, "muted")] for text in wrap(visible(told), width)] if told else []


def _fault_lines(faults: Sequence[Fault], width: int) -> list[Line]:
    if not faults:
        return []
    lines: list[Line] = [[("In the way of a run", "strong bad")]]
    for fault in faults[:LISTED_FAULTS]:
        first, *listing = str(fault).split("\n")
        told = wrap(visible(first), width - 2)
        lines += [[("✗ " if not i else "  ", "bad"), (text, "")] for i, text in enumerate(told)]
        lines += [cut([("  " + visible(line), "muted")], width) for line in listing[:8]]
    if rest := len(faults) - LISTED_FAULTS:
        lines += [[(f"  and {rest:,} more", "muted")]] if rest > 0 else []
    return lines


# The source as it stands in its files


def _source_lines(source: Source, width: int) -> list[Line]:
    told = "plain text" if source.document else f"{format_count(source.records)} rows"
    lines = [titled("Columns", f"{told} in {visible(', '.join(source.files))}")]
    named = max((cell_len(visible(c.name)) for c in source.columns), default=0)
    named = min(named, width // 3)
    ordered = sorted(source.columns, key=lambda c: not c.role)
    for column in ordered[:8]:
        line: Line = [(fit(visible(column.name), named) + "  ", "" if column.role else "muted")]
        if column.role:
            line += [(f"→ {column.role}", "accent"), (f"  {column.why}", "muted")]
        else:
            line.append(("not used", "muted"))
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
            told = [t for line in visible_lines(row[i]) if line for t in wrap(line, room)]
            most = DOCUMENT_LINES if source.document else ROW_LINES
            if len(told) > most:
                told = [*told[: most - 1], fit(told[most - 1] + " …", room)]
            for n, text in enumerate(told):
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
        _leakage_lines(check, width),
        _label_lines(check, width),
    ]


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
    """A bar a label, by its share of train; the most frequent first."""
    if not check.labels:
        return []
    counts = next(iter(check.splits.values())).labels
    total = sum(counts.values()) or 1
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
        told = f"and {len(rest)} more, down to {counts.get(least, 0):,} of {visible(least)}"
        lines.append(cut([(told, "muted")], width))
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
        return []  # told there, with what to do
    if not leaked:
        return [[("✓ ", "good"), ("no row repeats a row of an earlier split", "")]]
    told = tell_leaked(check.leaked) or "rows that repeat a row of an earlier split"
    told += (
        f": {found['exact']:,} exactly, {found['near']:,} nearly, {found['ngram']:,} by 13 words"
    )
    return [
        [("! " if not i else "  ", "warn"), (text, "")]
        for i, text in enumerate(wrap(told, width - 2))
    ]


def _estimate_lines(preview: Preview, model: Mapping[str, Any], width: int) -> list[Line]:
    lines = [titled("What it takes", f"{model['parameters']:,} parameters")]
    estimate = preview.estimate
    state = format_bytes(model["state_bytes"])
    if estimate is None:
        return [*lines, [(f"memory  {state} for weights, gradients and optimizer", "")]]
    whole, state = format_bytes(estimate.memory_bytes), format_bytes(estimate.state_bytes)
    told = [
        f"steps   {estimate.steps:,}, over {estimate.tokens:,} tokens",
        f"memory  about {whole}: {state} for weights, gradients and optimizer, "
        f"{format_bytes(estimate.activation_bytes)} for activations; the program comes on top",
        f"time    {tell_time(estimate)}",
    ]
    for text in told:
        head, rest = text[:8], text[8:]
        for n, part in enumerate(wrap(rest, width - 8)):
            lines.append([(head if not n else " " * 8, "muted"), (part, "")])
    return lines


def tell_time(estimate: Estimate) -> str:
    if estimate.seconds is None:
        return "unknown until the first steps: no run of this base model has been on this machine"
    runs = len(estimate.from_runs)
    whose = "an earlier run" if runs == 1 else f"{runs} earlier runs"
    return (
        f"about {format_clock(estimate.seconds)} of training, at "
        f"{format_count(estimate.tokens_per_second)} tokens a second as {whose} here; "
        "loading and evaluation come on top"
    )


def _finding_lines(preview: Preview, width: int) -> list[Line]:
    findings = preview.check.findings if preview.check else []
    if not findings:
        return []
    lines = [titled("Findings", "nothing here stops the run")]
    for finding in findings:
        sign, role = ("✗", "bad") if finding.severity == "error" else ("!", "warn")
        told = wrap(visible(f"{finding.message}. {finding.remedy}"), width - 2)
        lines += [[(f"{sign} " if not n else "  ", role), (t, "")] for n, t in enumerate(told)]
    return lines
