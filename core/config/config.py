"""RunConfig: everything a run was asked to do.

One field for each setting: its rule, its default, its unit and one sentence beneath it. The check,
the form, `--set` and docs/settings.md all come from these classes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..errors import ConfigError, Fault
from ..metrics.metric import needs_answers
from ..tasks import NAMES, Task, find_task
from .fields import Amount, Bounds, Count, CountOrNone, NoneOrMore, Positive, Rule, Share
from .objective import CostConfig as CostConfig  # the sections are one module to whoever reads them
from .objective import GuardrailConfig as GuardrailConfig
from .objective import ObjectiveConfig as ObjectiveConfig
from .objective import metric_faults

# A data format is a file of this folder. Its name is read and no more: to import it brings Polars.
_FORMATS = Path(__file__).parents[1] / "data" / "formats"

if TYPE_CHECKING:
    TaskName = str
    DataFormat = str
else:
    TaskName = Literal[NAMES]
    DataFormat = Literal[("auto", *sorted(p.stem for p in _FORMATS.glob("[!_]*.py")))]

Columns = str | None
_SPLITS = ("train", "validation", "test")
_ROLES = ("text", "text_pair", "label", "prompt", "completion", "messages", "group")


def _of_base(name: str) -> str:
    return "" if name.strip() else "is empty"


def _of_labels(labels: Sequence[str] | None) -> str:
    few = labels is not None and len(set(labels)) < 2
    return "needs at least two different labels" if few else ""


def _of_encoding(name: str) -> str:
    try:
        b"a".decode(name if name != "auto" else "utf-8", errors="replace")
    except (LookupError, ValueError):
        return f"there is no text encoding {name!r}"
    return ""


def _of_separator(text: str) -> str:
    possible = text == "auto" or (len(text) == 1 and text not in '"\r\n' and text <= "~")
    return "" if possible else f"{text!r} cannot stand between columns"


def _of_weights(weights: str | Mapping[str, float] | None) -> str:
    if not isinstance(weights, Mapping):
        return ""
    wrong = [name for name, weight in weights.items() if not 0 < weight < math.inf]
    return f"of {wrong[0]!r} is no positive number" if wrong else ""


def _of_best_metric(name: str | None) -> str:
    at_end = needs_answers(name)
    return "is measured at the end only, when both models answer" if at_end else ""


def _of_slices(names: Sequence[str]) -> str:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    return "" if twice is None else f"names {twice!r} twice"


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    r: Count = 8
    """Rank of the low-rank update."""
    alpha: Count = 16
    """Scale of the update: it is multiplied by alpha / r."""
    dropout: Share = 0.0
    """Share of adapter inputs dropped in training."""
    target_modules: list[str] | Literal["auto", "all-linear"] = "auto"
    """Names of the layers that get an adapter; "auto" takes what peft knows for the model."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    base: Annotated[str, Rule(_of_base, "Write [model] base = a hub id or a local folder")]
    """Hub id or local folder of the base model (safetensors only; remote code never runs)."""
    tuned: str | None = None
    """For `eval`: an existing tuned model or adapter to set against the base."""
    adapter: Literal["none", "lora"] = "none"
    """"none" trains every weight; "lora" trains a low-rank adapter."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Settings of the adapter."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    max_length: Annotated[int | None, Bounds(at_least=2)] = None
    """Maximum tokens per row, longer rows are truncated; default: the model's own, up to 512."""
    chat_template: str | None = None
    """File with a chat template (Jinja), used and saved in place of the tokenizer's."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic in training; "auto" is bfloat16 autocast where the device is fast at it."""
    saved_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the saved weights, rounded before they are evaluated; "auto" is that of the base."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    train: str | list[str] | None = None
    """File, glob or hub dataset to learn from; `format` lists what can be read."""
    validation: Annotated[str | float | None, Bounds(at_least=0, below=1)] = 0.1
    """File, or share of train to split off, to choose checkpoints and stop early; 0 for none."""
    test: Annotated[str | float | None, Bounds(at_least=0, below=1)] = None
    """File, or share of train to split off; read once, at the end."""
    text: Columns = None
    """Column with the input text, or several in a template: "{title}\\n{body}"."""
    text_pair: Columns = None
    """Column with the second text, where two are compared (classification)."""
    label: str | list[str] | None = None
    """Column with the label, or with lists of them; or several of 0 and 1 (classification)."""
    prompt: Columns = None
    """Column with the prompt, or several in a template (generation)."""
    completion: Columns = None
    """Column with the completion (generation)."""
    messages: Columns = None
    """Column with chat messages, a list of {role, content} (generation)."""
    system: str | None = None
    """System message put before every chat that has none (generation)."""
    turns: Literal["together", "separate"] = "together"
    """"separate" makes a row of each answer of a chat; what came before is its context."""
    group: Columns = None
    """Column whose equal values must stay on one side of a split (a customer, a document)."""
    columns: dict[str, dict[str, str]] | None = None
    """Columns that a split calls otherwise: { test = { text = "content" } }."""
    format: DataFormat = "auto"
    """Format of the files; "auto" goes by the ending, else by the contents."""
    header: bool | Literal["auto"] = "auto"
    """Whether the first line of a csv or tsv file names the columns."""
    encoding: Annotated[
        str,
        Rule(
            _of_encoding,
            'Write "auto", "utf-8", "utf-16", "windows-1252" or another that Python knows',
        ),
    ] = "auto"
    """Encoding of text files, such as utf-8, utf-16 or windows-1252; "auto" takes UTF-8 only."""
    separator: Annotated[str, Rule(_of_separator, 'Write "auto" or one character, such as ";"')] = (
        "auto"
    )
    """Character between the columns of a csv file; "auto" goes by its line `sep=` or contents."""
    label_separator: str | None = None
    """Sign between the labels of a row in a text column, such as ","; "none": each has one."""
    labels: Annotated[list[str] | None, Rule(_of_labels)] = None
    """The labels in their order; default: those of train, sorted."""
    label_names: str | list[str] | dict[str, str] | None = None
    """Names of labels that are numbers: in order, { 0 = "no" }, or a JSON file of either."""
    label_map: dict[str, str] | None = None
    """What a model's labels are called in the data: { LABEL_0 = "negative" }; the others as is."""
    bad_rows: Literal["stop", "skip"] = "stop"
    """"stop" lists every bad row and starts nothing; "skip" leaves them out and counts them."""
    near_duplicates: bool = True
    """Whether leakage is also looked for among near-duplicates (slower)."""

    def faults(self, *, trains: bool) -> Iterator[Fault]:
        """Files that must be given, and shares that leave nothing."""
        if trains and not self.train:
            yield _missing("data.train", "Name the file to learn from")
        elif not trains and not (self.test or self.train):
            yield _missing("data.test", "Name the file to evaluate on")
        elif sum(s for s in (self.validation, self.test) if isinstance(s, float)) >= 1:
            what = "the shares of validation and test leave nothing to learn from"
            yield Fault.of("data.validation", what)
        yield from self._faults_of_columns()

    def _faults_of_columns(self) -> Iterator[Fault]:
        """Splits and roles that `columns` names and that there are not."""
        for split, names in (self.columns or {}).items():
            known = _ROLES if split in _SPLITS else _SPLITS
            for name in set(names) - set(_ROLES) if known is _ROLES else [split]:
                where = (
                    f"data.columns.{split}.{name}" if known is _ROLES else f"data.columns.{name}"
                )
                what = f"there is no {'role' if known is _ROLES else 'split'} of this name"
                yield Fault.of(where, what, f"Write one of {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    patience: Count = 3
    """Evaluations without a gain before training stops."""
    min_delta: Amount = 0.0
    """The reference moves only when the gain exceeds this (in the metric's unit)."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    epochs: Positive = 3.0
    """Passes over train."""
    max_steps: CountOrNone = None
    """Optimizer steps at most; fewer than `epochs` end the run and its schedule earlier."""
    learning_rate: Positive = 5e-5
    """Peak learning rate of AdamW."""
    batch_size: Count = 32
    """Examples per optimizer step, across all devices."""
    batch_tokens: CountOrNone = None
    """Tokens per optimizer step, approximately, without padding; replaces batch_size."""
    gradient_accumulation_steps: Count = 1
    """Parts a step is computed in: less memory, the same result."""
    warmup_ratio: Share = 0.06
    """Share of the steps over which the learning rate rises from zero."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    weight_decay: Amount = 0.01
    """Decoupled weight decay; biases and norms are spared."""
    max_grad_norm: Amount = 1.0
    """Gradients are scaled down to this norm; 0 turns clipping off."""
    eval_every: Annotated[float | int, Bounds(above=0)] = 1.0
    """Validation every so many epochs (a float) or steps (an integer); also at each epoch's end."""
    early_stopping: EarlyStopping | None = None
    """Stop when validation no longer improves."""
    best_metric: Annotated[str | None, Rule(_of_best_metric, "Choose by loss")] = None
    """Validation metric that chooses the checkpoint; default: the objective's, else loss."""
    keep_checkpoints: Count = 2
    """Checkpoints kept beside the best one."""
    class_weights: Annotated[
        Literal["balanced"] | dict[str, float] | None,
        Rule(_of_weights, 'Write "balanced", or { label = 20 }'),
    ] = None
    """Weight of each label in the training loss; "balanced": as if all were equally frequent."""
    head: Literal["random", "probe"] = "random"
    """What a new head starts from: random weights, or a linear probe of the base."""
    seed: Annotated[int, Bounds(at_least=0, at_most=2**32 - 1)] = 42
    """Seed of splits, order, initialisation and dropout."""
    devices: Annotated[
        int | Literal["auto", "cpu"], Bounds(at_least=1, remedy='Write a number, "auto" or "cpu"')
    ] = "auto"
    """One process per device: GPUs, else the CPU; "auto" is every GPU, else one process."""
    sharding: Literal["none", "full"] = "none"
    """Over several devices: "full" shards weights, gradients and optimizer state."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    prompts: list[str] = field(default_factory=list)
    """Prompts re-run at each evaluation, base and tuned."""
    max_new_tokens: Count = 48
    """Length of an answer to such a prompt, in tokens."""
    completions: NoneOrMore = 200
    """Test rows whose prompts base and tuned answer at the end, drawn by seed; 0 for none."""
    completion_tokens: Count = 256
    """Tokens of such an answer at most; fewer where one and a half of the longest reference do."""
    turns: Literal["last", "all"] = "last"
    """Answers of a chat that both models write: the last, or each, after those of the data."""
    zero_shot: bool | Literal["auto"] = "auto"
    """Whether a base that is a language model labels untrained; "auto" up to a million tokens."""
    general_text: str | None = None
    """Neutral text file: has the model forgotten what it knew?"""
    held_out: list[str] = field(default_factory=list)
    """Texts whose average log-likelihood is reported for base and tuned."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic in evaluation; the log-softmax is float32 and sums are float64 in either case."""
    batch_tokens: Count = 8192
    """Tokens in a forward pass of evaluation, padding counted; on a CPU scoring takes 512."""
    probe: bool = True
    """Whether a linear probe on the frozen base is fitted as a baseline (classification)."""
    test: bool = True
    """Whether test is read at the end; false holds its rows back, as the runs of a sweep do."""
    slices: Annotated[list[str], Rule(_of_slices)] = field(default_factory=list)
    """Columns whose values split the evaluated rows: each slice gets its own figures."""
    self_test_rows: NoneOrMore = 32
    """Rows scored again in other batches; down to 8, to cost 5 % of training at most; 0: none."""
    parity_rows: NoneOrMore = 32
    """Rows scored again with the saved (and the merged) weights, at most, as above; 0 for none."""
    serve_minutes: Amount = 30.0
    """How long the worker answers prompts after the run before it frees the device."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    task: Annotated[
        TaskName, Rule(lambda _: "", "Write " + " or ".join(f'task = "{name}"' for name in NAMES))
    ]
    """What the model does: choose a label, or write text."""
    name: str = ""
    """Name of the run; default: base model and training file."""
    model: ModelConfig
    """Which model."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which rows."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How it learns."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """What counts as good enough."""
    guardrail: list[GuardrailConfig] = field(default_factory=list)
    """What must also hold: a table each, by metric and by rows."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    """How it is judged."""
    folder: str = "."
    """Folder that relative paths start from; written by ftev."""

    @property
    def task_type(self) -> Task:
        return find_task(self.task)

    def for_form(self, form: str) -> RunConfig:
        """The same where the task is that of the examples' form."""
        return replace(self, task=find_task(self.task, form).name)

    @property
    def trains(self) -> bool:
        return self.model.tuned is None

    @property
    def separated(self) -> dict[str, str]:
        """Splits in which each answer of a chat is a row, with the setting that says so."""
        if self.data.turns == "separate":
            return dict.fromkeys(("train", "validation", "test"), "data.turns")
        judged = ("validation", "test") if self.evaluate.turns == "all" else ()
        return dict.fromkeys(judged, "evaluate.turns")

    @property
    def sliced_columns(self) -> dict[str, str]:
        """Columns whose values split some figures, each with the setting that names it.

        Each must stand in the judged rows.
        """
        named = dict.fromkeys(self.evaluate.slices, "evaluate.slices")
        return named | {n: "guardrail" for g in self.guardrail for n in g.slice if n not in named}

    def faults(self) -> Iterator[Fault]:
        """Settings of which each is possible, and which cannot be meant together."""
        yield from self.data.faults(trains=self.trains)
        if not self.evaluate.test and not (self.data.train and self.data.validation):
            what = "is false, and there is no validation: nothing would be evaluated"
            yield Fault.of("evaluate.test", what)
        yield from metric_faults("train.best_metric", self.train.best_metric, self.task)
        yield from self.objective.faults(self.task)
        yield from self._faults_of_heads()
        sets = isinstance(self.data.label, list) or self.objective.positive is not None
        if self.task_type.has_labels and not sets and len(labels := self.data.labels or ()) > 2:
            yield from self.objective.threshold_faults(labels)
        for i, guardrail in enumerate(self.guardrail):
            yield from guardrail.faults(f"guardrail[{i}]", self.task)
        if not self.evaluate.completions:
            yield from self._answers_missing()

    def _faults_of_heads(self) -> Iterator[Fault]:
        """What only a head has: weights of labels, a start from a probe."""
        task = self.task_type
        if self.train.class_weights is not None and (not task.has_head or task.numbers):
            yield Fault.of("train.class_weights", f"is for tasks with labels; this is {task.name}")
        if self.train.head == "probe" and not task.has_head:
            yield Fault.of("train.head", f"is for tasks with a head; this is {task.name}")
        if self.train.head == "probe" and self.train.sharding == "full":
            what = "starts from a probe on one device, which sharded weights are not on"
            yield Fault.of("train.head", what, 'Write sharding = "none"')

    def _answers_missing(self) -> Iterator[Fault]:
        asking = {"the objective": self.objective.metric}
        asking |= {f"guardrail[{i}]": g.metric for i, g in enumerate(self.guardrail)}
        for who, metric in asking.items():
            if needs_answers(metric):
                what = f"is 0, and {who} is {metric}, which needs answers"
                yield Fault.of("evaluate.completions", what)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise ConfigError, with every fault, where objective or guardrails do not fit labels."""
        if not self.task_type.has_head or not labels:
            return
        task = self.task_type
        faults = [*self.objective.label_faults(labels, task), *self._weight_faults(labels)]
        for i, guardrail in enumerate(self.guardrail):
            faults += guardrail.label_faults(f"guardrail[{i}]", labels, task)
        if faults:
            raise ConfigError(*faults)

    def _weight_faults(self, labels: Sequence[str]) -> Iterator[Fault]:
        weights = self.train.class_weights
        for name in weights if isinstance(weights, dict) else ():
            if name not in labels:
                close = difflib.get_close_matches(name, labels, 1)
                listed = "Labels: " + ", ".join(labels[:20])
                remedy = f'Did you mean "{close[0]}"?' if close else listed
                yield Fault.of(f"train.class_weights.{name}", "there is no such label", remedy)


def _missing(setting: str, remedy: str) -> Fault:
    return Fault(setting, "must be given", remedy, setting, missing=True)


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The config as nested tables without the settings that are None (TOML has no null).

    No validation is written as a share of 0: left out, it would come back as the default share.
    """

    def without_none(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            return [without_none(v) for v in value]
        return value

    result: dict[str, Any] = without_none(asdict(config))
    result["data"].setdefault("validation", 0)
    return result
