"""The prompt pane: shaded tokens, where answers diverge, stop, retry, settings, filmstrip."""

from __future__ import annotations

import math
from typing import Any

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.control import (
    AskPrompt,
    Completed,
    CrossScored,
    Held,
    Labelled,
    ScoredToken,
    TokenMade,
)
from ftev.core.run.events import PromptAnswered
from ftev.core.run.runs import Run
from ftev.tui.drawing.lines import Line, text_of, width_of
from ftev.tui.drawing.shading import STEPS, first_difference, shade_tokens, step_of
from ftev.tui.screens.prompt.answers import LOADING, WAITING, Exchange, add_reply, exchange_of
from ftev.tui.screens.prompt.answers_pane import MOST_SHOWN, strip_lines, top_lines
from ftev.tui.screens.prompt.asking import AnswerNews, GenerationSettings, ReplyCame, read_settings
from ftev.tui.screens.prompt.prompt import PromptPane
from ftev.tui.screens.prompt.talk import View, block_of, move_cursor, token_seen
from ftev.tui.screens.run.run import RunScreen
from made_runs import live_worker

HOSTILE = "\x1b]52;c;aGk=\x07[/]\u202e"


def texts(lines: list[Line]) -> list[str]:
    return [text_of(line).rstrip() for line in lines]


def scored(*pairs: tuple[str, float]) -> list[ScoredToken]:
    return [ScoredToken(t, math.log(p), 1, [(t, p), ("other", 0.01)]) for t, p in pairs]


BASE = scored(("a", 0.9), (" cold", 0.4), (" day", 0.2), ("</s>", 0.6))
TUNED = scored(("a", 0.9), (" warm", 0.05), (" cup", 0.005), ("</s>", 0.7))


def replies() -> list[Any]:
    found: list[Any] = []
    for model, tokens, by in (("base", BASE, "tuned"), ("tuned", TUNED, "base")):
        text = "".join(t.text for t in tokens[:-1])
        found.append(TokenMade(model=model, text="a", log_likelihood=-0.1))
        found.append(
            Completed(
                model=model,
                text=text,
                tokens=3,
                seconds=0.5,
                ended_by_eos=True,
                likelihoods=[*scored(("the", 0.3)), *tokens],
            )
        )
        found.append(
            CrossScored(
                model=model,
                by=by,
                tokens=scored(*((t.text, 0.1) for t in tokens)),
                average_log_likelihood=-2.0,
                own_average=-1.0,
            )
        )
    return found


def answered(prompt: str = "the") -> Exchange:
    exchange = Exchange(prompt, running=True)
    for reply in replies():
        add_reply(exchange, reply)
    return exchange


def test_a_token_has_a_step_and_every_step_a_mark_of_its_own() -> None:
    assert [step_of(math.log(p)).word for p in (0.5, 0.49, 0.05, 0.001)] == [s.word for s in STEPS]
    assert step_of(None) is STEPS[-1]
    colours = {"warn", "bad"}
    marks = [frozenset(step.role.split()) - colours for step in STEPS]
    assert len(set(marks)) == len(STEPS)


def test_tokens_wrap_at_spaces_and_know_their_lines() -> None:
    tokens = [ScoredToken(t, 0.0, 1) for t in ("one", " two", " three", "\nfour")]
    found = shade_tokens(tokens, 9)
    assert texts(found.lines) == ["one two", "three↵", "four"]
    assert found.line_of == [0, 0, 0, 1]
    assert all(width_of(line) <= 9 for line in found.lines)
    wide = shade_tokens([ScoredToken("世界" * 9, 0.0, 1), ScoredToken(HOSTILE, None, None)], 10)
    assert all(width_of(line) <= 10 for line in wide.lines)
    assert "\x1b" not in "".join(texts(wide.lines))


def test_the_first_difference_waits_for_the_shorter_answer() -> None:
    assert first_difference("a cold", "a warm", done=False) == 2
    assert first_difference("a", "a warm", done=False) is None
    assert first_difference("a", "a warm", done=True) == 1
    assert first_difference("a", "a", done=True) is None


