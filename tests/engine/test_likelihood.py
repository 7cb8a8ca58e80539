"""A text under several models: which tokens gained and which lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ftev.core.engine.scoring.token_scores import Texts, score_models
from ftev.core.metrics.token_changes import gained_and_lost
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = "the kettle boils and the cup is warm"
DEMO = Path(__file__).parents[2] / "core" / "data" / "demo" / "models" / "causal"


@pytest.fixture(scope="module")
def moved(causal_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other weights."""
    folder = tmp_path_factory.mktemp("moved")
    model = AutoModelForCausalLM.from_pretrained(causal_folder)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(causal_folder).save_pretrained(folder)
    return folder


def test_tokens_that_gained_and_lost_add_up_to_the_difference(
    causal_folder: Path, moved: Path
) -> None:
    found = score_models(Texts(models=[str(causal_folder), str(moved)], texts=[TEXT, "tea"]))
    a, b = found["models"]
    (change,) = found["differences"]
    gained, lost = change["gained"], change["lost"]
    assert len(gained) + len(lost) == a["scored_tokens"]
    total = sum(t["difference"] for t in gained + lost)
    assert total == pytest.approx(b["total_log_likelihood"] - a["total_log_likelihood"])
    assert [t["difference"] for t in gained] == sorted(t["difference"] for t in gained)[::-1]
    assert [t["difference"] for t in lost] == sorted(t["difference"] for t in lost)
    for t in gained + lost:
        token, before, rank = a["per_token"][t["position"]]
        assert (t["token"], t["from"], t["rank_from"]) == (token, before, rank)
        assert t["to"] == b["per_token"][t["position"]][1]
    assert "".join(t[0] for t in a["per_token"]) == TEXT + "tea"


def test_K4_other_tokens_are_compared_in_bits_per_byte_only(causal_folder: Path) -> None:
    found = score_models(Texts(models=[str(causal_folder), str(DEMO)], texts=[TEXT]))
    (change,) = found["differences"]
    assert set(change) == {"from", "to", "bits_per_byte"}


def test_a_token_that_did_not_move_neither_gained_nor_lost() -> None:
    rows = [["a", -1.0, 1], ["b", -2.0, 3]]
    assert gained_and_lost(rows, rows) == {"gained": [], "lost": []}
