"""The vocabulary of facts a run writes down, one JSON line each, and how they are written and read.

Raw numbers only: sums and counts rather than averages, seconds rather than words. NaN and infinity
are legal values and are written as strings, because JSON has none.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, BinaryIO, get_args

import msgspec

from ..errors import Fault, RunError
from ..files.reading import BROKEN
from ..metrics.analyses import ANALYSES
from ..metrics.results import Comparison, ModelResult, Record

Model = str  # "base", "tuned", "majority" or "probe"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """A fact. `time` is seconds since the Unix epoch on the worker's clock."""

    time: float = 0.0


class RunStarted(Event, frozen=True, tag=True):
    """A worker took the run up; a resumed run has one of these for each worker."""

    run: str
    name: str
    task: str
    pid: int
    host: str
    ftev_version: str
    resumed_from_step: int = 0
    origin: str = "ftev"  # who trains: "transformers", "lightning", "loop"; whose log: "wandb", …


class DeviceFound(Event, frozen=True, tag=True):
    device: str  # "cpu", "cuda:0"
    name: str  # as the vendor calls it
    precision: str  # of training, or of scoring where nothing is trained: "float32", "bfloat16"
    packages: dict[str, str]
    threads: int = 0
    total_memory: int = 0  # bytes
    trains: bool = True
    devices: int = 1  # as many processes work on the run, one per device


class StageStarted(Event, frozen=True, tag=True):
    stage: int  # 1 to 5
    name: str


class StageDone(Event, frozen=True, tag=True):
    """A stage with its shape before and after; -1 where a side has no rows or columns."""

    stage: int
    name: str
    seconds: float
    rows_in: int = -1
    columns_in: int = -1
    rows_out: int = -1
    columns_out: int = -1
    note: str = ""


class Progress(Event, frozen=True, tag=True):
    """How far a long piece of work is: `done` of `total` units."""

    what: str
    done: int
    total: int


class ModelLoaded(Event, frozen=True, tag=True):
    name: str
    architecture: str
    parameters: int
    trainable: int
    layers: int
    vocab_size: int
    max_length: int
    prefix: str = ""  # the one token that scoring puts first (generation)
    new_head: bool = False  # a freshly initialised classifier sits on the base
    replaced_labels: list[str] = []  # of the base's own head, where the new one took its place
    local: bool | None = None  # a folder of this machine, not a name of the hub; None: older runs


class SplitPrepared(Event, frozen=True, tag=True):
    """A split ready to be used: what was read, and what masking and truncation left of it."""

    split: str
    rows: int
    columns: int
    source: str = ""
    sha256: str = ""
    labels: dict[str, int] = {}
    tokens: int = 0
    scored_tokens: int = 0  # generation: targets of the loss
    masked_tokens: int = 0
    truncated_rows: int = 0
    truncated_tokens: int = 0
    unscored_rows: int = 0  # nothing left to score
    skipped_rows: int = 0  # bad rows that the config said to skip
    not_learned: dict[str, int] = {}  # why right rows are not learned from -> how many
    rows_without_eos: int = 0  # untruncated rows whose end is not scored
    truncated_completions: int = 0  # generation: rows that lost the end of what is scored
    examples: dict[str, list[int]] = {}  # name of a count above -> the first ids of its rows
    distinct_rows: int = 0  # different inputs among its rows; 0: rows are windows, or an older run
    rows_sha256: str = ""  # of the inputs of its rows in any order: what test readings go by
    line_offset: int = 0  # a row's line in `source` is its id + this; 0: not the same for all rows


class ColumnsFound(Event, frozen=True, tag=True):
    """How examples are made: `form` is text_label, text, prompt_completion or messages."""

    form: str
    columns: dict[str, str]  # role to the name it has in the files
    unread: list[str] = []  # columns that nothing reads
    unread_keys: list[str] = []  # keys of messages that nothing reads
    template: str = ""  # a setting that joins the text with unread columns that hold text too
    spaced: bool = False  # most completions begin with white space
    words: str = ""  # how the files write such rows, where that has a name


class LabelsFixed(Event, frozen=True, tag=True):
    """The explicit, ordered label list, and the positive class of a binary task."""

    labels: list[str]
    positive: str | None = None


