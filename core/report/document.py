"""The document `ftev.report/1` by its parts, as report.json holds them.

Results, comparisons and analyses are the structs of the run's events; the other parts are plain.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict, cast

from ..judgement.observations import Kept
from ..judgement.verdict import VerdictPart
from ..metrics.results import Comparison, ModelResult, Record

LEAKAGE = "leakage"  # stands among the splits of `data`


class DevicePart(TypedDict):
    device: str
    name: str
    precision: str
    threads: int
    devices: NotRequired[int]  # where there are several


class ModelPart(TypedDict):
    """The base model as it was loaded."""

    name: str
    architecture: str
    parameters: int
    trainable: int
    max_length: int  # tokens
    prefix: str
    new_head: bool
    local: NotRequired[bool]
    replaced_labels: NotRequired[list[str]]


class RunPart(TypedDict):
    id: str
    name: str
    task: str
    status: str
    created: str | None
    finished: str | None
    ftev_version: str | None
    packages: dict[str, str]
    device: DevicePart | None
    config_sha256: str | None
    base: str | None
    tuned: str | None  # given, and not trained here
    adapter: str | None
    seed: int | None
    steps: int
    max_steps: int
    best_step: int | None
    training_seconds: float
    ended: str | None  # why training ended
    error: str | None
    unreadable_lines: int
    kept: NotRequired[Kept]
    form: NotRequired[str]
    model: NotRequired[ModelPart]
    origin: NotRequired[str]  # who trained it, where ftev did not: "transformers", "wandb", …


class SplitPart(TypedDict):
    """A split as it was used; counts that are 0 are absent."""

    rows: int
    columns: int
    sha256: str
    labels: dict[str, int]
    source: str
    tokens: NotRequired[int]
    scored_tokens: NotRequired[int]
    masked_tokens: NotRequired[int]
    truncated_rows: NotRequired[int]
    truncated_tokens: NotRequired[int]
    unscored_rows: NotRequired[int]
    skipped_rows: NotRequired[int]
    rows_without_eos: NotRequired[int]
    distinct_rows: NotRequired[int]
    line_offset: NotRequired[int]


class LeakagePart(TypedDict):
    exact: int
    near: int
    ngram: int
    conflicting_labels: int
    leaked: dict[str, int]
    splits: list[str]
    pairs: list[list[Any]]  # split, row, split, row, layer, similarity
    pairs_found: int
    groups: dict[str, int]
    group_rows: dict[str, int]
    same: list[list[str]]
    note: str


class StagePart(TypedDict):
    name: str
    seconds: float
    rows_in: int
    columns_in: int
    rows_out: int
    columns_out: int
    note: str


class EpochPart(TypedDict):
    epoch: int
    step: int
    train_loss: float
    validation_loss: NotRequired[float]
    validation_accuracy: NotRequired[float]
    accuracy_change: NotRequired[float]
    seconds: float
    observation: str


class TextPart(TypedDict):
    """A held-out text under one model."""

    source: str
    model: str
    scored_tokens: int
    bytes: int
    total_log_likelihood: float
    average_log_likelihood: float
    bits_per_byte: float
    prefix: str
    window: int
    stride: int


class AnswerPart(TypedDict, total=False):
    """A prompt of the configuration with its last answers, or a classifier's probabilities."""

    prompt: str
    step: int
    base: str
    tuned: str
    base_probabilities: dict[str, float]
    tuned_probabilities: dict[str, float]
    base_name: str
    thresholds: dict[str, dict[str, float]]


class FindingPart(TypedDict):
    code: str
    severity: str
    message: str
    evidence: dict[str, Any]
    rows: list[tuple[str, int]]
    remedy: str
    counted: NotRequired[dict[str, int]]


class NotePart(TypedDict):
    level: str
    text: str


class ProgressPart(TypedDict):
    judged: int
    waiting: int


class SharePart(TypedDict):
    """A share with its interval; NaN of nothing."""

    value: float
    low: float
    high: float
    n: float  # half a win counts too
    method: str


class SidesPart(SharePart):
    """The share of choices that fell on the left."""

    left: int
    right: int
    p: float


class RatedPart(TypedDict):
    """A criterion, 1 to 5: means over the pairs, and their paired difference."""

    n: int
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    p: float
    method: str


class AgreementPart(SharePart):
    reviewers: list[str]
    same: int
    kappa: float


class ReviewsPart(TypedDict, total=False):
    """What people judged blind: its first three until every pair is judged, or an error alone."""

    pairs: int
    reviewers: dict[str, ProgressPart]
    complete: bool
    error: str
    identical: int
    outdated: int
    skipped: int
    decided: int
    wins: dict[str, int]
    win_rate: SharePart
    win_rate_ties_half: SharePart
    sign_test_p: float
    position: SidesPart
    ratings: dict[str, RatedPart]
    by_reviewer: dict[str, dict[str, int]]
    agreement: list[AgreementPart]


# The keys of the headline are those of report.json, of which one is a word of Python.
HeadlinePart = TypedDict(
    "HeadlinePart",
    {
        "metric": str,
        "split": str,
        "from": float | None,
        "from_model": str | None,
        "to": float,
        "to_on_clean_rows": float | None,
        "text": str,
        "step": NotRequired[int],
    },
)


class Report(TypedDict):
    schema: str
    written_by: str
    run: RunPart
    data: dict[str, SplitPart | LeakagePart]
    stages: list[StagePart]
    epochs: list[EpochPart]
    series: dict[str, dict[str, list[float]]]  # name -> "step" and "value"
    references: dict[str, float]
    headline: HeadlinePart | None
    results: dict[str, dict[str, ModelResult]]  # by split and model
    comparisons: list[Comparison]
    analyses: dict[str, dict[str, dict[str, Record]]]  # by split, name and model
    texts: list[TextPart]
    answers: list[AnswerPart]
    findings: list[FindingPart]
    notes: list[NotePart]
    reviews: NotRequired[ReviewsPart]
    verdict: NotRequired[VerdictPart]


def splits_of(report: Report) -> dict[str, SplitPart]:
    """The splits of `data`, without the leakage between them."""
    return {n: cast("SplitPart", s) for n, s in report["data"].items() if n != LEAKAGE}


def leakage_of(report: Report) -> LeakagePart | None:
    return cast("LeakagePart | None", report["data"].get(LEAKAGE))


def result_of(report: Report, split: str, model: str = "tuned") -> ModelResult | None:
    """The final result of a model on a split; None where there is none."""
    return report["results"].get(split, {}).get(model)
