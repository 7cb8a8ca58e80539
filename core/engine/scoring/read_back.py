"""A saved model as somebody else would meet it: a process of its own loads it and scores rows.

    python -P -m ftev.core.engine.scoring.read_back

It starts in an empty folder and knows nothing of the run but the code on the model card and the
rows' tokens. It reads the name of a request's folder from each line of its input, and leaves the
scores, or what went wrong, in that folder. When its input ends, it ends, and its folder with it: a
worker that was killed cannot remove the rows it wrote there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from ...run import launch

if TYPE_CHECKING:
    from ..models.models import Loaded
    from .rows import TokenRows

LOOK_SECONDS = 0.05
PREFIX = "ftev-read-back-"
ADAPTER = "--adapter"  # what is read back has one
LEAST_SECONDS = 180.0  # for imports and loading, on a machine that others use too
# Variables that torchrun sets for its processes: this one is none of them.
OF_A_RANK = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


class NotRead(Exception):  # noqa: N818  (an outcome, not a bug)
    """The folder could not be loaded and scored: who loads it will fare the same."""


class NotTested(Exception):  # noqa: N818
    """The process was lost or too slow: nothing is known of the folder."""


class Request(msgspec.Struct):
    """What the other process needs beside the rows."""

    task: str
    code: str
    device: str
    precision: str
    batch_tokens: int
    max_length: int
    threads: int
    labels: list[str]  # of the data; empty for language models
    label_map: dict[str, str]
    texts: list[tuple[str, list[int]]]  # and the tokens that the run's tokenizer makes of them


@dataclass(frozen=True)
class ReadBack:
    """Scores of the rows, probabilities in the order of `labels`, and what the weights were."""

    frame: pl.DataFrame
    labels: tuple[str, ...]
    dtype: str
    tied_embeddings: bool


@dataclass
class Reader:
    """The other process. Its imports take seconds: `early`, it starts before it is needed."""

    adapter: bool = False
    early: bool = True
    folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix=PREFIX)
    )
    asked: int = 0

    def __post_init__(self) -> None:
        if self.early:
            self.process  # noqa: B018  (started)

    @cached_property
    def process(self) -> subprocess.Popen[bytes]:
        return launch.start_module(
            __name__,
            *([ADAPTER] if self.adapter else []),
            cwd=self.folder.name,
            env={k: v for k, v in os.environ.items() if not k.startswith(OF_A_RANK)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if "process" in vars(self):
            self.process.kill()
            self.process.wait()
            assert self.process.stdin is not None
            with suppress(OSError):
                self.process.stdin.close()
        self.folder.cleanup()

    def score(
        self, request: Request, rows: TokenRows, names: Sequence[str], seconds: float
    ) -> Iterator[int | ReadBack]:
        """Yields while it waits, at last the outcome. Raises NotRead or NotTested.

        `names`: what the rows' label codes stand for; `seconds`: what scoring may take.
        """
        self.asked += 1
        place = Path(self.folder.name) / str(self.asked)
        place.mkdir()
        (place / "request.json").write_bytes(msgspec.json.encode(request))
        _frame_of(rows, names).write_parquet(place / "rows.parquet")
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{place}\n".encode())
            self.process.stdin.flush()
        limit = LEAST_SECONDS + seconds
        until = time.monotonic() + limit
        while not (place / "answer.json").exists():
            if (code := self.process.poll()) is not None:
                how = f"the process that reads it back ended with code {code}"
                # Killed from outside, for memory most often: that says nothing of the weights.
                raise NotTested(how) if code == -signal.SIGKILL else NotRead(how)
            if time.monotonic() > until:
                raise NotTested(f"reading it back took longer than {limit:,.0f} s")
            yield 0
            time.sleep(LOOK_SECONDS)
        answer = json.loads((place / "answer.json").read_bytes())
        if "error" in answer:
            raise NotRead(answer["error"])
        frame = pl.read_parquet(place / "scores.parquet")
        yield ReadBack(frame, tuple(answer["labels"]), answer["dtype"], answer["tied_embeddings"])


def _frame_of(rows: TokenRows, names: Sequence[str]) -> pl.DataFrame:
    """Token rows as a table: ids, row_id, bytes, and either scored positions or the label."""
    columns: dict[str, Any] = {"row_id": rows.row_ids, "ids": [ids.tolist() for ids in rows.ids]}
    if rows.labels is not None:
        columns["label"] = [names[i] for i in rows.labels]
    if rows.wanted is not None:
        columns["wanted"] = rows.wanted.tolist()
    if rows.unit is not None:
        columns["unit"] = [rows.unit.tolist()] * len(rows)
    if rows.segments is not None:
        columns["segments"] = [segments.tolist() for segments in rows.segments]
    if rows.scored is not None:
        columns["scored"] = [scored.tolist() for scored in rows.scored]
        columns["bytes"] = rows.bytes
    if rows.rejected is not None:
        columns["rejected"] = _frame_of(rows.rejected, names).to_struct()
    return pl.DataFrame(columns, schema_overrides={"ids": pl.List(pl.Int32)})


# The other process


def serve() -> int:
    """Answer requests until nobody can ask any more."""
    from ..models.imports import import_adapters, import_models

    import_models(alone=True)  # seconds, spent before they are waited for
    if ADAPTER in sys.argv:
        import_adapters()
    from transformers import AutoModelForSequenceClassification  # noqa: F401
    from transformers.utils import logging

    from . import evaluate  # noqa: F401

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for line in sys.stdin:
        place = Path(line.rstrip("\n"))
        try:
            answer = _answer(place)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
        temporary = place / "answer.tmp"
        temporary.write_text(json.dumps(answer), encoding="utf-8")
        temporary.rename(place / "answer.json")
    if Path.cwd().name.startswith(PREFIX):
        shutil.rmtree(Path.cwd(), ignore_errors=True)
    return 0


def _answer(place: Path) -> dict[str, Any]:
    import torch

    from ..models.models import dtype_of, tied
    from .scorer import find_scorer

    request = msgspec.json.decode((place / "request.json").read_bytes(), type=Request)
    torch.set_num_threads(request.threads)
    loaded = _load(request)
    _check_tokenizer(loaded.tokenizer, request.texts)
    rows = _rows_of(pl.read_parquet(place / "rows.parquet"), loaded)
    scorer = find_scorer(request.task)
    *_, frame = scorer.score(loaded, rows, request.precision, request.batch_tokens)
    assert isinstance(frame, pl.DataFrame)
    frame.write_parquet(place / "scores.parquet")
    return {
        "labels": loaded.labels,
        "dtype": dtype_of(loaded),
        "tied_embeddings": tied(loaded),
    }


def _load(request: Request) -> Loaded:
    """By the code on the card; the labels are those that the loaded model names."""
    from ..models.heads import read_outputs
    from ..models.load import no_pickles
    from ..models.models import Loaded

    made: dict[str, Any] = {}
    with no_pickles("the model that was saved"):
        exec(compile(request.code, "<model card>", "exec"), made)
    model = made["model"].to(request.device)
    if not request.labels:
        return Loaded(model, made["tokenizer"], request.max_length)
    by_number = model.config.problem_type == "regression"
    outputs = read_outputs(model.config, request.labels, request.label_map, by_number=by_number)
    if not outputs.fits(request.labels, trains=False):
        raise ValueError(f"its labels are {outputs.own}, not {tuple(request.labels)}")
    doubled = outputs.names if len(outputs.labels) < len(outputs.names) else ()
    return Loaded(model, made["tokenizer"], request.max_length, outputs.labels, outputs=doubled)


def _check_tokenizer(tokenizer: Any, texts: Sequence[tuple[str, list[int]]]) -> None:
    other = [text for text, ids in texts if tokenizer(text).input_ids != ids]
    if other:
        raise ValueError(f"its tokenizer reads {len(other)} of {len(texts)} rows otherwise")


def _rows_of(frame: pl.DataFrame, loaded: Loaded) -> TokenRows:
    from .rows import TokenRows

    rows = TokenRows(row_ids=frame["row_id"].to_list())
    rows.ids = [np.asarray(ids, dtype=np.int32) for ids in frame["ids"].to_list()]
    if "label" in frame.columns:
        index = {label: i for i, label in enumerate(loaded.labels)}
        rows.labels = np.asarray([index[label] for label in frame["label"]], dtype=np.int64)
    if "wanted" in frame.columns:
        rows.wanted = np.asarray(frame["wanted"].to_list(), dtype=np.float64)
    if "unit" in frame.columns:
        rows.unit = np.asarray(frame["unit"][0].to_list())
    if "segments" in frame.columns:
        rows.segments = [np.asarray(kinds, dtype=np.int32) for kinds in frame["segments"].to_list()]
    if "scored" in frame.columns:
        rows.scored = [np.asarray(scored, dtype=np.bool_) for scored in frame["scored"].to_list()]
        rows.bytes = frame["bytes"].to_list()
    if "rejected" in frame.columns:
        rows.rejected = _rows_of(frame["rejected"].struct.unnest(), loaded)
    return rows


if __name__ == "__main__":
    sys.exit(serve())
