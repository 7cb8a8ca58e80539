"""RunConfig: everything a run was asked to do.

One field a setting: its default, its unit and one sentence beneath it. The check, the command
line's `--set`, the reference page and the form of the screen all come from these classes.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

Columns = str | None
MOST = 1e12  # of any number: what lies beyond is a slip, and too much for a float or an int64


@dataclass(frozen=True)
class Bounds:
    """What a number of a setting may be; NaN and infinities are refused in every case."""

    at_least: float = -MOST
    at_most: float = MOST
    above: float = -math.inf
    below: float = math.inf
    remedy: str = ""

    def fault(self, value: float) -> str:
        """What is wrong with a number; empty where nothing is."""
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be a number, not {value}"
        inside = self.at_least <= value <= self.at_most and self.above < value < self.below
        if value > self.at_most == MOST and max(self.above, self.at_least) > -MOST:
            return f"must be {self} and at most {MOST:,.10g}"  # an end that else goes unsaid
        return "" if inside else f"must be {self}"

    def __str__(self) -> str:
        """`at least 1`, `above 0 and at most 1`"""
        ends = (
            ("at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        )
        told = [f"{word} {end:,.10g}" for word, end in ends if abs(end) < MOST]
        return " and ".join(told) or f"between {-MOST:,.10g} and {MOST:,.10g}"


Count = Annotated[int, Bounds(at_least=1)]
CountOrNone = Annotated[int | None, Bounds(at_least=1)]
NoneOrMore = Annotated[int, Bounds(at_least=0, remedy="0 is none")]
Amount = Annotated[float, Bounds(at_least=0)]
Positive = Annotated[float, Bounds(above=0)]
Share = Annotated[float, Bounds(at_least=0, below=1)]
Target = Annotated[float | None, Bounds()]
Margin = Annotated[float | None, Bounds(above=0)]
TargetShare = Annotated[float | None, Bounds(above=0, at_most=1, remedy="0.9 means 90 %")]


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
    base: str
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
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic in training; "auto" is bfloat16 autocast where the device is fast at it."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    train: str | list[str] | None = None
    """File, glob or hub dataset to learn from: csv, tsv, jsonl, json, parquet or plain text."""
    validation: Annotated[str | float | None, Bounds(at_least=0, below=1)] = 0.1
    """File, or share of train to split off, to choose checkpoints and stop early; 0 for none."""
    test: Annotated[str | float | None, Bounds(at_least=0, below=1)] = None
    """File, or share of train to split off; read once, at the end."""
    text: Columns = None
    """Column with the input text; found by itself where names and contents leave no doubt."""
    label: Columns = None
    """Column with the label (classification)."""
    prompt: Columns = None
    """Column with the prompt (generation)."""
    completion: Columns = None
    """Column with the completion (generation)."""
    messages: Columns = None
    """Column with chat messages, a list of {role, content} (generation)."""
    group: Columns = None
    """Column whose equal values must stay on one side of a split (a customer, a document)."""
    format: Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "text"] = "auto"
    """Format of the files; "auto" goes by the ending, else by the contents."""
    header: bool | Literal["auto"] = "auto"
    """Whether the first line of a csv or tsv file names the columns."""
    encoding: str = "auto"
    """Encoding of text files, such as utf-8, utf-16 or windows-1252; "auto" takes UTF-8 only."""
    separator: str = "auto"
    """Character between the columns of a csv file; "auto" goes by its line `sep=` or contents."""
    labels: list[str] | None = None
    """The labels in their order; default: those of train, sorted."""
    label_map: dict[str, str] | None = None
    """What a model's labels are called in the data: { LABEL_0 = "negative" }; the others as is."""
    bad_rows: Literal["stop", "skip"] = "stop"
    """"stop" lists every bad row and starts nothing; "skip" leaves them out and counts them."""
    near_duplicates: bool = True
    """Whether leakage is also looked for among near-duplicates (slower)."""


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
    best_metric: str | None = None
    """Validation metric that chooses the checkpoint; default: the objective's, else loss."""
    keep_checkpoints: Count = 2
    """Checkpoints kept beside the best one."""
    seed: Annotated[int, Bounds(at_least=0, at_most=2**32 - 1)] = 42
    """Seed of splits, order, initialisation and dropout."""
    devices: Annotated[
        int | Literal["auto", "cpu"], Bounds(at_least=1, remedy='Write a number, "auto" or "cpu"')
    ] = "auto"
    """One process per device: GPUs, else the CPU; "auto" is every GPU, else one process."""
    sharding: Literal["none", "full"] = "none"
    """Over several devices: "full" shards weights, gradients and optimizer state."""


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    fp: Amount = 1.0
    """Price of a false positive: a row called positive that is not."""
    fn: Amount = 1.0
    """Price of a false negative: a positive row that is missed."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    metric: str | None = None
    """The one primary metric, declared before the run; default: macro_f1 or loss, by task."""
    positive: str | None = None
    """The positive class of a binary task; default: the rarer one."""
    at_least: Target = None
    """The metric must reach this for the model to ship."""
    at_most: Target = None
    """The same for metrics where less is better."""
    better_by: Margin = None
    """The least gain over the reference that is worth shipping, in the metric's unit."""
    no_worse_by: Margin = None
    """Or: shown to be no worse than the reference by more than this."""
    cost: CostConfig | None = None
    """Prices of wrong answers: the threshold with the least cost on validation is used."""
    recall_at_least: TargetShare = None
    """Share of the positive rows to be found: the most precise threshold that does so is used."""
    precision_at_least: TargetShare = None
    """Share of right rows among those called positive: the threshold that finds most is used."""