class LeakageFound(Event, frozen=True, tag=True):
    """Rows that splits share. `pairs`: split, row, split, row, layer, similarity."""

    exact: int
    near: int
    ngram: int
    conflicting_labels: int = 0
    pairs: list[tuple[str, int, str, int, str, float]] = []
    leaked: dict[str, int] = {}  # split -> rows that repeat one of an earlier split, or its group
    note: str = ""
    conflicts: list[tuple[str, int, str, int]] = []  # split, row, split, row: the first of them
    splits: list[str] = []  # those compared, the earliest first
    pairs_found: int = 0  # of which `pairs` lists the first
    groups: dict[str, int] = {}  # split -> groups of data.group that an earlier split has too
    group_rows: dict[str, int] = {}  # split -> rows of these groups
    same: list[tuple[str, str]] = []  # pairs of splits with the same rows
    shares: dict[str, float] = {}  # running text: split -> share of it that repeats


class ModelsCompared(Event, frozen=True, tag=True):
    """Base and tuned of an evaluation without training: whether they read the same tokens."""

    same_vocabulary: bool
    same_template: bool
    base_tokens: int
    tuned_tokens: int
    differing: int = 0  # tokens that one lacks, or that have another id
    examples: list[str] = []
    differing_parts: list[str] = []  # "chat template", "end token", ...
    outside: str = ""  # the model whose tokenizer has more tokens than it has embeddings


class TrainingPlanned(Event, frozen=True, tag=True):
    max_steps: int
    steps_per_epoch: int  # of a whole epoch
    epochs: float  # that the steps come to
    warmup_steps: int
    rows_per_step: float
    padding: float  # padded tokens a real one


class StepDone(Event, frozen=True, tag=True, gc=False):
    """One optimizer step. loss = loss_sum / loss_count. Numbers only: no gc."""

    step: int
    epoch: float
    loss_sum: float  # nats, summed over the step
    loss_count: int  # scored tokens, or rows
    learning_rate: float
    grad_norm: float
    tokens: int  # real tokens read
    seconds: float
    skipped: bool = False  # the gradient was not finite: no update was made


class ScalarsLogged(Event, frozen=True, tag=True):
    """Figures that a training loop other than ftev's logged at a step, as it gave them.

    Names as `logged.canonical_name` makes them: "train/loss", "validation/loss", "train/reward".
    One event has all that belongs to a step. A loss is a mean whose averaging is not known.
    """

    step: int
    values: dict[str, float]
    epoch: float = -1.0  # not known


class Evaluated(Event, frozen=True, tag=True):
    """A model scored on a split. loss = loss_sum / loss_count; accuracy = correct / count."""

    split: str
    model: Model
    step: int
    epoch: float
    rows: int
    loss_sum: float
    loss_count: int
    correct: int
    count: int
    bytes: int = 0
    confusion: list[
        tuple[int, int, int]
    ] = []  # truth, prediction, count of cells with rows; past the last label: no prediction
    unscored_rows: int = 0
    seconds: float = 0.0
    no_prediction: int = 0  # rows whose scores are not finite: they count as wrong
    # Against earlier evaluations inside training, row by row: earlier step, difference of the
    # losses (later - earlier), its paired standard error over rows
    changes: list[tuple[int, float, float]] = []
    precision: str = ""  # of the forward passes; older runs did not record it
    values: dict[str, float] = {}  # metrics that the counts above do not give


class EpochDone(Event, frozen=True, tag=True):
    """A whole epoch was taken; a part of one at a run's end is none."""

    epoch: int
    step: int
    seconds: float  # of training: pauses and evaluations left out


class CheckpointSaved(Event, frozen=True, tag=True):
    step: int
    path: str  # relative to the run directory
    seconds: float
    best: bool = False


class CheckpointChosen(Event, frozen=True, tag=True):
    """Which checkpoint is kept as of an evaluation, and the best one by the metric alone (V11).

    They differ where the metric cannot distinguish them and the one kept has a lower loss.
    """

    at: int  # step of the evaluation
    metric: str
    step: int  # of the checkpoint that is kept
    value: float
    loss: float
    top_step: int
    top_value: float
    top_loss: float
    p: float | None = None  # of the paired difference between the two; absent where they are one


