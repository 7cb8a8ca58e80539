"""Log-likelihoods equal those of lm-eval in float32: single and rolling windows, same prefix."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from data_files import REAL
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.scoring.token_scores import TextScore, score_text
from scoring import causal_model, scores

MODEL = REAL.parent / "models" / "stories260K"
BOOKS = (REAL / "gutenberg" / "emma.txt", REAL / "tinyshakespeare" / "input.txt")
SIZES = (150, 400, 700, 1_200, 2_500)  # characters; the model's window is about 900 of them
NATS = 1e-4  # a document

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        not (MODEL.exists() and all(book.exists() for book in BOOKS)),
        reason="the real data and models are not beside the project",
    ),
    pytest.mark.filterwarnings("ignore"),  # of the oracle, which is not ours
]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return causal_model(MODEL)


@pytest.fixture(scope="module")
def oracle(loaded: Loaded) -> Any:
    """lm-eval's own loader of the same folder, in float32, with the same window and prefix.

    `softmax_dtype` makes it add up in float64. Left alone it adds up in float32, where totals of
    these documents (thousands of nats) cannot be told apart closer than 2e-4 nats.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lm_eval", reason="lm-eval is not installed (make oracles)")
        from lm_eval.models.huggingface import HFLM

        lm = HFLM(
            pretrained=str(MODEL),
            dtype="float32",
            device="cpu",
            batch_size=8,
            max_length=loaded.max_length,
            add_bos_token=False,
            softmax_dtype="float64",
        )
    assert lm.prefix_token_id == loaded.prefix_id
    assert next(lm.model.parameters()).dtype == torch.float32
    return lm


@pytest.fixture(scope="module")
def documents() -> list[str]:
    """100 documents of each book, whole lines, some within one window and some over several."""
    found = []
    for book in BOOKS:
        lines = book.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        at = 0
        for i in range(100):
            text, size = "", SIZES[i % len(SIZES)]
            while len(text) < size:
                text += lines[at]
                at += 1
            found.append(text.strip())
    return found


def asked(lm: Any, kind: str, arguments: list[tuple[str, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    requests = [
        Instance(request_type=kind, doc={}, arguments=a, idx=i) for i, a in enumerate(arguments)
    ]
    found: list[Any] = getattr(lm, kind)(requests, disable_tqdm=True)
    return found


@pytest.fixture(scope="module")
def told(loaded: Loaded, documents: list[str]) -> list[TextScore]:
    found = [list(score_text(loaded, text))[-1] for text in documents]
    return [score for score in found if isinstance(score, TextScore)]


def test_K3_rolling_windows_equal_lm_eval(
    oracle: Any, documents: list[str], told: list[TextScore], record_property: Any
) -> None:
    assert len(told) == 200
    windows = [len(score.tokens) / score.window for score in told]
    assert min(windows) < 0.5  # one window, not filled
    assert sum(w > 1 for w in windows) >= 80  # several
    expected = asked(oracle, "loglikelihood_rolling", [(text,) for text in documents])
    apart = np.abs(np.array([s.total for s in told]) - np.array(expected))
    record_property("largest_difference_nats", float(apart.max()))
    print(f"rolling: {len(told)} documents, largest difference {apart.max():.2e} nats")
    assert apart.max() < NATS


def test_K1_single_windows_equal_lm_eval(
    oracle: Any, documents: list[str], told: list[TextScore], record_property: Any
) -> None:
    """An empty context: the prefix alone, which is never scored."""
    short = [i for i, score in enumerate(told) if len(score.tokens) <= score.window]
    assert len(short) > 70
    expected = asked(oracle, "loglikelihood", [("", documents[i]) for i in short])
    apart = [abs(told[i].total - total) for i, (total, _) in zip(short, expected, strict=True)]
    record_property("largest_difference_nats", max(apart))
    print(f"single: {len(short)} documents, largest difference {max(apart):.2e} nats")
    assert max(apart) < NATS
    greedy = [all(rank == 1 for rank in told[i].ranks) for i in short]
    assert greedy == [is_greedy for _, is_greedy in expected]


def test_L5_batched_continuations_equal_lm_eval(
    loaded: Loaded, oracle: Any, documents: list[str]
) -> None:
    """Contexts and continuations of uneven lengths, scored in batches cut by a token budget."""
    pairs = []
    for text in documents:
        head, _, tail = text[:500].partition("\n")
        if tail.strip() and head.strip():
            pairs.append((head, "\n" + tail))
    rows = TokenRows(scored=[])
    assert rows.scored is not None
    for i, (head, tail) in enumerate(pairs):
        context, continuation = oracle._encode_pair(head, tail)
        rows.ids.append(np.array([*context, *continuation], dtype=np.int32))
        rows.scored.append(np.arange(len(rows.ids[-1])) >= len(context))
        rows.row_ids.append(i)
        rows.bytes.append(len(tail.encode()))
    assert len(pairs) > 150
    expected = asked(oracle, "loglikelihood", pairs)
    frame = scores(loaded, rows, budget=2_048)
    apart = np.abs(frame["nll"].to_numpy() + np.array([total for total, _ in expected]))
    print(f"continuations: {len(pairs)}, largest difference {apart.max():.2e} nats")
    assert apart.max() < NATS
