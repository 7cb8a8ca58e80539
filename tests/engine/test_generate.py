"""Answers token by token: greedy and sampled, in turns and as two rows of one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from ftev.core.config.config import LoraConfig, ModelConfig, RunConfig
from ftev.core.engine.answering import generate as generate_module
from ftev.core.engine.answering import generate as generation
from ftev.core.engine.answering.generate import (
    Voice,
    can_pair,
    choose,
    generate,
    join_caches,
    sampled_from,
    without_adapter,
)
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import Loaded, stop_ids
from ftev.core.engine.scoring.rows import prompt_ids
from ftev.core.run.control import AskPrompt, Completed, TokenMade
from peft import get_peft_model
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper


@pytest.fixture(scope="module")
def loaded(causal_folder: Path) -> Loaded:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    return load(config, str(causal_folder))


def answers(voices: list[Voice], prompt: list[int], asked: AskPrompt) -> dict[str, Completed]:
    made = list(generate(voices, prompt, asked))
    streamed = {v.name: "" for v in voices}
    for reply in made:
        if isinstance(reply, TokenMade):
            streamed[reply.model] += reply.text
    done = {r.model: r for r in made if isinstance(r, Completed)}
    for name, answer in done.items():
        assert answer.text.startswith(streamed[name])
    return done


def test_G1_greedy_is_what_generate_gives(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "the kettle", "text")
    told = answers([Voice("base", loaded)], prompt, AskPrompt(text="", max_new_tokens=12))["base"]
    expected = loaded.model.generate(
        torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0
    )
    ids = expected[0, len(prompt) :].tolist()
    assert told.text == loaded.tokenizer.decode(ids, skip_special_tokens=True)


def test_two_models_take_turns(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "tea", "text")
    asked = AskPrompt(text="tea", max_new_tokens=4)
    voices = [Voice("base", loaded), Voice("tuned", loaded)]
    order = [r.model for r in generate(voices, prompt, asked) if isinstance(r, TokenMade)]
    assert order == ["base", "tuned"] * 4


def test_a_seed_makes_the_same_sample(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "tea", "text")

    def sample(seed: int) -> str:
        asked = AskPrompt(text="", temperature=1.5, seed=seed, max_new_tokens=10)
        return answers([Voice("base", loaded)], prompt, asked)["base"].text

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(6)}) > 1


def test_likelihoods_cover_the_generation_or_all(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "the cup", "text")
    for wanted, extra in (("generation", 0), ("all", len(prompt) - 1), ("none", None)):
        asked = AskPrompt(text="", max_new_tokens=3, likelihoods=wanted)  # type: ignore[arg-type]
        told = answers([Voice("base", loaded)], prompt, asked)["base"]
        assert len(told.likelihoods) == (0 if extra is None else extra + told.tokens)
    assert told.tokens == 3


def test_an_answer_ends_where_the_model_does(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_module, "stop_ids", lambda _: {-1})  # no token ends it
    prompt = prompt_ids(loaded, "the cup", "text")
    asked = AskPrompt(text="", max_new_tokens=1_000_000)
    told = answers([Voice("base", loaded)], prompt, asked)["base"]
    assert told.tokens == loaded.max_length - 1


def test_an_eos_ends_the_answer(loaded: Loaded) -> None:
    logits = torch.zeros(10)
    logits[3] = 5.0
    random = torch.Generator().manual_seed(0)
    assert choose(logits, AskPrompt(text="", temperature=0), random) == 3
    assert choose(logits, AskPrompt(text="", temperature=1, top_k=1), random) == 3
    assert choose(logits, AskPrompt(text="", temperature=1, top_p=0.01), random) == 3


def sampling(top_k: int, top_p: float, temperature: float = 1.0) -> AskPrompt:
    return AskPrompt(text="", temperature=temperature, top_k=top_k, top_p=top_p)


def test_E5_top_p_counts_what_top_k_left() -> None:
    logits = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1]).log()
    assert sampled_from(logits, sampling(2, 0.5)).tolist() == [1, 0, 0, 0, 0]
    assert sampled_from(logits, sampling(0, 0.5)).tolist() == pytest.approx(
        [0.3 / 0.55, 0.25 / 0.55, 0, 0, 0]
    )
    assert sampled_from(logits, sampling(0, 0.0)).tolist() == [1, 0, 0, 0, 0]
    assert sampled_from(logits, sampling(99, 1.0)).tolist() == pytest.approx(logits.exp().tolist())


@pytest.mark.parametrize("top_k", [0, 1, 3, 50, 500])
@pytest.mark.parametrize("top_p", [0.0, 1e-9, 0.1, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("ties", [False, True])
def test_E5_samples_are_drawn_as_by_transformers(top_k: int, top_p: float, ties: bool) -> None:
    random = torch.Generator().manual_seed(top_k)
    for temperature in (0.3, 1.0, 2.0):
        logits = torch.randn(1, 200, generator=random) * 3
        logits = logits.round() if ties else logits
        expected = TemperatureLogitsWarper(temperature)(None, logits)
        if top_k:
            expected = TopKLogitsWarper(top_k)(None, expected)
        if top_p < 1:
            expected = TopPLogitsWarper(top_p)(None, expected)
        found = sampled_from(logits[0], sampling(top_k, top_p, temperature))
        assert torch.equal(found, expected.softmax(-1)[0])


def test_a_long_prompt_is_cut_to_leave_room_for_the_answer(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "tea and a cup " * 40, "text")
    asked = AskPrompt(text="", max_new_tokens=8)
    assert answers([Voice("base", loaded)], prompt, asked)["base"].tokens <= 8


def test_K5_the_base_of_an_adapter_is_the_same_weights_with_it_off(causal_folder: Path) -> None:
    config = RunConfig(
        task="generation",
        model=ModelConfig(base=str(causal_folder), adapter="lora", lora=LoraConfig(r=4)),
    )
    base, adapted = load(config, str(causal_folder)), load(config, str(causal_folder))
    add_adapter(adapted, config)
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    ids = torch.tensor([[1, 50, 60, 70]])
    with base.active() as model:
        plain = model(input_ids=ids).logits
    with adapted.as_base().active() as model:
        assert torch.equal(model(input_ids=ids).logits, plain)
    with adapted.active() as model:
        assert not torch.allclose(model(input_ids=ids).logits, plain)


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
