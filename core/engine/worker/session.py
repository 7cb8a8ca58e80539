"""What every stage of a worker shares: the run, its events, its models, and who is asking."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl
import torch
from msgspec.structs import replace

from ...config.config import RunConfig
from ...data.data import Dataset
from ...data.leakage import Leakage
from ...errors import RunError
from ...files.reading import read_adapter
from ...judgement.selection import of_models
from ...metrics.analyses import LabelThresholds
from ...run.events import Event, LabelsFixed, Note, Progress, SplitPrepared, StageDone, StageStarted
from ...run.history import STAGES, History, read_history
from ...run.listen import Listener
from ...run.runs import Run, step_of, weights_of
from ...tasks import Task
from ..distributed.ranks import Ranks
from ..models.devices import choose_device, drawn_from
from ..models.load import load
from ..models.models import Loaded
from ..models.tokenizers import reads_alike
from ..scoring.rows import TokenRows
from ..scoring.scorer import Scorer, find_scorer
from ..training.best import ValidationRows
from ..training.probe import Features, Probe, load_probe
from .endings import Stopped
from .outbox import Outbox

if TYPE_CHECKING:
    from ...analysis import Frames  # brings SciPy's statistics, which no step needs

PROBE_FILE = "probe.safetensors"
PROGRESS_SECONDS = 0.5
Result = TypeVar("Result")  # of work that yields counts on its way


@dataclass
class Session:
    """One worker's run. `tuned` is the model that is trained; `base` what it is set against."""

    run: Run
    config: RunConfig
    events: Outbox | None  # the first rank's: the others write nothing
    listener: Listener
    ranks: Ranks = field(default_factory=Ranks)
    device: torch.device = field(init=False)
    _dataset: Dataset | None = None
    leakage: Leakage | None = None
    tuned: Loaded = field(init=False)
    form: str = ""  # how examples are made, as `data.Columns` names it
    spaced: bool = False  # completions begin with white space: prompts end without
    paired: bool = False  # a classifier reads two texts
    probe: Probe | None = None
    probed_validation: Features | None = None  # what it was fitted with, until it is scored
    rows: dict[str, TokenRows] = field(default_factory=dict)
    prepared_by: dict[str, Loaded] = field(default_factory=dict)  # whose tokens `rows` are
    validation: Frames = field(default_factory=dict)  # final predictions, to fit thresholds on
    # Scores of validation by step and precision: of those steps that may be kept, and of step 0
    validated: dict[tuple[int, str], pl.DataFrame] = field(default_factory=dict)
    labels: tuple[str, ...] = ()  # of the data, and what else a given model's head answers
    data_labels: tuple[str, ...] = ()
    positive: str | None = None
    step: int = 0
    trained_tokens: int = 0  # that the steps taken were made of, those before a resume too
    saved_step: int = -1  # of the newest checkpoint
    precision: str = "float32"
    saved_dtype: str = "float32"  # of the weights in model/
    interruptible: bool = True  # False while a stop must first save the training state
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)  # by model and label
    base_has_head: bool = False  # classification: the base can label by itself
    earlier: tuple[int, Loaded] | None = None  # the checkpoint that answered last, and its step
    _base: Loaded | None = None

    def __post_init__(self) -> None:
        self.device = choose_device(self.config)

    @property
    def dataset(self) -> Dataset:
        """What a run learns from and is judged by; a finished one is served without."""
        assert self._dataset is not None
        return self._dataset

    @dataset.setter
    def dataset(self, dataset: Dataset) -> None:
        self._dataset = dataset

    @property
    def task(self) -> Task:
        """What the model is to do."""
        return self.config.task_type

    @property
    def scorer(self) -> Scorer:
        """How rows of this task are scored."""
        return find_scorer(self.task.name)

    @property
    def validation_rows(self) -> ValidationRows:
        """The rows of evaluations inside training."""
        return ValidationRows.of(self.run)

    def write(self, *events: Event) -> None:
        if self.events is not None:
            self.events.write(*events)

    def flush(self) -> None:
        """Wait until what was written is in the file, where somebody will now look for it."""
        if self.events is not None:
            self.events.flush()

    def note(self, text: str, level: str = "info") -> None:
        self.write(Note(level=level, text=text))

    @contextmanager
    def stage(self, number: int) -> Iterator[dict[str, Any]]:
        """One of the five stages; what is put into the dict is written with its end."""
        name, started = STAGES[number - 1], time.monotonic()
        self.listener.state = name
        self.write(StageStarted(stage=number, name=name))
        results: dict[str, Any] = {}
        yield results
        seconds = time.monotonic() - started
        self.write(StageDone(stage=number, name=name, seconds=seconds, **results))

    def drive(self, work: Iterator[int | Result], what: str, total: int) -> Result:
        """Run a generator of counts to its end, writing progress; returns what it yields last."""
        last: int | Result | None = None
        written = time.monotonic()
        for last in work:
            if self.interruptible and self.listener.stop.is_set():
                raise Stopped
            now = time.monotonic()
            if isinstance(last, int) and now - written > PROGRESS_SECONDS:
                self.write(Progress(what=what, done=last, total=total))
                written = now
        assert last is not None
        assert not isinstance(last, int)
        return last

    def load(self, name: str, *, trainable: bool = False) -> Loaded:
        """A model of this run's task on its device; a new head is drawn from the run's seed."""
        with drawn_from(self.config.train.seed):
            loaded = load(self.config, name, self.data_labels, trainable=trainable)
        loaded.model.to(self.device)
        self.scorer.set_up(loaded, self._dataset, trainable=trainable)
        return loaded

    @property
    def base(self) -> Loaded:
        """The tuned model with its adapter off, else a copy, loaded when first asked for."""
        if self._base is None:
            off = self.adapts_base
            self._base = self.tuned.as_base() if off else self.load(self.config.model.base)
        return self._base

    @property
    def adapts_base(self) -> bool:
        """Whether the base is the tuned model with its adapter off: not where the base is itself
        an adapter that is trained on, nor where two models are given."""
        base = self.config.model.base
        return self.config.trains and self.tuned.has_adapter and read_adapter(base) is None

    def thresholds_of(self, model: str) -> dict[str, float]:
        """From which probability each label is given, where rows have several; else empty."""
        if not self.task.gives_sets:
            return {}
        return self.thresholds.get(model) or dict.fromkeys(self.labels, 0.5)

    def fix_labels(self, labels: tuple[str, ...]) -> None:
        """The order of stored probabilities and confusion cells, and whose label is positive."""
        self.labels = labels
        self.write(LabelsFixed(labels=list(labels), positive=self.positive))

    def keep_base(self, loaded: Loaded) -> None:
        self._base = loaded

    def forget_base(self) -> None:
        """After the tuned model was replaced, a base that shares its weights must be taken anew."""
        if self._base is not None and self._base.adapter_off:
            self._base = None

    def name_of(self, loaded: Loaded) -> str:
        """What another rank calls its copy of a model."""
        return "tuned" if loaded is self.tuned else "base"

    @property
    def untrained(self) -> Loaded:
        """The base's weights without a second copy, as long as training has not started."""
        return self._base or self.tuned

    @property
    def folder(self) -> Path:
        """Where relative paths of the configuration start."""
        return Path(self.config.folder)

    def prepare(self, split: str) -> TokenRows:
        """Tokenise a split and write down what masking and truncation left of it."""
        rows = self.render(split, self.tuned)
        self.rows[split], self.prepared_by[split] = rows, copy(self.tuned)
        self.write(self.describe(split))
        return rows

    def render(self, split: str, loaded: Loaded, again: str = "") -> TokenRows:
        """The rows of a split as a model reads them."""
        frame = self.dataset.splits[split].frame
        work = self.scorer.forms[self.form](frame, loaded)
        return self.drive(work, f"tokenising {split}{again}", frame.height)

    def rows_for(self, loaded: Loaded, split: str) -> TokenRows:
        """A split as a model reads it: two given models may have tokenizers of their own."""
        if split not in self.rows:  # on a rank that was ordered to score it
            self.prepare(split)
        if reads_alike(self.prepared_by[split], loaded):
            return self.rows[split]
        return self.render(split, loaded, " again")

    def shapes(self, split: str) -> dict[str, Any]:
        """Rows and columns of a split before and after it was prepared, and a line about it."""
        source, rows = self.dataset.splits[split], self.rows[split]
        described = self.describe(split)
        longest = int(rows.lengths.max()) if len(rows) else 0
        words = [f"{described.tokens:,} tokens", f"longest {longest}"]
        if "validation" in self.rows and split == "train":
            words.append(f"validation {len(self.rows['validation']):,} rows")
        if described.scored_tokens:
            words.append(f"{described.scored_tokens:,} scored")
        if described.truncated_rows:
            words.append(f"{described.truncated_rows:,} rows truncated")
        return {
            "rows_in": source.rows_in,
            "columns_in": source.columns_in,
            "rows_out": len(rows),
            "columns_out": 2 if rows.labels is not None else 1,
            "note": ", ".join(words),
        }

    def describe(self, split: str) -> SplitPrepared:
        """What was read of a split and what masking and truncation left of it."""
        source = self.dataset.splits[split]
        return replace(
            self.rows[split].describe(split, source.columns_in),
            **self.dataset.facts(split),
            rows_sha256=_sha256_of_rows(source.frame) if split == "test" else "",
        )