class TrainingEnded(Event, frozen=True, tag=True):
    """Why the loop ended: "completed", "early stopping", "stopped", and which step is kept."""

    reason: str
    step: int
    best_step: int


class Paused(Event, frozen=True, tag=True):
    step: int


class Resumed(Event, frozen=True, tag=True):
    step: int


class SystemSampled(Event, frozen=True, tag=True):
    memory: int  # bytes resident in the worker
    cpu: float  # cores in use
    peak_memory: int = -1  # the highest of the looks since the last sample
    device_memory: int = -1
    device_total: int = -1
    device_use: float = -1.0  # share


class PromptAnswered(Event, frozen=True, tag=True):
    """A prompt of the config (`probe`) or of a person, answered by base and tuned."""

    prompt: str
    step: int
    probe: bool = False
    base: str = ""
    tuned: str = ""
    base_probabilities: dict[str, float] = {}
    tuned_probabilities: dict[str, float] = {}
    base_name: str = "base"
    thresholds: dict[str, dict[str, float]] = {}  # by model: each label is a yes or no of its own


class TextScored(Event, frozen=True, tag=True):
    """Log-likelihood of a held-out text under a model; in windows where it is long."""

    source: str  # "held_out:0", "general_text"
    model: Model
    tokens: int
    bytes: int
    log_likelihood: float
    prefix: str
    window: int
    stride: int


class PredictionsStored(Event, frozen=True, tag=True):
    """A file of scored rows as it was written: a row that is changed later is seen by this."""

    split: str
    model: Model
    path: str  # relative to the run directory
    rows: int
    sha256: str


class ResultsComputed(Event, frozen=True, tag=True):
    """Final metrics of a model on a split, as in report.json."""

    split: str
    model: Model
    result: ModelResult


class ComparisonsComputed(Event, frozen=True, tag=True):
    """Paired differences between models on the same rows."""

    comparisons: list[Comparison]


class AnalysisComputed(Event, frozen=True, tag=True):
    """What the rows of a split say beyond the metrics: `name` says which struct `result` is."""

    split: str
    name: str  # "calibration", "slices", ...
    model: Model = ""
    result: Record = msgspec.field(default_factory=Record)


class _AnalysisLine(Event, frozen=True, tag="AnalysisComputed"):
    """The same as it stands in a file: its name decides how the rest is decoded."""

    split: str
    name: str
    model: Model = ""
    result: msgspec.Raw = msgspec.Raw(b"{}")


class Note(Event, frozen=True, tag=True):
    level: str  # "info", "warning", "error"
    text: str


class RunFinished(Event, frozen=True, tag=True):
    """The end: "finished", "stopped" or "failed"; `exit_code` is what a command returns for it."""

    status: str
    error: str = ""
    exit_code: int = 0


AnyEvent = (
    RunStarted
    | DeviceFound
    | StageStarted
    | StageDone
    | Progress
    | ModelLoaded
    | SplitPrepared
    | ColumnsFound
    | LabelsFixed
    | LeakageFound
    | ModelsCompared
    | TrainingPlanned
    | StepDone
    | ScalarsLogged
    | Evaluated
    | EpochDone
    | CheckpointSaved
    | CheckpointChosen
    | TrainingEnded
    | Paused
    | Resumed
    | SystemSampled
    | PromptAnswered
    | TextScored
    | PredictionsStored
    | ResultsComputed
    | ComparisonsComputed
    | AnalysisComputed
    | Note
    | RunFinished
)
# As lines are decoded: the result of an analysis in a second go.
_KINDS = [_AnalysisLine if kind is AnalysisComputed else kind for kind in get_args(AnyEvent)]

_NAMES = frozenset(kind.__name__ for kind in get_args(AnyEvent))

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    reduce(or_, _KINDS),
    strict=False,  # lax: "NaN" is a float
)
_results = {name: msgspec.json.Decoder(struct, strict=False) for name, struct in ANALYSES.items()}


def encode_event(event: Event) -> bytes:
    """One line of JSON with its newline."""
    line = _encoder.encode(event)
    if b"null" in line:  # msgspec writes NaN so; None is left out as a default
        line = _encoder.encode(spell_numbers(event))
    return line + b"\n"