@dataclass(frozen=True, kw_only=True)
class GuardrailConfig:
    metric: str
    """What must hold for the model to ship, beside the objective."""
    slice: dict[str, str | int | float | bool] = field(default_factory=dict)
    """Columns and their values: only rows that have them count; default: every row."""
    positive: str | None = None
    """The class of precision, recall or F1; default: the positive one of the run."""
    no_worse_by: Margin = None
    """No worse than the reference by more than this, in the metric's unit."""
    at_least: Target = None
    """The metric must reach this on these rows."""
    at_most: Target = None
    """The same for metrics where less is better."""


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
    slices: list[str] = field(default_factory=list)
    """Columns whose values split the evaluated rows: each slice gets its own figures."""
    self_test_rows: NoneOrMore = 32
    """Rows of the final evaluation scored again in other batches and paddings; 0 for none."""
    parity_rows: NoneOrMore = 32
    """Rows scored again with the saved (and the merged) weights, to see what ships; 0 for none."""
    serve_minutes: Amount = 30.0
    """How long the worker answers prompts after the run before it frees the device."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    task: Literal["classification", "generation"]
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
    def is_classification(self) -> bool:
        return self.task == "classification"

    @property
    def trains(self) -> bool:
        return self.model.tuned is None


@dataclass(frozen=True)
class Setting:
    """One field of a config class, as the check, the form and the reference page see it."""

    path: str  # "train.learning_rate"
    type: Any
    default: Any  # MISSING where a value must be given
    sentence: str
    bounds: Bounds | None = None  # of a number

    @property
    def required(self) -> bool:
        return self.default is MISSING


@cache
def sentences_of(cls: type) -> dict[str, str]:
    """The string beneath each field of a class, read from its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[statement.target.id] = str(after.value.value)
    return found


@cache
def bounds_of(cls: type) -> dict[str, Bounds]:
    """The bounds of the numbers among a class's fields, by name."""
    hints = get_type_hints(cls, include_extras=True).items()
    annotated = [(n, hint.__metadata__) for n, hint in hints if get_origin(hint) is Annotated]
    return {n: b for n, known in annotated for b in known if isinstance(b, Bounds)}


def section_type(hint: Any) -> type | None:
    """The config class behind a field's type, if it is a table of settings."""
    if get_origin(hint) is list:
        return None
    return next((t for t in (hint, *get_args(hint)) if is_dataclass(t)), None)  # type: ignore[return-value]


def item_type(hint: Any) -> type | None:
    """The config class behind a field's type, if it is a list of such tables."""
    items = get_args(hint) if get_origin(hint) is list else ()
    return next((t for t in items if isinstance(t, type) and is_dataclass(t)), None)


def settings(cls: type = RunConfig, prefix: str = "") -> list[Setting]:
    """Every setting below a config class, sections opened, in the order of the source."""
    hints, out = get_type_hints(cls), []
    for f in fields(cls):
        if section := section_type(hints[f.name]):
            out += settings(section, f"{prefix}{f.name}.")
            continue
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        sentence, bounds = sentences_of(cls)[f.name], bounds_of(cls).get(f.name)
        out.append(Setting(prefix + f.name, hints[f.name], default, sentence, bounds))
    return out


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