def _sha256_of_rows(frame: pl.DataFrame) -> str:
    """Of the rows' inputs in any order, so that a run knows its test rows in another's."""
    return hashlib.sha256(frame["content"].sort().to_numpy().tobytes()).hexdigest()


def load_finished(s: Session) -> None:
    """The models of a run that has ended, as it left them."""
    history = read_history(s.run)
    weights = weights_of(s.run, history.best_step)
    if weights is None:
        raise RunError(f"{s.run.id}: its weights are not here, so it cannot answer prompts")
    s.labels, s.positive = tuple(history.labels), history.positive
    is_model = weights == s.run.model_path
    s.step = history.best_step or history.step if is_model else step_of(weights)
    s.form = history.columns.form if history.columns else "text"
    s.spaced = bool(history.columns and history.columns.spaced)
    s.paired = bool(history.columns and "text_pair" in history.columns.columns)
    s.config = s.config.for_form(s.form)
    s.data_labels = _data_labels(s, history)
    for split in ("validation", "test"):
        for model, found in of_models(history.analyses, LabelThresholds, split).items():
            s.thresholds[model] = {one.label: one.threshold for one in found.labels}
    s.tuned = s.load(str(weights))
    s.base_has_head = bool(history.model and not history.model.new_head)
    path = s.run.path / PROBE_FILE
    if path.exists():
        s.probe = load_probe(path, s.labels)


def _data_labels(s: Session, history: History) -> tuple[str, ...]:
    """A given model's head may know more labels than the rows that it was scored on."""
    if s.config.trains:
        return s.labels
    known = {label for split in history.splits.values() for label in split.labels}
    return tuple(label for label in s.labels if label in known)