def encode_events(events: Sequence[Event]) -> bytes:
    """The same of many at once, which takes half the time."""
    lines = _encoder.encode_lines(events)
    return b"".join(map(encode_event, events)) if b"null" in lines else lines


def spell_numbers(value: object) -> Any:
    """The value as JSON holds it: structs as objects, NaN and infinities as strings."""
    return _spelled(msgspec.to_builtins(value))


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {k: _spelled(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(v) for v in value]
    return value


def decode_event(line: bytes) -> AnyEvent | None:
    """The event of a line; None for kinds that this version does not know and for damaged lines."""
    try:
        event: AnyEvent = _whole(_decoder.decode(line))
    except BROKEN:
        return None
    return event


def why_unreadable(line: bytes) -> str:
    """What is wrong with a whole line of a kind that this version knows; empty for all others:
    lines that are torn, and what a later version wrote."""
    try:
        _whole(_decoder.decode(line))
    except BROKEN as error:
        try:
            found = msgspec.json.decode(line)
            is_known = found["kind"] in _NAMES and found.get("name", "draws") in ANALYSES
        except (*BROKEN, LookupError, TypeError, AttributeError):
            return ""
        return str(error) if is_known else ""
    return ""


def decode_events(lines: bytes) -> tuple[list[AnyEvent], int]:
    """The events of whole lines, and how many lines are not events that this version knows.

    All at once where every line is one, which takes a third of the time.
    """
    try:
        events = _decoder.decode_lines(lines)
        if b"AnalysisComputed" in lines:
            events = [_whole(event) for event in events]
    except BROKEN:
        events = []
    if len(events) == lines.count(b"\n"):
        return events, 0
    found = [decode_event(line) for line in lines.split(b"\n") if line.strip()]
    events = [event for event in found if event is not None]
    return events, len(found) - len(events)


def _whole(event: Any) -> Any:
    """The event of a decoded line. Raises DecodeError where an analysis is unknown or damaged."""
    if type(event) is not _AnalysisLine:
        return event
    decoder = _results.get(event.name)
    if decoder is None:
        raise msgspec.ValidationError(f"there is no analysis {event.name!r}")
    result = decoder.decode(event.result)
    return AnalysisComputed(
        time=event.time, split=event.split, name=event.name, model=event.model, result=result
    )


class EventWriter:
    """Appends events to a file, each flushed, so that a reader and a crash lose nothing."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)
        if self._ends_mid_line(path):
            self._file.write(b"\n")  # a worker died while writing: close its line

    @staticmethod
    def _ends_mid_line(path: Path) -> bool:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def write(self, *events: Event) -> None:
        """Stamp and append events; one system call however many they are."""
        self.append(self.lines(*events))

    def lines(self, *events: Event) -> bytes:
        """Events as they will stand in the file; those without a time have the present one."""
        now = time.time()
        return b"".join(
            encode_event(e if e.time else msgspec.structs.replace(e, time=now)) for e in events
        )

    def append(self, lines: bytes) -> None:
        """Whole lines. Raises OSError where the disk takes no more."""
        left = memoryview(lines)
        while left:  # a disk that runs full takes a part and refuses the rest
            left = left[self._file.write(left) :]

    def close(self) -> None:
        self._file.close()


class EventReader:
    """Reads what is new in an events file, a bounded amount a go. The file may be in motion."""

    def __init__(self, path: Path, chunk: int = 4 << 20) -> None:
        self.path, self.offset, self.unreadable = path, 0, 0
        self._chunk = chunk
        self._partial = b""

    def read(self) -> list[AnyEvent]:
        """The next events, at most a chunk of bytes; an empty list when there is nothing new.

        Raises RunError where the file is there and cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                block = file.read(self._chunk)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(
                Fault(str(self.path), f"cannot be read: {error.strerror}", "See to its permissions")
            ) from None
        self.offset += len(block)
        whole = self._partial + block
        end = whole.rfind(b"\n") + 1
        self._partial = whole[end:]
        events, unreadable = decode_events(whole[:end])
        self.unreadable += unreadable
        return events

    def read_all(self) -> Iterator[AnyEvent]:
        """Everything up to the present end of the file."""
        while True:
            before = self.offset
            yield from self.read()
            if self.offset == before:
                return
