"""What base and tuned answered to the test prompts: their shape, who believes whom, examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...judgement.findings.answers import bleu_of_short
from ...metrics.metric import metrics_from
from ...wording.names import name_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_value,
    read_number,
)
from ..blocks import Block, Bullets, Heading, Paragraph, Table, section

SHOWN = 5  # of the worst and of the best answers each
TEXT = 300  # characters of a prompt, a reference or an answer
MODELS = ("base", "tuned")
SHARE, NATS = "accuracy", "average_log_likelihood"  # metrics whose unit these numbers have
Found = Mapping[str, Any]


@section(80, more=None)
def show_completions(report: Found) -> list[Block]:
    blocks: list[Block] = []
    for split, analyses in report.get("analyses", {}).items():
        if "completions" in analyses:
            blocks += _split_blocks(split, analyses, report)
    return [Heading("Answers to test prompts"), *blocks] if blocks else _ends_alone(report)


def _ends_alone(report: Found) -> list[Block]:
    """What the end token costs where no model was asked for answers: of the last split scored."""
    scored = [a["endings"] for a in report.get("analyses", {}).values() if "endings" in a]
    return [Heading("Where texts end"), *_endings(scored[-1])] if scored else []


def _split_blocks(split: str, analyses: Found, report: Found) -> Iterator[Block]:
    told = analyses["completions"]
    models = [m for m in MODELS if m in told]
    any_model = told[models[0]]
    yield Paragraph(_how(split, any_model))
    yield Table(["", *models], [[name, *cells] for name, cells in _rows(told, models)])
    yield Bullets(list(_readings(told, models)))
    if endings := analyses.get("endings"):
        yield from _endings(endings)
    if signatures := _signatures(report["results"].get(split, {})):
        yield Paragraph("How the answers were measured against the references:")
        yield Bullets(signatures)
    if short := analyses.get("short_answers", {}).get("tuned"):
        yield Paragraph(bleu_of_short(short) + " Read exact match and chrF instead.")
    if "cross_scoring" in analyses:
        yield from _cross_scoring(analyses["cross_scoring"][""])
    if "examples" in analyses:
        yield from _examples(analyses["examples"][""])


def _how(split: str, told: Found) -> str:
    n, of = told["rows"], told["of"]
    rows = f"all {n:,} rows of {split}"
    if n < of:
        rows = f"{n:,} rows of {split} (of {of:,}, drawn by the run's seed)"
    text = (
        f"Base and tuned answered the prompts of {rows}: greedily, with the same stop "
        f"tokens, at most {format_count(told['limit'], 'token')} each."
    )
    if told["prompts_cut"]:
        text += (
            " Prompts whose beginning was truncated to leave room for so long an answer: "
            f"{told['prompts_cut']:,}."
        )
    if over := told["references_over_limit"]:
        text += f" References longer than an answer may be: {over:,}."
    return text


def _rows(told: Found, models: list[str]) -> Iterator[tuple[str, list[str]]]:
    def each(key: str) -> list[str]:
        return [format_estimate(SHARE, told[m][key]) for m in models]

    yield "answers that ended by themselves", each("ended_by_eos")
    yield "empty answers", each("empty")
    yield "answers that loop", each("looping")
    yield "different answers", [f"{told[m]['different']:,} of {told[m]['rows']:,}" for m in models]
    yield (
        "different references",
        [f"{told[m]['different_references']:,} of {told[m]['rows']:,}" for m in models],
    )
    yield "repeated 4-grams of words", [_share(told[m]["repeated_4grams"]) for m in models]
    yield (
        "the same in the references",
        [_share(told[m]["repeated_4grams_of_references"]) for m in models],
    )
    yield (
        "longest immediate repetition, characters",
        [f"{told[m]['longest_repeat']:,}" for m in models],
    )
    yield "mean length, tokens", [_length(told[m]["mean_tokens"]) for m in models]
    yield (
        "mean length of the references, tokens",
        [_length(told[m]["mean_reference_tokens"]) for m in models],
    )


def _share(value: Any) -> str:
    number = read_number(value)
    return DASH if number != number else format_value(SHARE, number)


def _length(value: Any) -> str:
    return f"{read_number(value):,.1f}"


def _readings(told: Found, models: list[str]) -> Iterator[str]:
    yield (
        "An answer that does not end by itself was truncated at the limit. A model that learned "
        "where to end does so about as often, and about as late, as the references."
    )
    yield (
        "An answer loops where 40 characters or more repeat at once what stood just before them. "
        "A 4-gram is repeated where the same four words stood in the same answer before."
    )
    for model in models:
        t = told[model]
        if read_number(t["ended_by_eos"]["value"]) < 0.5:
            cut = t["rows"] - t["ended_by_eos"]["count"]
            answers = format_count(t["rows"], "answer")
            yield f"{model}: {cut:,} of {answers} were truncated at the limit."
        if t["different"] == 1 < t["different_references"]:
            yield f"{model}: every one of its {t['rows']:,} answers is the same."
        if t["empty"]["count"]:
            yield f"{model}: {format_count(t['empty']['count'], 'answer')} held no text at all."


def _endings(told: Found) -> Iterator[Block]:
    """What the end token costs by itself, and which answers could have ended and did."""
    models = [m for m in MODELS if m in told]
    costs = [m for m in models if "end_token" in told[m]]
    answers = [m for m in models if "answers" in told[m]]
    rows = []
    if answers:
        of = [told[m]["answers"]["ended"] if m in answers else {} for m in models]
        name = "ended, of the answers whose reference ends within the limit"
        rows.append([name, *(format_estimate(SHARE, s) if s else DASH for s in of)])
    if costs:
        for key, name in (("end_token", "end token, nats"), ("other_tokens", "other tokens, nats")):
            rows.append([name, *(_cost(told[m], key) for m in models)])
    if rows:
        yield Table(["", *models], rows)
    if costs:
        yield Paragraph(
            "Mean negative log-likelihood of the token that ends a row, and of all others: a model "
            "that does not learn to stop pays for the end token and hardly for the rest."
            + _change_of_end(told.get("", {}))
        )


def _cost(told: Found, key: str) -> str:
    return format_estimate("loss", told[key]) if key in told else DASH


def _change_of_end(told: Found) -> str:
    if not (found := told.get("difference")):
        return ""
    interval = format_difference_interval("loss", *_ends(found))
    change = format_difference("loss", found["value"])
    rows = format_count(told["rows"], "row")
    return (
        f" From base to tuned the end token changes by {change} (paired 95 %: {interval}, {rows})."
    )


def _signatures(results: Found) -> list[str]:
    found = results.get("tuned", {}).get("signatures") or {}
    kinds: dict[str, list[str]] = {}
    for name in (metric.name for metric in metrics_from("answers")):
        if name in found:
            kinds.setdefault(str(found[name]), []).append(name)
    return [
        f"{', '.join(map(name_metric, names))}: {signature}" for signature, names in kinds.items()
    ]


def _cross_scoring(told: Found) -> Iterator[Block]:
    yield Heading("How likely each model finds the other's answers", 3)
    columns = ["answers of", "under base", "under tuned", "difference", "95 % interval"]
    rows = [
        [
            model,
            format_value(NATS, found["under_base"]),
            format_value(NATS, found["under_tuned"]),
            format_difference(NATS, found["difference"]["value"]),
            format_difference_interval(NATS, *_ends(found["difference"])),
        ]
        for model in MODELS
        if (found := told.get(f"answers_of_{model}"))
    ]
    yield Table(columns, rows)
    yield Paragraph(
        "Average log-likelihood per token, in nats, of an answer after its prompt; nearer to 0 is "
        "likelier. Greedy answers are likely under the model that wrote them, so each model should "
        "prefer its own."
    )
    yield Bullets([text for model in MODELS if (text := _read_text(told, model))])


def _read_text(told: Found, model: str) -> str:
    """What the other model's reading of one model's answers says."""
    found = told.get(f"answers_of_{model}")
    if not found:
        return ""
    other = "base" if model == "tuned" else "tuned"
    loss = abs(read_number(found["difference"]["value"]))
    own, others = (read_number(found[f"under_{m}"]) for m in (model, other))
    rows = f"on {format_count(found['tokens'], 'token')} of {format_count(found['rows'], 'row')}"
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


def _ends(estimate: Found) -> tuple[Any, Any]:
    return estimate["low"], estimate["high"]


def _examples(told: Found) -> Iterator[Block]:
    for kind in ("worst", "best"):
        rows = told[kind][:SHOWN]
        if not rows:
            continue
        yield Heading(f"The {kind} answers of the tuned model", 3)
        yield Paragraph(
            f"{format_count(len(rows), 'row')} of {told['rows']:,}, by the chrF (0 to 100) of its "
            "answer against the reference."
        )
        for row in rows:
            yield Paragraph(f"Row {row['row_id']}: {_cut(row['prompt'])}")
            yield Bullets(
                [
                    f"reference: {_cut(row['reference'])}",
                    *(f"{m} (chrF {_chrf(row, m)}): {_cut(row[m]) or 'nothing'}" for m in MODELS),
                ]
            )


def _chrf(row: Found, model: str) -> str:
    return format_value("chrf", row[f"chrf_{model}"])


def _cut(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= TEXT else shown[:TEXT] + " …"
