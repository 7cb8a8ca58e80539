"""The answer first: the verdict with its reasons, its few figures, and which run this is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...judgement.findings.case import EVIDENCE_ROWS
from ...judgement.objective import describe_guardrail
from ...judgement.selection import clean, metric_value, of_models
from ...metrics.analyses import Guardrails
from ...metrics.results import ModelResult
from ...wording.names import name_rows, rows_of_report
from ...wording.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_interval,
    format_seconds,
    format_value,
)
from ..blocks import Banner, Block, Bullets, Figures, Heading, Notice, Paragraph, section
from ..document import FindingPart, Report, RunPart, result_of

SHOWN_LABELS = 12  # of a head that was replaced
BROKEN_OFF = {"stopped": "was stopped", "failed": "failed", "died": "died"}


@section(10, more=None)
def show_verdict(report: Report) -> list[Block]:
    blocks: list[Block] = []
    if verdict := report.get("verdict"):
        asked, to_come = verdict["objective"], verdict.get("preliminary", "")
        blocks.append(Banner(verdict["decision"], asked, verdict["reasons"], to_come))
    if figures := headline_figures(report):
        blocks.append(Figures(figures))
    blocks.append(Paragraph(describe_run(report["run"])))
    if error := report["run"].get("error"):
        blocks.append(Paragraph(f"The run failed: {error}"))
    return blocks


def headline_figures(report: Report) -> list[tuple[str, str, str]]:
    """The primary metric of reference and tuned, their difference, and the rows behind it.

    Where rows repeat an earlier split, tuned and the difference on the others as well (D2).
    """
    headline = report["headline"]
    if headline is None or result_of(report, headline["split"]) is None:
        return []
    split, metric, before = headline["split"], headline["metric"], headline["from_model"]
    models, others = (report["results"].get(s, {}) for s in (split, clean(split)))
    figures = [_figure(metric, split, m, models[m]) for m in (before, "tuned") if m in models]
    figures += _differences(report, (split, metric, before, "tuned"), "")
    if "tuned" in others:
        figures.append(_figure(metric, clean(split), "tuned", others["tuned"]))
        wanted = (clean(split), metric, before, "tuned")
        figures += _differences(report, wanted, f" on {clean(split)}")
    return figures


def _differences(
    report: Report, wanted: tuple[str, str, str | None, str], where: str
) -> Iterator[tuple[str, str, str]]:
    """The paired difference of (split, metric, from, to), and the answers that changed."""
    split, metric, _, to = wanted
    for c in report["comparisons"]:
        if c.key == wanted:
            ends = format_difference_interval(metric, c.low, c.high)
            change = format_difference(metric, c.difference)
            yield f"difference{where}", change, f"paired 95 %: {ends}"
            if c.fixed is not None and c.broke is not None:
                changed = f"{c.fixed:,} / {c.broke:,}"
                rows = report["results"][split][to].n
                yield f"fixed / broke{where}", changed, format_count(rows, "row")


def _figure(metric: str, split: str, model: str, result: ModelResult) -> tuple[str, str, str]:
    found = result.metrics.get(metric)
    ends = format_interval(metric, found and found.low, found and found.high)
    value = format_value(metric, metric_value(result, metric))
    return f"{metric}, {model} on {split}", value, f"95 %: {ends}"


def describe_run(run: RunPart) -> str:
    parts = [", ".join(p for p in (f"Run {run['id']}", run["task"], run["status"]) if p) + "."]
    if run.get("base"):
        tuned = f", tuned model {run['tuned']}" if run.get("tuned") else ""
        if not tuned and run.get("adapter") == "lora":
            tuned = ", tuned with LoRA"
        parts.append(f"Base model {run['base']}{tuned}.{_about_head(run)}")
    if run.get("max_steps"):
        parts.append(_describe_steps(run))
    if run["created"]:
        ended = f", ended {_moment(run['finished'])}" if run["finished"] else ""
        parts.append(f"Started {_moment(run['created'])}{ended}.")
    return " ".join(parts)


def _about_head(run: RunPart) -> str:
    """Whether the base could answer by itself (C6): a new head is never called a base."""
    model = run.get("model")
    if model is None or not model["new_head"]:
        return ""
    if labels := model.get("replaced_labels"):
        shown = ", ".join(labels[:SHOWN_LABELS]) + (" …" if len(labels) > SHOWN_LABELS else "")
        return f" A new head replaced the base's own, which answers with {shown}."
    return " The base has no head for these labels" + ("." if run.get("tuned") else ": it is new.")


def _describe_steps(run: RunPart) -> str:
    """How far training went; a run that ended before its evaluation is not a completed one."""
    done, planned, best = run["steps"], run["max_steps"], run.get("best_step")
    steps = f"{done:,} of {format_count(planned, 'step')}"
    if run.get("training_seconds"):
        steps += f" in {format_seconds(run['training_seconds'])} of training"
    if run["status"] in BROKEN_OFF and done >= planned:
        steps += (
            f"; the run {BROKEN_OFF[run['status']]} after training, before its evaluation ended"
        )
    elif run.get("ended") not in (None, "completed"):
        steps += f" ({run['ended']})"
    if best is not None and run.get("ended"):
        steps += f"; the model of step {best:,} was kept"
    elif best is not None:
        steps += f"; the best checkpoint is that of step {best:,}"
    return steps + "."


def _moment(written: str) -> str:
    """`2026-11-20 14:05:09 UTC`"""
    return written.replace("T", " ").replace("+00:00", " UTC")


SHOWN_ROWS = 5
NONE_FOUND = (
    "None of the pitfalls that ftev looks for was found in what this run has stored. "
    "ftev-tui explain lists them."
)


@section(20, more=None)
def show_findings(report: Report) -> list[Block]:
    found = report["findings"]
    if not found:
        return [Heading("Findings"), Paragraph(NONE_FOUND)] if report["results"] else []
    return [
        Heading("Findings"),
        *(Notice(f["severity"], f["code"], sentences_of(f, report["data"])) for f in found),
    ]


def sentences_of(f: FindingPart, data: Mapping[str, object]) -> str:
    """What was found, what to do about it, and on which rows. `data`: of the report."""
    sentences = [_ended(f["message"])]
    if f.get("remedy"):
        sentences.append(_ended(f["remedy"]))
    if rows := f.get("rows"):
        if len(rows) >= EVIDENCE_ROWS:  # the list is cut: how many there are, the message says
            named = f"{name_rows(rows_of_report(data), rows[:SHOWN_ROWS])} and more"
        else:
            named = name_rows(rows_of_report(data), rows, SHOWN_ROWS)
        sentences.append(f"Rows: {named}.")
        if is_cut(f):
            sentences.append(f"Listed: {describe_listed(f)}.")
    return " ".join(sentences)


def describe_listed(f: FindingPart) -> str:
    """`34 of 112 test rows, 16 validation rows`: how many rows of each split are listed."""
    splits = dict.fromkeys(split for split, _ in f["rows"])
    return ", ".join(describe_listed_of(f, split) for split in splits)


def describe_listed_of(f: FindingPart, split: str) -> str:
    """`34 of 112 test rows`; the whole is left out where it is listed, or not known."""
    listed = sum(1 for at, _ in f["rows"] if at == split)
    every = max(listed, f.get("counted", {}).get(split, 0))
    total = format_count(every, f"{split} row")
    return total if listed == every else f"{listed:,} of {total}"


def is_cut(f: FindingPart) -> bool:
    return sum(f.get("counted", {}).values()) > len(f["rows"])


def _ended(text: str) -> str:
    sentence = text[:1].upper() + text[1:]
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."


@section(30, more=None)
def show_guardrails(report: Report) -> list[Block]:
    """Each condition on the rows that the verdict reads: test, else validation."""
    known = {
        split: found["tuned"].guardrails
        for split in report["analyses"]
        if (found := of_models(report["analyses"], Guardrails, split))
    }
    judged = [split for split in known if split != "validation"] or list(known)
    rows = [
        f"{r.outcome.capitalize()}: {describe_guardrail(r, split)}; {r.why}."
        for split in judged
        for r in known[split]
    ]
    if not rows:
        return []
    needed = "All of them must be met for the model to ship."
    return [Heading("Guardrails"), Paragraph(needed), Bullets(rows)]
