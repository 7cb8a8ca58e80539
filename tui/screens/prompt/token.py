"""One token: what base and tuned would have said in its place."""

from __future__ import annotations

from ....core.run.control import ScoredToken
from ....core.wording.text import visible
from ...drawing.format import bar, fit, fit_right, format_share
from ...drawing.shading import told_share
from ...drawing.spans import Line
from ...widgets.modal import Page
from .answers import MODELS

NAME_WIDTH, SHARE_WIDTH, BAR_WIDTH = 13, 7, 8
COLUMN = NAME_WIDTH + SHARE_WIDTH + BAR_WIDTH + 4


class TopFive(Page):
    def __init__(self, title: str, chosen: str, seen: dict[str, ScoredToken]) -> None:
        super().__init__(title, top_lines(chosen, seen))


def top_lines(chosen: str, seen: dict[str, ScoredToken]) -> list[Line]:
    """`seen`: for each model its view of the token at this place, with its own favourites."""
    lines: list[Line] = [[("here stands ", "muted"), (f"“{visible(chosen)}”", "strong")], []]
    head: Line = [(fit(model, COLUMN), f"strong {model}") for model in MODELS]
    told: Line = [
        (fit(f"gave it {told_share(seen[m])}" if m in seen else "has not told", COLUMN), "muted")
        for m in MODELS
    ]
    lines += [head, told, []]
    for k in range(max((len(t.top) for t in seen.values()), default=0)):
        line: Line = []
        for model in MODELS:
            top = seen[model].top if model in seen else []
            line += _choice(top[k], chosen, model) if k < len(top) else [(" " * COLUMN, "")]
        lines.append(line)
    return [*lines, [], [("▸ what stands here. Shares are before any sampling.", "muted")]]


def _choice(choice: tuple[str, float], chosen: str, model: str) -> Line:
    text, share = choice
    here = text == chosen
    return [
        ("▸ " if here else "  ", "accent"),
        (fit(f"“{visible(text)}”", NAME_WIDTH), "strong" if here else ""),
        (fit_right(format_share(share), SHARE_WIDTH) + " ", ""),
        (fit(bar(share, BAR_WIDTH), BAR_WIDTH) + " ", model),
    ]
