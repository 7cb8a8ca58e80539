"""What the run screen remembers: its panes, its chart, an unsent prompt, and what was seen."""

from __future__ import annotations

from typing import Any

from ...app.away import seen_of, while_away
from .parts import RunParts
from .view_memory import chart_memory, desk_memory, recall_chart, recall_desk

OVER_THE_RUN = {  # how screens are opened again
    "evaluation": "evaluation",
    "rows": "rows",
    "layers": "layers(True)",
    "compare": "compare_again",
}
MOST_DRAFT = 20_000  # characters of an unsent prompt


def run_memory(screen: RunParts) -> dict[str, Any]:
    with screen.follower.lock:
        seen = seen_of(screen.follower.history, screen.status)
    return {
        **desk_memory(screen.desk),
        "focus": screen.pane_in_view if screen.focused is not None else 0,
        "chart": chart_memory(screen.chart),
        "metric": screen.metrics.cursor,
        "draft": screen.prompt.draft[:MOST_DRAFT],
        "seen": seen,
    }


def recall_run(screen: RunParts, memory: dict[str, Any]) -> None:
    """As it was left; what came since is told in the line of keys."""
    recall_desk(screen.desk, memory)
    if isinstance(chart := memory.get("chart"), dict):
        recall_chart(screen.chart, chart)
    if type(metric := memory.get("metric")) is int and metric >= 0:
        screen.metrics.cursor = metric
    if isinstance(draft := memory.get("draft"), str):
        screen.prompt.draft = draft
    screen.lay_out_panes()
    focus = memory.get("focus")
    if type(focus) is int and focus in screen.desk.panes and screen.focused is None:
        screen.set_focus(screen.desk.panes[focus], scroll_visible=False)
    seen = memory.get("seen")
    if isinstance(seen, dict):
        told = while_away(seen, screen.follower.history, screen.status)
        if told:
            screen.key_line.show_notice(told)
