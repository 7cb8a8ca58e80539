"""Answers in batches equal answers one by one, whatever the padding (G1)."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.answering.generate import Voice, generate
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import Loaded, stop_ids
from ftev.core.engine.scoring.completions import (
    Answer,
    answer_limit,
    answer_rows,
    answer_text,
    complete,
    draw_questions,
    questions,
)
from ftev.core.engine.scoring.evaluate import score_tokens
from ftev.core.engine.scoring.rows import (
    completion_rows,
    encode,
    fit_prompt,
)
from ftev.core.run.control import AskPrompt, Completed
from transformers import AutoTokenizer, MambaForCausalLM, RecurrentGemmaForCausalLM

TEXTS = [
    "the kettle",
    "a cold day makes a warm cup welcome and the cup is",
    "tea",
    "what a good day for a good cup",
    "this kettle is broken and",
    "the tea was bad and the day was worse and i want it gone",
]
LIMIT = 12


@pytest.fixture(scope="module")
def loaded(causal_folder: Path) -> Loaded:
    """Its pad token is its EOS token; its weights are wider, so that answers differ."""
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    loaded = load(config, str(causal_folder))
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4)
    return loaded


@pytest.fixture(scope="module")
def prompts(loaded: Loaded) -> list[list[int]]:
    return [[loaded.prefix_id, *ids] for ids in encode(loaded, TEXTS)]


def answers(
    loaded: Loaded, prompts: list[list[int]], stop: set[int], budget: int = 8192
) -> list[Answer]:
    *counts, last = complete(loaded, prompts, LIMIT, stop, "float32", budget)
    assert isinstance(last, list)
    assert counts == sorted(counts)
    assert counts[-1] == len(prompts) * LIMIT
    return last


def some_stop(loaded: Loaded, prompts: list[list[int]]) -> set[int]:
    """A token that ends a part of the answers early: the fifth of the first one."""
    return {answers(loaded, prompts, set())[0].tokens[4]}


def test_G1_batches_answer_what_rows_answer_alone(loaded: Loaded, prompts: list[list[int]]) -> None:
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id
    stop = some_stop(loaded, prompts)
    alone = [answers(loaded, [p], stop)[0] for p in prompts]
    assert len({tuple(a.tokens) for a in alone}) == len(prompts)
    assert {a.ended for a in alone} == {True, False}
    for budget in (1, 60, 8192):
        assert answers(loaded, prompts, stop, budget) == alone
    order = [3, 0, 5, 1, 4, 2]
    shuffled = answers(loaded, [prompts[i] for i in order], stop)
    assert [shuffled[order.index(i)] for i in range(len(prompts))] == alone


def test_G1_answers_do_not_depend_on_the_pad_token(
    loaded: Loaded, prompts: list[list[int]]
) -> None:
    before = answers(loaded, prompts, stop_ids(loaded))
    was = loaded.tokenizer.pad_token
    loaded.tokenizer.pad_token = "<pad>"
    try:
        assert answers(loaded, prompts, stop_ids(loaded)) == before
    finally:
        loaded.tokenizer.pad_token = was


def test_G1_answers_are_those_of_transformers_and_of_the_prompt_box(
    loaded: Loaded, prompts: list[list[int]]
) -> None:
    stop = stop_ids(loaded)
    for prompt, answer in zip(prompts, answers(loaded, prompts, stop), strict=True):
        ids = torch.tensor([prompt])
        settings = {"max_new_tokens": LIMIT, "do_sample": False, "pad_token_id": 0}
        whole = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        expected = whole[0, len(prompt) :].tolist()
        assert answer.tokens == [t for t in expected if t not in stop]
        asked = AskPrompt(text="", max_new_tokens=LIMIT)
        *_, found = generate([Voice("base", loaded)], prompt, asked)
        assert isinstance(found, Completed)
        assert answer_text(loaded, answer) == found.text


def test_G1_models_that_cannot_be_told_positions_answer_the_same_in_batches() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(1)
    model = BloomForCausalLM(
        BloomConfig(vocab_size=99, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.4)
    )

    class Tokenizer:
        pad_token_id = 0

    bloom = Loaded(model, Tokenizer(), 64)
    prompts = [[5, 6], [7, 8, 9, 10, 11, 12, 13], [14, 15, 16, 17], [18, 19]]
    alone = [answers(bloom, [p], set())[0] for p in prompts]
    assert answers(bloom, prompts, set()) == alone


def test_a_batch_can_be_left_between_two_tokens(loaded: Loaded, prompts: list[list[int]]) -> None:
    work = complete(loaded, prompts, LIMIT, set(), "float32", 8192)
    assert [next(work), next(work)] == [6, 12]  # and here the caller may stop
    work.close()
    assert answers(loaded, prompts, set())


def test_K5_an_answer_read_by_its_own_model_is_the_likelihood_it_was_made_with(
    loaded: Loaded, prompts: list[list[int]]
) -> None:
    made = answers(loaded, prompts, some_stop(loaded, prompts))
    rows = answer_rows(range(len(made)), prompts, made)
    *_, scored = score_tokens(loaded, rows, "float32", 60)
    assert isinstance(scored, pl.DataFrame)
    assert scored["correct"].to_list() == scored["tokens"].to_list()  # greedy: each ranked first
    assert scored["tokens"].to_list() == [len(a.tokens) + a.ended for a in made]
    for prompt, answer, nll in zip(prompts, made, scored["nll"], strict=True):
        said = [*answer.tokens, *([answer.stop] if answer.ended else [])]
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([[*prompt, *said]])).logits[0].float()
        taken = logits.log_softmax(-1)[len(prompt) - 1 : -1][range(len(said)), said]
        assert nll == pytest.approx(-taken.double().sum().item(), abs=1e-4)


FRAME = pl.DataFrame(
    {
        "row_id": [3, 4, 9],
        "prompt": ["the kettle", "a cold day ", "tea"],
        "completion": ["boils", "makes a warm cup", " was bad"],
    }
)


def test_M3_questions_begin_the_rows_that_were_scored(loaded: Loaded) -> None:
    *_, rows = completion_rows(FRAME, loaded)
    assert not isinstance(rows, int)
    assert rows.scored is not None
    asked = list(questions(FRAME, loaded, "prompt_completion"))
    for question, ids, scored in zip(asked, rows.ids, rows.scored, strict=True):
        assert question.ids == ids[~scored].tolist()
        assert question.reference_tokens == scored.sum() - 1  # its EOS is no part of it
    assert [q.row_id for q in asked] == [3, 4, 9]
    assert asked[1].reference == "makes a warm cup"


def test_M2_the_last_assistant_turn_is_the_reference(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    chat = [
        {"role": "user", "content": "tea"},
        {"role": "assistant", "content": "a cup"},
        {"role": "user", "content": "and"},
        {"role": "assistant", "content": "a kettle"},
    ]
    try:
        frame = pl.DataFrame({"row_id": [0, 1], "messages": [chat, chat[:1]]})
        (question,) = questions(frame, loaded, "messages")  # the second has no answer to compare
    finally:
        loaded.tokenizer.chat_template = None
    assert question.reference == "a kettle"
    assert question.prompt == "user: tea\nassistant: a cup\nuser: and"
    shown = loaded.tokenizer.decode(question.ids)
    assert shown == "<user>tea</s><assistant>a cup</s><user>and</s><assistant>"


def test_rows_are_drawn_by_seed_and_keep_their_order() -> None:
    frame = pl.DataFrame({"row_id": range(100)})
    drawn = [draw_questions(frame, 10, seed)["row_id"].to_list() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0])
    assert draw_questions(frame, 100, 1).height == 100


def test_an_answer_may_be_half_as_long_again_as_the_longest_reference(loaded: Loaded) -> None:
    asked = list(questions(FRAME, loaded, "prompt_completion"))
    longest = max(q.reference_tokens for q in asked)
    assert longest < 11
    assert answer_limit(asked, 256, 512) == 16
    long = [type(asked[0])(0, "", "", 101, [1])]
    assert answer_limit(long, 256, 512) == 152
    assert answer_limit(long, 100, 512) == 100
    assert answer_limit(long, 256, 64) == 32


def test_a_long_prompt_keeps_its_prefix_and_its_end() -> None:
    assert fit_prompt([1, 2, 3, 4, 5], 3) == [1, 4, 5]
    assert fit_prompt([1, 2, 3], 3) == [1, 2, 3]
    assert fit_prompt([1, 2], 1) == [1]
    assert np.all(np.diff(fit_prompt(list(range(50)), 8)[1:]) == 1)


def test_E2_the_end_of_reasoning_stays_in_an_answer_where_it_is_a_special_token(
    loaded: Loaded,
) -> None:
    tokenizer = copy.deepcopy(loaded.tokenizer)
    plain = tokenizer("<think>cold</think>warm tea", add_special_tokens=False).input_ids
    ours = replace(loaded, tokenizer=tokenizer)
    assert answer_text(ours, Answer(plain)) == "<think>cold</think>warm tea"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    special = tokenizer("<think>cold</think>warm tea</s>", add_special_tokens=False).input_ids
    assert answer_text(ours, Answer(special)) == "cold</think>warm tea"


@pytest.mark.parametrize("kind", [MambaForCausalLM, RecurrentGemmaForCausalLM])
def test_a_model_that_leaves_no_cache_reads_its_text_anew(
    kind: Any, causal_folder: Path, tmp_path: Path
) -> None:
    """Streamed and in a batch, whose prompts are not padded: a state goes through all of a row.

    By forward passes over whole texts: `generate` gives other tokens for a RecurrentGemma (5.23).
    """
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 3, "vocab_size": 320, "state_size": 8}
    more = {"num_attention_heads": 4, "intermediate_size": 64, "lru_width": 32}
    kind(kind.config_class(**small, **more, initializer_range=0.3)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(causal_folder).save_pretrained(tmp_path)
    config = RunConfig(task="generation", model=ModelConfig(base=str(tmp_path)))
    loaded = load(config, str(tmp_path))
    prompts = [[0, 5, 6], [0, 9, 30, 31, 70], [0, 8]]
    expected = [list(prompt) for prompt in prompts]
    for ids in expected:
        for _ in range(6):
            ids.append(
                int(loaded.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            )
    *_, found = complete(loaded, prompts, 6, set(), "float32", 512)
    assert isinstance(found, list)
    assert [a.tokens for a in found] == [ids[-6:] for ids in expected]
    voice = Voice("base", loaded)
    list(generate([voice], prompts[0], AskPrompt(text="", max_new_tokens=6)))
    assert voice.made == found[0].tokens


def test_an_answer_costs_what_it_costs_when_it_is_read_again(
    loaded: Loaded, prompts: list[list[int]]
) -> None:
    found = answers(loaded, prompts, some_stop(loaded, prompts))
    assert {answer.ended for answer in found} == {True, False}
    rows = answer_rows(range(len(prompts)), prompts, found)
    *_, frame = score_tokens(loaded, rows, "float32", 8192)
    assert isinstance(frame, pl.DataFrame)
    assert [answer.nll for answer in found] == pytest.approx(frame["nll"].to_list(), abs=1e-4)
    assert min(frame["nll"]) > 0.01