def test_answers_stand_beside_each_other_and_say_where_they_part() -> None:
    lines = texts(block_of(answered(), 120, View()).lines)
    assert lines[2].split() == ["a", "◆cold", "day</s>", "│", "a", "◆warm", "cup</s>"]
    assert "◆ The answers diverge at token 2 of tuned." in lines
    whole = " ".join(lines)
    assert "base's answer: −1.00 nats per token under base, −2.00 under tuned" in whole
    assert "tuned finds its tokens 2.72 times less likely" in whole
    short = " ".join(texts(block_of(answered(), 78, View()).lines))
    assert "base's −1.00 (tuned −2.00), tuned's −1.00 (base −2.00)" in short
    narrow = block_of(answered(), 30, View(likelihoods="all"))
    assert all(width_of(line) <= 30 for line in narrow.lines)
    assert "thea ◆cold day</s>" in texts(narrow.lines)


def test_a_token_is_seen_by_both_models() -> None:
    exchange, view = answered(), View()
    assert move_cursor(exchange, view, 1)
    assert view.cursor == ("tuned", 1)  # where it parts from base
    found = token_seen(exchange, view)
    assert found is not None
    title, chosen, views = found
    assert (title, chosen) == ("Token 2 of tuned's answer", " warm")
    assert views["tuned"].log_likelihood == pytest.approx(math.log(0.05))
    assert views["base"].log_likelihood == pytest.approx(math.log(0.1))
    text = "\n".join(texts(top_lines(chosen, views)))
    assert "10.0 %, rank 1" in text
    assert "▸ “ warm”" in text
    assert "\x1b" not in "\n".join(texts(top_lines(HOSTILE, {"base": scored((HOSTILE, 0.5))[0]})))


def test_settings_are_checked_all_at_once() -> None:
    settings = GenerationSettings(max_new_tokens=9, temperature=0.5, top_p=0.9, seed=3)
    assert read_settings(settings.as_texts()) == (settings, {})
    wrong = {"max_new_tokens": "0", "temperature": "-1", "top_k": "x", "top_p": "0", "seed": ""}
    found, faults = read_settings(wrong)
    assert found is None
    assert set(faults) == set(wrong)
    assert settings.in_words(4) == "temperature 0.5, top-p 0.9, seed 4, at most 9 tokens"


def test_the_filmstrip_marks_what_changed() -> None:
    def frame(step: int, tuned: str) -> PromptAnswered:
        return PromptAnswered(prompt="say", step=step, probe=True, base="a cup", tuned=tuned)

    events = [frame(0, "a cup"), frame(5, "a mug"), frame(9, "a mug"), frame(5, "a pot")]
    lines = texts(strip_lines([*events, PromptAnswered(prompt="mine", step=1)], 60))
    assert lines == [
        "› say",
        "changed at 2 of 2 evaluations, last at step 9",
        "  base       a cup",
        "= step 0     the same",
        "≠ step 5     a ◆pot",
        "≠ step 9     a ◆mug",
    ]

    def labels(step: int, share: float) -> PromptAnswered:
        tuned = {"good": share, HOSTILE: 1 - share}
        base = {"good": 0.4, HOSTILE: 0.6}
        return PromptAnswered(
            prompt=HOSTILE,
            step=step,
            probe=True,
            base_probabilities=base,
            tuned_probabilities=tuned,
        )

    lines = texts(strip_lines([labels(0, 0.3), labels(7, 0.9)], 78))
    assert lines[-1].startswith("≠ step 7     good")
    assert lines[-1].endswith("+60.0")
    assert "\x1b" not in "".join(lines)
    assert "List prompts under" in texts(strip_lines([], 78))[0]


