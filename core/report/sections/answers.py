"""What base and tuned answered to the test prompts: their shape, who believes whom, examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from ...judgement.findings.answers import bleu_of_short
from ...judgement.selection import of_models
from ...metrics.analyses import (
    ClosedChoice,
    Completions,
    CrossScoring,
    Endings,
    Examples,
    ReadByBoth,
    ShortAnswers,
    ZeroShot,
)
from ...metrics.metric import metrics_from
from ...metrics.results import ModelResult
from ...wording.names import name_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
)
from ..blocks import Block, Bullets, Heading, Paragraph, Table, section
from ..document import Report, result_of

SHOWN = 5  # of the worst and of the best answers each
TEXT = 300  # characters of a prompt, a reference or an answer
MODELS = ("base", "tuned")
SHARE, NATS = "accuracy", "average_log_likelihood"  # metrics whose unit these numbers have


@section(80, more=None)
def show_completions(report: Report) -> list[Block]:
    blocks: list[Block] = []
    for split in report["analyses"]:
        if found := of_models(report["analyses"], Completions, split):
            blocks += _split_blocks(split, found, report)
    return [Heading("Answers to test prompts"), *blocks] if blocks else _ends_alone(report)


def _ends_alone(report: Report) -> list[Block]:
    """What the end token costs where no model was asked for answers: of the last split scored."""
    analyses = report["analyses"]
    scored = [found for split in analyses if (found := of_models(analyses, Endings, split))]
    return [Heading("Where texts end"), *_endings(scored[-1])] if scored else []


def _split_blocks(split: str, found: Mapping[str, Completions], report: Report) -> Iterator[Block]:
    answers, analyses = {m: found[m] for m in MODELS if m in found}, report["analyses"]
    yield Paragraph(_how(split, next(iter(answers.values()))))
    yield Table(["", *answers], [[name, *cells] for name, cells in _rows(list(answers.values()))])
    yield Bullets(list(_readings(answers)))
    if endings := of_models(analyses, Endings, split):
        yield from _endings(endings)
    if signatures := _signatures(result_of(report, split)):
        yield Paragraph("How the answers were measured against the references:")
        yield Bullets(signatures)
    if short := of_models(analyses, ShortAnswers, split).get("tuned"):
        yield Paragraph(bleu_of_short(short) + " Read exact match and chrF instead.")
    for crossed in of_models(analyses, CrossScoring, split).values():
        yield from _cross_scoring(crossed)
    for examples in of_models(analyses, Examples, split).values():
        yield from _examples(examples)


def _how(split: str, r: Completions) -> str:
    n, of = r.rows, r.of
    rows = f"all {n:,} rows of {split}"
    if n < of:
        rows = f"{n:,} rows of {split} (of {of:,}, drawn by the run's seed)"
    text = (
        f"Base and tuned answered the prompts of {rows}: greedily, with the same stop "
        f"tokens, at most {format_count(r.limit, 'token')} each."
    )
    if r.prompts_cut:
        text += (
            " Prompts whose beginning was truncated to leave room for so long an answer: "
            f"{r.prompts_cut:,}."
        )
    if r.references_over_limit:
        text += f" References longer than an answer may be: {r.references_over_limit:,}."
    return text


def _rows(models: list[Completions]) -> Iterator[tuple[str, list[str]]]:
    """The table's rows: a name and a cell for each model."""
    cells: dict[str, Callable[[Completions], str]] = {
        "answers that ended by themselves": lambda r: format_estimate(SHARE, r.ended_by_eos),
        "empty answers": lambda r: format_estimate(SHARE, r.empty),
        "answers that loop": lambda r: format_estimate(SHARE, r.looping),
        "different answers": lambda r: f"{r.different:,} of {r.rows:,}",
        "different references": lambda r: f"{r.different_references:,} of {r.rows:,}",
        "repeated 4-grams of words": lambda r: _share(r.repeated_4grams),
        "the same in the references": lambda r: _share(r.repeated_4grams_of_references),
        "longest immediate repetition, characters": lambda r: f"{r.longest_repeat:,}",
        "mean length, tokens": lambda r: f"{r.mean_tokens:,.1f}",
        "mean length of the references, tokens": lambda r: f"{r.mean_reference_tokens:,.1f}",
    }
    for name, cell in cells.items():
        yield name, [cell(r) for r in models]


