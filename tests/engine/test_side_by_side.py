"""Base and LoRA-tuned as two rows of one batch answer what they answer in turn (K5, G1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the engine's tests need torch")

import peft  # noqa: E402
from ftev.core.config.config import LoraConfig, ModelConfig, RunConfig  # noqa: E402
from ftev.core.engine.answering import generate as generation  # noqa: E402
from ftev.core.engine.answering.generate import (  # noqa: E402  # noqa: E402
    Voice,
    can_pair,
    generate,
    join_caches,
    without_adapter,
)
from ftev.core.engine.models.load import add_adapter, load  # noqa: E402
from ftev.core.engine.models.models import Loaded, stop_ids  # noqa: E402
from ftev.core.engine.scoring.rows import prompt_ids  # noqa: E402
from ftev.core.run.control import AskPrompt, Completed, TokenMade  # noqa: E402
from peft import get_peft_model  # noqa: E402

ASKED = AskPrompt(text="", max_new_tokens=12, likelihoods="all", details=True)


def adapted(folder: Path) -> Loaded:
    config = RunConfig(
        task="generation",
        model=ModelConfig(
            base=str(folder), adapter="lora", lora=LoraConfig(r=4, target_modules="all-linear")
        ),
    )
    loaded = load(config, str(folder))
    add_adapter(loaded, config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return loaded


@pytest.fixture(scope="module")
def tuned(causal_folder: Path) -> Loaded:
    return adapted(causal_folder)


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Asks as before the two were one batch."""

    def ask(*args: Any) -> list[TokenMade | Completed]:
        with monkeypatch.context() as patch:
            patch.setattr(generation, "can_pair", lambda a, b: False)
            return list(generate(*args))

    return ask


def voices(tuned: Loaded) -> list[Voice]:
    return [Voice("base", tuned.as_base()), Voice("tuned", tuned)]


def told(replies: list[TokenMade | Completed]) -> list[Any]:
    """All that was streamed but the likelihoods and the times."""
    return [
        (r.model, r.text)
        if isinstance(r, TokenMade)
        else (r.model, r.text, r.tokens, r.ended_by_eos)
        for r in replies
    ]


def same_scores(found: list[TokenMade | Completed], expected: list[TokenMade | Completed]) -> None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, TokenMade) and isinstance(other, TokenMade):
            assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-4)
        elif isinstance(one, Completed) and isinstance(other, Completed):
            assert [(t.text, t.rank) for t in one.likelihoods] == [
                (t.text, t.rank) for t in other.likelihoods
            ]
            for a, b in zip(one.likelihoods, other.likelihoods, strict=True):
                assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-4)
                assert [p for _, p in a.top] == pytest.approx([p for _, p in b.top], abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.2])
def test_one_batch_streams_what_turns_stream(
    tuned: Loaded, in_turn: Any, temperature: float
) -> None:
    prompt = prompt_ids(tuned, "a cold day makes", "text")
    asked = AskPrompt(
        text="", max_new_tokens=12, likelihoods="all", details=True, temperature=temperature, seed=4
    )
    widths: list[int] = []
    watch = tuned.model.get_input_embeddings().register_forward_hook(
        lambda m, a, out: widths.append(len(out))
    )
    found = list(generate(voices(tuned), prompt, asked))
    watch.remove()
    assert widths.count(2) >= 11  # and so it was one batch
    expected = in_turn(voices(tuned), prompt, asked)
    assert told(found) == told(expected)
    same_scores(found, expected)
    texts = {r.model: r.text for r in found if isinstance(r, Completed)}
    assert texts["base"] != texts["tuned"]


@pytest.mark.parametrize("first", ["base", "tuned"])
def test_one_goes_on_when_the_other_has_ended(
    tuned: Loaded, in_turn: Any, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = prompt_ids(tuned, "tea", "text")
    both = voices(tuned)
    list(generate(both, prompt, ASKED))
    made = {v.name: v.made for v in both}
    other = made["tuned" if first == "base" else "base"]
    stop = next(t for t in made[first][2:] if t not in other)
    eos = stop_ids(tuned) | {stop}
    monkeypatch.setattr(generation, "stop_ids", lambda loaded: eos)
    found, expected = (ask(voices(tuned), prompt, ASKED) for ask in (generate, in_turn))
    found = list(found)
    assert told(found) == told(expected)
    same_scores(found, expected)
    ended = {r.model: r.ended_by_eos for r in found if isinstance(r, Completed)}
    assert ended[first]
    assert not all(ended.values())


def test_the_adapter_is_as_it_was_afterwards(tuned: Loaded) -> None:
    ids = torch.tensor([[1, 50, 60], [1, 50, 60]])
    with tuned.active() as model, torch.inference_mode():
        before = model(ids).logits
        with without_adapter(model, 0):
            mixed = model(ids).logits
        assert torch.equal(model(ids).logits, before)
    with tuned.as_base().active() as model, torch.inference_mode():
        plain = model(ids).logits
    assert torch.allclose(mixed[0], plain[0], atol=1e-5)
    assert torch.allclose(mixed[1], before[1], atol=1e-5)
    assert not torch.allclose(mixed[0], mixed[1], atol=1e-2)


def test_only_a_base_and_its_own_plain_adapter_are_a_pair(
    tuned: Loaded, causal_folder: Path
) -> None:
    assert can_pair(tuned.as_base(), tuned)
    assert not can_pair(tuned, tuned)
    other = adapted(causal_folder)
    assert not can_pair(other.as_base(), tuned)
    merged = adapted(causal_folder)
    merged.model.merge_adapter()
    assert not can_pair(merged.as_base(), merged)
    plain = load(
        RunConfig(task="generation", model=ModelConfig(base=str(causal_folder))), str(causal_folder)
    )
    dora = replace(plain, model=get_peft_model(plain.model, peft.LoraConfig(use_dora=True, r=2)))
    assert not can_pair(dora.as_base(), dora)


def test_caches_that_are_not_of_one_length_are_not_joined(tuned: Loaded) -> None:
    with tuned.active() as model, torch.inference_mode():
        caches = [
            model(torch.ones(1, n, dtype=torch.long), use_cache=True).past_key_values
            for n in (3, 3, 4)
        ]
    assert join_caches([caches[0], caches[2]]) is None
    joined = join_caches(caches[:2])
    assert joined.layers[0].keys.shape[0] == 2
    assert join_caches([object(), object()]) is None