async def test_the_keys_of_the_prompt_pane(
    generated: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[AskPrompt] = []
    open_exchanges: list[Exchange] = []

    def answer(run: Run, exchange: Exchange, request: AskPrompt, post: Any) -> None:
        asked.append(request)
        open_exchanges.append(exchange)
        if len(asked) == 3:  # one that goes on
            post(ReplyCame(exchange, TokenMade(model="base", text="half", log_likelihood=-1.0)))
            return
        for reply in replies():
            post(ReplyCame(exchange, reply))
        post(AnswerNews(exchange, "", ended=True))

    monkeypatch.setattr("ftev.tui.screens.prompt.prompt.ask_prompt", answer)
    live_worker(generated)
    async with shown(generated, (100, 40), "✓ finished") as pilot:
        await pilot.press("p", *"hi", "enter")
        await seen(pilot, "◆warm")
        assert (asked[0].likelihoods, asked[0].details) == ("all", True)
        await pilot.press("escape", "enter", "right")
        await seen(pilot, "Token 2 of tuned's answer")
        await pilot.press("shift+left")
        await seen(pilot, "Token 2 of base's answer")
        await pilot.press("right", "enter")
        await seen(pilot, "this token: “ day”")
        await pilot.press("escape", "escape", "k")
        await seen(pilot, "The prompt's tokens are shaded too")
        await pilot.press("g")
        await seen(pilot, "How answers are made")
        await pilot.press("0", "down", "x", "7", "down", "down", "2", "enter")
        await seen(pilot, "✗ must lie between 1 and 4,096")
        assert "✗ must lie between 0 and 1" in picture(pilot)
        await pilot.press("8", "down", "down", "down", "1", "enter")
        await seen(pilot, "temperature 7, seed 0, at most 8 tokens")
        await pilot.press("R")
        await seen(pilot, "temperature 7, seed 1, at most 8 tokens")
        assert (asked[1].text, asked[1].seed, asked[1].max_new_tokens) == ("hi", 1, 8)
        await pilot.press("R")
        await seen(pilot, "half")
        await pilot.press("x")
        await seen(pilot, "stopped: what was generated is kept")
        assert open_exchanges[2].hang_up.hung_up
        await pilot.press("f")
        await seen(pilot, "= step")
        await pilot.press("escape", "home")
        await seen(pilot, "› hi")
        screen = pilot.app.screen_stack[0]
        assert isinstance(screen, RunScreen)
        assert len(screen.prompt.answers.exchanges) == 3


@pytest.mark.parametrize("before", [WAITING, LOADING])
def test_what_is_waited_for_is_not_told_above_an_answer(before: str) -> None:
    exchange = Exchange("the", message=before, running=True)
    add_reply(exchange, TokenMade(model="base", text="a"))
    assert exchange.message == ""
    add_reply(exchange, Held(step=84))
    add_reply(exchange, TokenMade(model="base", text="b"))
    assert exchange.message == "training is held at step 84 while the models answer"


@pytest.mark.parametrize(("width", "why"), [(40, "no probe"), (90, "no labels: no head, no probe")])
def test_a_base_without_a_probe_says_why_it_has_no_labels(width: int, why: str) -> None:
    exchange = Exchange("the", running=True)
    labels = {"good": 0.9, "bad": 0.1}
    add_reply(exchange, Labelled(model="tuned", name="tuned", probabilities=labels))
    lines = block_of(exchange, width, View()).lines
    (found,) = (t for t in texts(lines) if why in t)
    assert found.startswith("good")
    assert found.endswith("90.0 %")
    assert max(width_of(line) for line in lines) <= width
    add_reply(exchange, Labelled(model="base", name="probe", probabilities=labels))
    assert not any("no probe" in t for t in texts(block_of(exchange, width, View()).lines))


def test_labels_of_their_own_are_marked_at_their_thresholds_and_are_no_distribution() -> None:
    shares, limits = {"toxic": 0.8, "insult": 0.6, "threat": 0.1}, {"toxic": 0.5, "insult": 0.7}
    limits["threat"] = 0.05
    exchange = Exchange("the", running=True)
    for model in ("base", "tuned"):
        reply = Labelled(model=model, name=model, probabilities=shares, thresholds=limits)
        add_reply(exchange, reply)
    lines = texts(block_of(exchange, 90, View()).lines)
    assert any("both predict toxic, threat" in line for line in lines)
    assert any("each label stands by itself" in line for line in lines)
    marked = {line.split()[0]: "✓" in line for line in lines if line.startswith(tuple(shares))}
    assert marked == {"toxic": True, "insult": False, "threat": True}
    event = PromptAnswered(
        prompt="the",
        step=4,
        probe=True,
        tuned_probabilities=shares,
        thresholds={"tuned": limits},
    )
    assert any("toxic, threat" in line for line in texts(strip_lines([event], 90)))


def test_who_asked_is_told() -> None:
    assert exchange_of(PromptAnswered(prompt="a", step=1_775)).message == (
        "asked by a person at step 1,775"
    )
    assert exchange_of(PromptAnswered(prompt="a", step=775, probe=True)).message == (
        "asked by the run at step 775"
    )


async def test_only_exchanges_that_can_be_seen_are_kept(running: Run, shown: Shown) -> None:
    """Each holds the likelihoods of all its tokens: hours of prompts would fill the memory."""
    async with shown(running) as pilot:
        pane = pilot.app.screen.query_one(PromptPane)
        asked = [Exchange(f"prompt {n}") for n in range(MOST_SHOWN + 5)]
        for exchange in asked:
            pane.answers.show_exchanges([*pane.answers.exchanges, exchange])
        assert pane.answers.exchanges == asked[5:]
        pane.answers.show_exchanges(asked)
        assert pane.answers.exchanges == asked[5:]
