"""What is stored beside predictions, so that a row is known again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from ftev.core.engine.distributed.ranks import Ranks
from ftev.core.engine.scoring import splits
from ftev.core.engine.scoring.conclude import _changes, _forgotten, _identified, _store
from ftev.core.engine.scoring.scorer import find_scorer
from ftev.core.engine.scoring.token_scores import TextScore
from ftev.core.run.runs import Run
from scoring import causal_model, rows_of_texts, scores


def stored(
    folder: Path, form: str, source: pl.DataFrame, count: int, **prepared: Any
) -> pl.DataFrame:
    split = SimpleNamespace(frame=source)
    session = SimpleNamespace(run=Run(folder), form=form, write=lambda _: None, **prepared)
    session.dataset = SimpleNamespace(splits={"test": split})
    session.run.predictions.mkdir()
    predictions = pl.DataFrame({"row_id": range(count), "nll": [1.0] * count})
    found = _identified(session, "test", count)  # type: ignore[arg-type]
    _store(session, "test", "tuned", predictions, found)  # type: ignore[arg-type]
    return pl.read_parquet(session.run.predictions / "test.tuned.parquet")


def source(**columns: list[str]) -> pl.DataFrame:
    content = pl.Series("content", [11, 12], dtype=pl.UInt64)
    return pl.DataFrame({"row_id": [0, 1], **columns}).with_columns(content)


def test_rows_have_their_hash_and_the_beginning_of_their_input(tmp_path: Path) -> None:
    frame = stored(
        tmp_path, "prompt_completion", source(prompt=["ask", "é" * 900], completion=["a", "b"]), 2
    )
    assert frame["content"].to_list() == [11, 12]
    assert frame["input"].to_list() == ["ask", "é" * 500]


def test_windows_of_documents_tell_how_they_begin(tmp_path: Path, causal_folder: Path) -> None:
    """Windows are numbered anew: their ids and hashes are not those of the documents."""
    causal = causal_model(causal_folder)
    texts = ["a cold day makes a warm cup welcome. " * 20, "a short one"]
    rows = rows_of_texts(causal, texts)
    assert len(rows) > 3
    frame = stored(
        tmp_path, "text", source(text=texts), len(rows), rows={"test": rows}, tuned=causal
    )
    assert frame["content"].to_list() == [None] * len(rows)
    assert frame.schema["content"] == pl.UInt64
    begun = frame["input"].to_list()
    assert texts[0].startswith(begun[0].strip()[:40])
    assert "".join(begun[:-1]).count("warm cup") >= 5
    assert "a short one" in begun[-1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_last_validation_is_scored_once(causal_folder: Path, precision: str) -> None:
    """Where its step is the one that is kept and its precision the final one."""
    base, tuned = causal_model(causal_folder), causal_model(causal_folder)
    rows = {split: rows_of_texts(tuned, ["a warm cup", "tea"]) for split in ("validation", "test")}
    passes = {"base": 0, "tuned": 0}
    for name, loaded in (("base", base), ("tuned", tuned)):

        def count(*_: object, name: str = name) -> None:
            passes[name] += 1

        loaded.model.model.register_forward_hook(count)
    settings = SimpleNamespace(precision="float32", batch_tokens=64)
    session = SimpleNamespace(
        step=7,
        base=base,
        tuned=tuned,
        labels=(),
        config=SimpleNamespace(evaluate=settings),
        scorer=find_scorer("generation"),
        ranks=Ranks(),
        rows_for=lambda _, split: rows[split],
        name_of=str,
        drive=lambda work, *_: list(work)[-1],
        validated={(step, precision): scores(tuned, rows["validation"]) for step in (0, 7)},
    )
    again = precision != settings.precision
    for name, loaded in (("base", base), ("tuned", tuned)):
        passes[name] = 0
        found = splits.final_scores(session, loaded, "validation", "")  # type: ignore[arg-type]
        assert bool(passes[name]) == again
        expected = session.validated[0 if name == "base" else 7, precision]
        assert found["nll"].to_list() == pytest.approx(expected["nll"].to_list(), abs=1e-4)
        splits.final_scores(session, loaded, "test", "")  # type: ignore[arg-type]
        assert passes[name]


def test_forgetting_is_measured_only_where_both_models_read_the_same_tokens() -> None:
    def scored(tokens: list[str], by: float) -> TextScore:
        costs = [-1.0 - by * (i % 3) for i in range(len(tokens))]
        return TextScore(tokens, costs, [1] * len(tokens), 400, "", window=10, stride=5)

    words = [f"w{i}" for i in range(200)]
    base, tuned = scored(words, 0.1), scored(words, 0.2)
    assert _forgotten(base, scored(words[::-1], 0.2)) is None
    found = _forgotten(base, tuned)
    assert found is not None
    assert any(isinstance(r, type(found)) for r in _changes("general_text", base, tuned))
    assert not any(isinstance(r, type(found)) for r in _changes("other", base, tuned))
