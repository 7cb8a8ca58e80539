"""The text of a window of a longer document, from the bytes that each window counted."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import story
from ftev.core.analysis.predictions import read_inputs, read_whole_input
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.data.data import read_dataset
from ftev.core.run.events import RunStarted, SplitPrepared
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run

PIECES = ["Was ist, das ", "ist; und größer ", "als gesagt: „ja“.\n", "Ende."]


def windowed(folder: Path, pieces: list[str]) -> tuple[Run, pl.DataFrame]:
    """A run whose test file is one document; a row a piece, its text not stored."""
    texts = {"train": "Anderes. " * 20, "validation": "Noch anderes.", "test": "".join(PIECES)}
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    config = RunConfig(
        task="generation",
        name="windows",
        model=ModelConfig(base="tiny"),
        data=DataConfig(**{name: str(folder / f"{name}.txt") for name in texts}),
    )
    found = read_dataset(config.data, "generation", config.train.seed, folder).splits["test"]
    started = RunStarted(run="w", name="w", task="generation", pid=1, host="h", ftev_version="0")
    prepared = SplitPrepared(split="test", rows=len(pieces), columns=1, sha256=found.sha256)
    run = story.write_story(folder / "run", [started, prepared], config)
    size = len(pieces)
    frame = pl.DataFrame(
        {
            "row_id": range(size),
            "nll": [1.0] * size,
            "tokens": [3] * size,
            "correct": [1] * size,
            "bytes": [len(piece.encode()) for piece in pieces],
            "content": pl.Series([None] * size, dtype=pl.UInt64),
        }
    )
    return run, frame.reverse()


def test_windows_have_the_text_that_they_scored(tmp_path: Path) -> None:
    run, frame = windowed(tmp_path, PIECES)
    history = read_history(run)
    assert read_inputs(run, history, "test", frame).texts == dict(enumerate(PIECES))
    assert read_whole_input(run, history, "test", frame, 1) == PIECES[1]


def test_windows_that_are_not_all_there_have_none(tmp_path: Path) -> None:
    run, frame = windowed(tmp_path, PIECES[:-1])
    inputs = read_inputs(run, read_history(run), "test", frame)
    assert inputs.texts == {}
    assert "windows of longer documents" in inputs.missing