def _share(value: float) -> str:
    return DASH if math.isnan(value) else format_value(SHARE, value)


def _readings(models: Mapping[str, Completions]) -> Iterator[str]:
    yield (
        "An answer that does not end by itself was truncated at the limit. A model that learned "
        "where to end does so about as often, and about as late, as the references."
    )
    yield (
        "An answer loops where 40 characters or more repeat at once what stood just before them. "
        "A 4-gram is repeated where the same four words stood in the same answer before."
    )
    for model, r in models.items():
        if r.ended_by_eos.value < 0.5:
            truncated, answers = r.rows - r.ended_by_eos.count, format_count(r.rows, "answer")
            yield f"{model}: {truncated:,} of {answers} were truncated at the limit."
        if r.different == 1 < r.different_references:
            yield f"{model}: every one of its {r.rows:,} answers is the same."
        if r.empty.count:
            yield f"{model}: {format_count(r.empty.count, 'answer')} held no text at all."


def _endings(found: Mapping[str, Endings]) -> Iterator[Block]:
    """What the end token costs by itself, and which answers could have ended and did."""
    models = {m: found[m] for m in MODELS if m in found}
    costs = [m for m, r in models.items() if r.end_token]
    rows = []
    if any(r.answers for r in models.values()):
        name = "ended, of the answers whose reference ends within the limit"
        ended = (r.answers.ended if r.answers else None for r in models.values())
        rows.append([name, *(format_estimate(SHARE, share) for share in ended)])
    if costs:
        ends = (format_estimate("loss", r.end_token) for r in models.values())
        others = (format_estimate("loss", r.other_tokens) for r in models.values())
        rows += [["end token, nats", *ends], ["other tokens, nats", *others]]
    if rows:
        yield Table(["", *models], rows)
    if costs:
        yield Paragraph(
            "Mean negative log-likelihood of the token that ends a row, and of all others: a model "
            "that does not learn to stop pays for the end token and hardly for the rest."
            + _change_of_end(found.get(""))
        )


def _change_of_end(r: Endings | None) -> str:
    if r is None or r.difference is None:
        return ""
    interval = format_difference_interval("loss", r.difference.low, r.difference.high)
    change = format_difference("loss", r.difference.value)
    rows = format_count(r.rows or 0, "row")
    return (
        f" From base to tuned the end token changes by {change} (paired 95 %: {interval}, {rows})."
    )


def _signatures(tuned: ModelResult | None) -> list[str]:
    found = (tuned.signatures if tuned else None) or {}
    kinds: dict[str, list[str]] = {}
    for name in (metric.name for metric in metrics_from("answers")):
        if name in found:
            kinds.setdefault(found[name], []).append(name)
    return [
        f"{', '.join(map(name_metric, names))}: {signature}" for signature, names in kinds.items()
    ]


def _cross_scoring(r: CrossScoring) -> Iterator[Block]:
    yield Heading("How likely each model finds the other's answers", 3)
    columns = ["answers of", "under base", "under tuned", "difference", "95 % interval"]
    read = {"base": r.answers_of_base, "tuned": r.answers_of_tuned}
    rows = [
        [
            model,
            format_value(NATS, found.under_base),
            format_value(NATS, found.under_tuned),
            format_difference(NATS, found.difference.value),
            format_difference_interval(NATS, found.difference.low, found.difference.high),
        ]
        for model, found in read.items()
        if found
    ]
    yield Table(columns, rows)
    yield Paragraph(
        "Average log-likelihood per token, in nats, of an answer after its prompt; nearer to 0 is "
        "likelier. Greedy answers are likely under the model that wrote them, so each model should "
        "prefer its own."
    )
    yield Bullets([_read_text(found, model) for model, found in read.items() if found])


