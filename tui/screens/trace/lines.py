"""A text followed through base and tuned, as lines: pure functions of the worker's reply."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from ....core.run.control import ModelTrace, Share, Traced, TracedLayer
from ....core.wording.text import visible
from ...drawing.format import ABSENT, MINUS, bar, fit, fit_right, format_number, format_share, wrap
from ...drawing.lines import Line

ROOMY = 116  # cells from which on each model's change and cosine have columns
LAYER_WIDTH, APART_WIDTH = 11, 7  # cells
NORM_WIDTH, CHANGE_WIDTH, COSINE_WIDTH, SHARE_WIDTH = 7, 7, 6, 8
GAP = "  "  # between the models
MOST_TOKEN_LINES = 3  # of a long text


def quoted(text: str) -> str:
    """A token so that its spaces are seen: “ cup”; a line break as a picture of itself."""
    return f"“{visible(text)}”"


def input_lines(traced: Traced, width: int) -> list[Line]:
    """The text, and its tokens with their ids."""
    first, *rest = wrap(visible(traced.text), width - 2)[:2]
    lines: list[Line] = [[("› ", "accent"), (first, "strong")]]
    lines += [[("  " + more, "strong")] for more in rest]
    shown = traced.models[-1] if traced.models else None
    if shown is None:
        return lines
    count = f"{len(shown.tokens)} tokens"
    if shown.cut_tokens:
        count += f" ({shown.cut_tokens} more truncated at the model's maximum length)"
    return [*lines, [(count + ", each with its id:", "muted")], *token_lines(shown, width)]


def token_lines(model: ModelTrace, width: int) -> list[Line]:
    """Tokens and ids in few lines; the followed one marked. Of many, the last ones."""
    lines: list[Line] = [[]]
    used = 0
    for k, (text, number) in enumerate(model.tokens):
        followed = k == model.place_index
        shown = f"{'▸' if followed else ''}{visible(text) or '·'}"
        size = cell_len(shown) + len(str(number)) + 3
        if used + size > width and used:
            lines.append([])
            used = 0
        role = "strong accent" if followed else ""
        lines[-1] += [(shown, role), (f" {number}", "muted"), ("  ", "")]
        used += size
    # The followed token is the last one for a causal model: the end is what matters.
    if len(lines) > MOST_TOKEN_LINES:
        left_out = len(lines) - MOST_TOKEN_LINES
        head: Line = [(f"… {left_out} lines of tokens before", "muted")]
        return [head, *lines[-MOST_TOKEN_LINES:]]
    return lines


def verdict(traced: Traced) -> str:
    """Where base and tuned diverge, in a sentence."""
    if len(traced.models) < 2:
        return ""
    base, tuned = traced.models
    at = traced.parts_at
    same = base.final == tuned.final
    if not base.layers or not tuned.layers or not any(layer.top for layer in tuned.layers):
        return "Both give the same answer." if same else "They give different answers."
    if at is None:
        return "Base and tuned agree after every layer: the same answer wherever they stop."
    a, b = base.layers[at].top[0], tuned.layers[at].top[0]
    sentence = (
        f"They diverge at {layer_name(at)}: stopped there, base would answer {quoted(a[0])} "
        f"({format_share(a[1])}) and tuned {quoted(b[0])} ({format_share(b[1])})."
    )
    if same:
        sentence += f" In the end both answer {quoted(tuned.final)}."
    return sentence


def layer_name(index: int) -> str:
    """The embedding is layer 0."""
    return "the embedding" if index == 0 else f"layer {index}"


def answer_width(width: int) -> int:
    """Cells for one model's answer at a layer."""
    fixed = LAYER_WIDTH + APART_WIDTH + len(GAP)
    each = NORM_WIDTH + SHARE_WIDTH + 2 * len(GAP) + 1
    if width >= ROOMY:
        each += CHANGE_WIDTH + COSINE_WIDTH + 2
    return max(6, min(24, (width - fixed) // 2 - each))


def layer_header(traced: Traced, width: int) -> list[Line]:
    """Two lines: the models, and the names of the columns."""
    answer = answer_width(width)
    each = _model_width(width, answer)
    names: Line = [(" " * LAYER_WIDTH, "")]
    heads: Line = [(fit("after", LAYER_WIDTH), "muted")]
    for model in traced.models:
        names += [(GAP, ""), (fit(visible(model.name), each - 2), f"strong {model.model}")]
        parts = [fit_right("norm", NORM_WIDTH)]
        if width >= ROOMY:
            parts += [fit_right("change", CHANGE_WIDTH), fit_right("cosine", COSINE_WIDTH)]
        parts += [" " + fit("answer", answer), fit_right("prob.", SHARE_WIDTH)]
        heads += [(GAP + " ".join(parts), "muted")]
    if len(traced.models) == 2:
        heads.append((GAP + fit_right("apart", APART_WIDTH), "muted"))
    return [names, heads]


def _model_width(width: int, answer: int) -> int:
    extra = CHANGE_WIDTH + COSINE_WIDTH + 2 if width >= ROOMY else 0
    return len(GAP) + NORM_WIDTH + extra + 2 + answer + 1 + SHARE_WIDTH


def layer_lines(traced: Traced, width: int, cursor: int | None = None) -> list[Line]:
    """A line per layer: norms, what each model would answer there, how far the states are apart."""
    count = max((len(m.layers) for m in traced.models), default=0)
    return [_layer_line(traced, index, width, chosen=index == cursor) for index in range(count)]


def _layer_line(traced: Traced, index: int, width: int, *, chosen: bool) -> Line:
    layers = [m.layers[index] if index < len(m.layers) else None for m in traced.models]
    # ≠ beside colour: a difference must be seen without it.
    differs = len(layers) == 2 and len({_top(layer) for layer in layers}) == 2
    here = index == traced.parts_at
    mark = "≠" if differs else " "
    name = "embedding" if index == 0 else f"layer {index}"
    role = "cursor" if chosen else "strong accent" if here else ""
    line: Line = [(fit(f"{mark} {name}", LAYER_WIDTH), role)]
    answer = answer_width(width)
    for model, layer in zip(traced.models, layers, strict=True):
        line += _model_cells(layer, model.model if differs else "", width, answer)
    apart = layers[-1].distance if len(layers) == 2 and layers[-1] else None
    if len(layers) == 2:
        line += [(GAP, ""), (fit_right(_number(apart, 3), APART_WIDTH), "strong" if here else "")]
    return line


def _model_cells(layer: TracedLayer | None, role: str, width: int, answer: int) -> Line:
    norm = _number(layer.norm if layer else None, 3)
    cells: Line = [(GAP + fit_right(norm, NORM_WIDTH), "")]
    if width >= ROOMY:
        change = _number(layer.change if layer else None, 3)
        cosine = _number(layer.cosine if layer else None, 3)
        cells.append((" " + fit_right(change, CHANGE_WIDTH), "muted"))
        cells.append((" " + fit_right(cosine, COSINE_WIDTH), "muted"))
    text, share = layer.top[0] if layer and layer.top else ("", None)
    shown = quoted(text) if share is not None else ABSENT
    cells.append(("  " + fit(shown, answer), f"strong {role}".strip() if role else ""))
    cells.append(
        (" " + fit_right(format_share(share) if share is not None else "", SHARE_WIDTH), "")
    )
    return cells


def _number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else format_number(value, digits)


def _top(layer: TracedLayer | None) -> str | None:
    return layer.top[0][0] if layer and layer.top else None


def ranking_lines(
    title: str,
    traced: Traced,
    rankings: Sequence[Sequence[Share]],
    width: int,
    *,
    raw: bool = False,
    most: int = 5,
) -> list[Line]:
    """The top answers of each model side by side, with bars where they are probabilities."""
    column = max(20, (width - 3) // max(1, len(rankings)))
    name = max(8, min(24, column - 2 * SHARE_WIDTH - 3))
    lines: list[Line] = [[(title, "strong")]]
    for k in range(min(most, max(map(len, rankings), default=0))):
        line: Line = []
        for model, ranking in zip(traced.models, rankings, strict=True):
            if k >= len(ranking):
                line.append((" " * column, ""))
                continue
            text, value = ranking[k]
            score = f"{value:.3f}".replace("-", MINUS) if raw else format_share(value)
            bars = column - name - SHARE_WIDTH - 3
            line.append((fit(quoted(text), name) + " ", "strong" if k == 0 else ""))
            line.append((fit_right(score, SHARE_WIDTH) + " ", ""))
            line.append((fit("" if raw else bar(value, bars), bars) + " ", model.model))
        lines.append(line)
    return lines


def output_lines(traced: Traced, width: int) -> list[Line]:
    """Raw logits, the softmax, and the answer each model gives."""
    models = traced.models
    lines = ranking_lines(
        "Logits: the highest raw scores", traced, [m.logits for m in models], width, raw=True
    )
    lines += [
        [],
        *ranking_lines(
            "Sigmoid: each label by itself, in any sum"
            if any(m.apart for m in models)
            else "Softmax: the same as probabilities",
            traced,
            [m.probabilities for m in models],
            width,
        ),
    ]
    likeliest = "Likeliest label  " if any(m.apart for m in models) else "Answer  "
    answers: Line = [(likeliest, "strong")]
    for model in models:
        share = model.probabilities[0][1] if model.probabilities else float("nan")
        answers += [
            (visible(model.name) + " ", model.model),
            (quoted(model.final), "strong"),
            (f" {format_share(share)}   ", ""),
        ]
    return [*lines, [], answers]


def note_lines(traced: Traced, width: int) -> list[Line]:
    """How the numbers were made, and what could not be shown."""
    notes = list(traced.notes)
    for model in traced.models:
        notes += [f"{model.name}: {note}" for note in model.notes]
    # A classifier and a causal model are read through different lenses.
    lenses = list(dict.fromkeys(m.lens for m in traced.models if m.layers))
    for lens in lenses:
        whose = " and ".join(m.name for m in traced.models if m.lens == lens)
        notes.append(f"{whose}: each layer's answer is {lens}.")
    if traced.models:
        shown = traced.models[-1]
        notes.append(
            f"norm and change are of the state at {shown.place}; apart is "
            "|tuned − base| ÷ |base| of the two states there."
        )
        errors = [m.lens_error for m in traced.models if m.lens_error is not None]
        if errors:
            off = f"to {max(errors):.1g}" if max(errors) else "exactly"
            notes.append(f"Checked: the last layer's answer is the model's own, {off}.")
    return [[(text, "muted")] for sentence in notes for text in wrap(visible(sentence), width)]


def whole_trace(traced: Traced, width: int) -> list[Line]:
    """Everything, stage by stage, for a reader of plain lines."""
    lines = input_lines(traced, width)
    if sentence := verdict(traced):
        lines += [[], *([(text, "strong")] for text in wrap(sentence, width))]
    if any(m.layers for m in traced.models):
        lines += [[], *layer_header(traced, width), *layer_lines(traced, width)]
    lines += [[], *output_lines(traced, width), [], *note_lines(traced, width)]
    return lines
