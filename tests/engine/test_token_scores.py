"""What is told beside each token, and each answer under the other model."""

from pathlib import Path

import pytest
import torch
from ftev.core.engine.answering.generate import Voice, generate
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.rows import prompt_ids
from ftev.core.engine.scoring.token_scores import cross_score, pieces, score_answer
from ftev.core.run.control import AskPrompt, Completed
from scoring import causal_model

ASKED = AskPrompt(text="", max_new_tokens=6, likelihoods="all", details=True)


@pytest.fixture(scope="module")
def loaded(causal_folder: Path) -> Loaded:
    return causal_model(causal_folder)


def answered(loaded: Loaded, prompt: list[int]) -> tuple[Voice, Completed]:
    voice = Voice("base", loaded)
    *_, done = generate([voice], prompt, ASKED)
    assert isinstance(done, Completed)
    return voice, done


def test_the_pieces_of_tokens_join_to_the_text(loaded: Loaded) -> None:
    text = "the kettle boils \u4e16\u754c \U0001f44d na\u00efve, " * 3
    ids = loaded.tokenizer(text, add_special_tokens=False).input_ids
    assert "".join(pieces(loaded, ids)) == text
    assert len(pieces(loaded, ids)) == len(ids)


def test_the_top_five_are_those_of_the_model(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "the kettle", "text")
    _, done = answered(loaded, prompt)
    token = done.likelihoods[len(prompt) - 1]  # the first that was made
    assert len(token.top) == 5
    with torch.no_grad():
        shares = loaded.model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1)
    assert [p for _, p in token.top] == pytest.approx(shares.topk(5).values.tolist(), abs=1e-5)
    assert token.rank == 1
    assert token.log_likelihood == pytest.approx(float(shares.max().log()), abs=1e-5)


def test_an_answer_under_its_own_model_has_its_own_likelihoods(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "the kettle", "text")
    voice, done = answered(loaded, prompt)
    made = done.likelihoods[len(prompt) - 1 :]
    again = score_answer(loaded, prompt, voice.answered)
    assert [t.text for t in again] == [t.text for t in made]
    for a, b in zip(again, made, strict=True):
        assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-4)
    writer = ("base", loaded, prompt, voice.answered)
    told = cross_score(writer, ("tuned", loaded, prompt), made, aligned=True)
    assert told is not None
    assert told.average_log_likelihood == pytest.approx(told.own_average, abs=1e-4)
    assert told.bits_per_byte == pytest.approx(told.own_bits_per_byte, abs=1e-4)
    assert (
        cross_score(("base", loaded, prompt, []), ("t", loaded, prompt), [], aligned=True) is None
    )