def _read_text(found: ReadByBoth, model: str) -> str:
    """How likely the other model finds one model's answers, in a sentence."""
    own, others = found.under_base, found.under_tuned
    other = "tuned"
    if model == "tuned":
        own, others, other = others, own, "base"
    loss = abs(found.difference.value)
    rows = f"on {format_count(found.tokens, 'token')} of {format_count(found.rows, 'row')}"
    if others >= own:
        return f"The {other} model finds the {model} model's answers no less likely, {rows}."
    if model == "tuned":
        return (
            f"The base gives the tuned model's answers {loss:.3f} nats per token less, {rows}: "
            "the larger this gap, the less likely the base was to answer so."
        )
    return (
        f"The tuned model gives the base's answers {loss:.3f} nats per token less than the base "
        f"does, {rows}: the larger this gap, the further it has moved from how the base answers."
    )


def _examples(r: Examples) -> Iterator[Block]:
    for kind, listed in (("worst", r.worst), ("best", r.best)):
        rows = listed[:SHOWN]
        if not rows:
            continue
        yield Heading(f"The {kind} answers of the tuned model", 3)
        yield Paragraph(
            f"{format_count(len(rows), 'row')} of {r.rows:,}, by the chrF (0 to 100) of its "
            "answer against the reference."
        )
        for row in rows:
            answers = ("base", row.base, row.chrf_base), ("tuned", row.tuned, row.chrf_tuned)
            yield Paragraph(f"Row {row.row_id}: {_shortened(row.prompt)}")
            yield Bullets(
                [
                    f"reference: {_shortened(row.reference)}",
                    *(
                        f"{m} (chrF {format_value('chrf', chrf)}): {_shortened(text) or 'nothing'}"
                        for m, text, chrf in answers
                    ),
                ]
            )


def _shortened(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= TEXT else shown[:TEXT] + " …"


@section(90, more=None)
def show_choices(report: Report) -> list[Block]:
    blocks: list[Block] = []
    analyses = report["analyses"]
    for split in analyses:
        for closed in of_models(analyses, ClosedChoice, split).values():
            blocks += _closed(split, closed)
        for zero_shot in of_models(analyses, ZeroShot, split).values():
            blocks += _zero_shot(split, zero_shot)
    return [Heading("Choosing the likeliest answer"), *blocks] if blocks else []


def _closed(split: str, r: ClosedChoice) -> Iterator[Block]:
    yield Paragraph(
        f"Train has only {r.candidates} different completions, so each of "
        f"{format_count(r.rows, 'row')} of {split} is also a choice: {r.rule}."
    )
    rows = [
        ["base", format_estimate("accuracy", r.accuracy.base)],
        ["tuned", format_estimate("accuracy", r.accuracy.tuned)],
        ["always the commonest completion", format_value("accuracy", r.commonest.value)],
        ["guessing", format_value("accuracy", 1 / r.candidates)],
    ]
    yield Table(["", "chosen rightly"], rows)
    how, _, more = r.method.partition(" p")  # of which test the p is, and over what
    yield Paragraph(
        f"The tuned model changes this by {format_difference('accuracy', r.difference)}: it "
        f"fixed {format_count(r.fixed, 'row')} and broke {r.broke:,} "
        f"({how} p {format_p(r.p)}{more})."
    )


def _zero_shot(split: str, r: ZeroShot) -> Iterator[Block]:
    text = (
        f"On {split} the base labels {format_count(r.rows, 'row')} without any training: "
        f"it chooses {r.rule} ({r.method}). "
        f"It is right on {format_estimate('accuracy', r.accuracy)}; chosen by log-likelihood "
        f"per byte of the label it would be right on "
        f"{format_estimate('accuracy', r.accuracy_by_byte)}, which is shown for comparison "
        "and enters no result."
    )
    if r.fallbacks:
        text += (
            f" Of {r.scored:,} labels scored, {r.fallbacks:,} were cut into tokens by "
            "themselves, because text and label together gave other tokens at their join."
        )
    if r.texts_cut:
        text += f" {format_count(r.texts_cut, 'text')} were too long and lost their beginning."
    yield Paragraph(text)
