"""What a model can be fine-tuned to do: one file a task, one object in it.

Everything that differs between tasks is an attribute or a method of its object. The rest of ftev
asks the object ("does it have labels?") and never which task it is. A file in this folder that
defines `TASK` is a task; `engine/scoring/` holds how its rows become scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ..metrics.metric import METRICS, metrics_of

if TYPE_CHECKING:
    import polars as pl

    from ..metrics.results import Comparison, ModelResult


Labels = Sequence[str]

_LOAD_MODEL = """\
from transformers import AutoTokenizer, {auto}

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto}.from_pretrained(folder, dtype="float32")
"""
# Not by peft's own auto classes: for tokens without an embedding they add rows to the base, and
# every probability is another one.
_LOAD_ADAPTER = """\
from peft import PeftConfig, PeftModel
from transformers import AutoTokenizer, {auto}

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
adapter = PeftConfig.from_pretrained(folder)
base = {auto}.from_pretrained(
    adapter.base_model_name_or_path, revision=adapter.revision, dtype="float32"
)
model = PeftModel.from_pretrained(base, folder)
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task. Subclasses fill in the fields and say how stored predictions are measured."""

    name: str = ""  # as `task = ...` names it in run.toml
    does: str = ""  # completes "The model is to ..."
    model_kind: str = "model"
    hub_type: str = ""  # "task type" of a model card on the Hugging Face hub
    auto_class: str = "AutoModel"  # of transformers
    adapter_type: str = ""  # peft's `task_type`
    problem_type: str = ""  # of transformers' configurations; "" leaves it to them
    architectures: tuple[str, ...] = ()  # parts of names in a config that speak for this task

    within: str = ""  # the task of run.toml that rows of these forms make this one; "" is its own
    has_labels: bool = False  # a row's truth is one of an explicit list of labels
    gives_sets: bool = False  # a row's truth is any number of labels of such a list
    has_head: bool = False  # a row is read as a whole, and answered by the outputs of a head
    probed: bool = False  # a linear layer on the frozen base can be fitted to it
    numbers: bool = False  # the outputs of its head are numbers of the data
    writes: bool = False  # reads and writes text, token by token
    guessable: bool = True  # there is a value that guessing at random has
    learns: bool = True  # ftev can train on such rows
    answers: bool = False  # its evaluation has the models write answers to held-out prompts
    forms: tuple[str, ...] = ()  # of examples, as `core.data.columns` finds them
    settings: tuple[str, ...] = ()  # those that mean something for this task alone
    stored: dict[str, str] = field(default_factory=dict)  # columns of its predictions, and types
    truth: str = "row_id"  # the stored column by which two runs are seen to share their truth

    measures: str = ""  # its metrics are those of this name, and those of every task
    default_metric: str = "loss"
    accuracy: str = "accuracy"  # the metric that an evaluation during training counts
    accuracy_title: str = "accuracy"
    accuracy_heading: str = "accuracy"  # of a narrow column
    loss_unit: str = "row"  # the loss is a mean over these
    chance: tuple[str, float] | None = None  # a metric, and its value for who knows nothing
    guesses: str = "labels"  # what random guessing draws from
    guess_formula: str = "ln of the labels"

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that this task has, in the order of the table."""
        return metrics_of(self.measures)

    def guessing_loss(self, labels: int, vocabulary: int) -> float | None:
        """Loss of random guessing, in nats; None where the number of choices is unknown (L7)."""
        return None

    def chance_of(self, positive: str | None) -> tuple[str, float] | None:
        """The metric that shows a model better than guessing, and what guessing has of it."""
        return self.chance

    def positive_of(
        self, asked: str | None, labels: Labels, counts: Mapping[str, int]
    ) -> str | None:
        """The positive label, where there is one. `counts`: rows of each label."""
        return asked

    def evaluate(
        self,
        frame: pl.DataFrame,
        labels: Labels,
        positive: str | None,
        draws: int | None = None,
    ) -> ModelResult:
        """Metrics with intervals from stored predictions. `draws`: of the bootstrap, where they are
        not as many as usual. Raises DataError.
        """
        raise NotImplementedError

    def compare(
        self,
        split: str,
        before: tuple[str, pl.DataFrame],
        after: tuple[str, pl.DataFrame],
        labels: Labels,
        positive: str | None,
        metrics: Sequence[str] | None = None,
    ) -> list[Comparison]:
        """Paired differences from one model's stored predictions to another's. Raises DataError."""
        from ..metrics.comparisons import compare

        known = labels if self.has_labels else None
        return compare(split, *before, *after, known, positive, metrics)

    def loading_code(self, folder: str, *, adapter: bool) -> str:
        """Python that leaves `model` and `tokenizer`: printed on the model card, and run by deploy
        parity as it stands.

        Public calls of transformers and peft alone. The weights are asked for in float32, in which
        they were trained and scored; an adapter's base would else come in its stored type.
        """
        template = _LOAD_ADAPTER if adapter else _LOAD_MODEL
        return template.format(auto=self.auto_class, folder=json.dumps(folder))


def _load() -> dict[str, Task]:
    modules = (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__))
    tasks = [module.TASK for module in modules if hasattr(module, "TASK")]
    return {task.name: task for task in tasks}


TASKS = _load()
NAMES = tuple(name for name, task in TASKS.items() if not task.within)  # as run.toml has them
_UNKNOWN = Task()


def metrics_within(name: str) -> list[str]:
    """The metrics of what run.toml calls so, whatever form its rows turn out to have."""
    tasks = (t for t in TASKS.values() if name in (t.name, t.within))
    found = {metric for task in tasks for metric in task.metrics}
    return [m for m in METRICS if m in (found or _UNKNOWN.metrics)]


def find_task(name: str, form: str = "") -> Task:
    """The task of a name; one without labels or metrics of its own where the name is unknown.

    A run has no task before its first event, and may be of a newer version. `form`: of the
    examples, where it is known: of rows with several labels each, classification is another task.
    """
    special = (t for t in TASKS.values() if t.within == name and form in t.forms)
    return next(special, TASKS.get(name, _UNKNOWN))
