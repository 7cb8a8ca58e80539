"""The prediction trace: its lines, its screen, its command's words."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.control import AskTrace, Held, ModelTrace, Traced, TracedLayer
from ftev.core.run.runs import Run
from ftev.tui.app.keys import TRACE_KEYS
from ftev.tui.drawing.lines import text_of, width_of
from ftev.tui.screens.prompt.answers import Exchange
from ftev.tui.screens.prompt.asking import AnswerNews, ReplyCame
from ftev.tui.screens.trace.lines import verdict, whole_trace
from made_runs import live_worker

HOSTILE = "\x1b]0;x\x07[/]"


def model(name: str, answers: list[str], **more: Any) -> ModelTrace:
    layers = [
        TracedLayer(
            index=k,
            norm=1.0 + k,
            change=0.5 if k else None,
            cosine=0.9 if k else None,
            top=[(text, 0.6), ("else", 0.3)],
            distance=0.1 * k if name == "tuned" else None,
        )
        for k, text in enumerate(answers)
    ]
    found: dict[str, Any] = {
        "layers": layers,
        "lens": "the model's own head",
        "lens_error": 0.0,
        "notes": [],
    } | more
    return ModelTrace(
        model=name,
        name=name,
        architecture="LlamaForCausalLM",
        tokens=[("the", 5), (f" {HOSTILE}", 9)],
        place="the last token",
        place_index=1,
        logits=[(answers[-1], 7.25)],
        probabilities=[(answers[-1], 0.6)],
        final=answers[-1],
        **found,
    )


def traced() -> Traced:
    models = [model("base", ["a", "b", "c"]), model("tuned", ["a", "d", "e"])]
    return Traced(text=f"the {HOSTILE}", task="generation", models=models, parts_at=1)


@pytest.mark.parametrize("width", [76, 100, 150])
def test_a_trace_fits_and_says_where_the_models_part(width: int) -> None:
    lines = whole_trace(traced(), width)
    text = "\n".join(text_of(line) for line in lines)
    assert "\x1b" not in text
    assert all(width_of(line) <= width for line in lines)
    assert "They diverge at layer 1" in " ".join(text.split())
    assert "≠ layer 1" in text
    assert "  embedding" in text
    assert "7.250" in text
    assert ("cosine" in text) == (width == 150)


def test_what_cannot_be_shown_is_said() -> None:
    note = "Odd does not hand one state from layer to layer"
    models = [
        model("base", ["a"], layers=[], notes=[note], lens_error=None),
        model("tuned", ["b"], layers=[], notes=[note], lens_error=None),
    ]
    found = Traced(text="t", task="generation", models=models)
    assert verdict(found) == "They give different answers."
    text = "\n".join(text_of(line) for line in whole_trace(found, 78))
    assert note in text
    assert "answer    " not in text


async def test_the_screen_follows_the_last_prompt_and_another_text(
    generated: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(run: Run, exchange: Exchange, request: AskTrace, post: Any) -> None:
        asked.append(request.text)
        if len(asked) == 2:
            post(AnswerNews(exchange, f"no {HOSTILE}", failed=True, ended=True))
            return
        post(ReplyCame(exchange, Held(step=3)))
        post(ReplyCame(exchange, traced()))
        post(AnswerNews(exchange, "", ended=True))

    monkeypatch.setattr("ftev.tui.screens.trace.trace.ask_prompt", answer)
    live_worker(generated)
    async with shown(generated, (80, 24), "✓ finished") as pilot:
        await pilot.press("l")
        await seen(pilot, "If they stopped after layer 1")
        assert asked[0]
        assert "They diverge at layer 1" in picture(pilot)
        await pilot.press("down")
        await seen(pilot, "If they stopped after layer 2")
        await pilot.press("home")
        await seen(pilot, "If they stopped after the embedding")
        await pilot.press("d")
        await seen(pilot, "If they stopped after layer 1")
        await pilot.press("enter")
        await seen(pilot, "Softmax")
        await pilot.press("down", "escape", "question_mark")
        await seen(pilot, TRACE_KEYS[6].words)
        await pilot.press("escape", "p", *"no quit q", "enter")
        await seen(pilot, "no ␛")
        assert asked[1] == "no quit q"
        await pilot.press("escape")
        await seen(pilot, "1 Pipeline")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_command_prints_the_trace(
    generated: Run,
    flags: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import json

    from ftev.tui.cli import main

    live_worker(generated)
    monkeypatch.setattr("ftev.tui.commands.prompt.ask", lambda *_: iter([Held(step=3), traced()]))
    assert main(["trace", str(generated.path), "--text", "the cup", *flags]) == 0
    result = capsys.readouterr()
    assert "training waits at step 3" in result.err
    if flags:
        found = json.loads(result.out)
        assert found["parts_at"] == 1
        assert found["models"][1]["layers"][1]["top"][0] == ["d", 0.6]
    else:
        assert "They diverge at layer 1" in result.out
        assert "\x1b" not in result.out
