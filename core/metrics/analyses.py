"""What the rows of a split say beyond the metrics: a struct an analysis, as events and report.json
hold them.

A field that is None or UNSET is absent there. Fields in the order in which they are written.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET, UnsetType, field

from .results import Comparison, Confusion, Estimate, LabelScores, Record

Value = TypeVar("Value")


def always(value: Value) -> Value:
    """A default for what older runs lack; it is written all the same, also where it is equal."""
    default: Value = field(default_factory=lambda: value)
    return default


class Change(Record, frozen=True):
    """A paired difference on the same rows, with its 95 % interval and two-sided p."""

    difference: float
    low: float
    high: float
    p: float
    method: str


class Share(Record, frozen=True):
    """Rows that are so, and their share with its 95 % interval."""

    count: int
    value: float
    low: float
    high: float
    method: str


class BeforeAfter(Record, frozen=True):
    before: float
    after: float


class NullEce(Record, frozen=True):
    """The ECE of a calibrated model: mean, 97.5 % quantile, p of the measured one."""

    value: float
    high: float
    p: float
    method: str


class Bin(Record, frozen=True):
    """The rows with a confidence from `low` to `high`: means, and the accuracy's 95 % interval."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


class FittedTemperature(Record, frozen=True):
    """softmax(log p ÷ `value`), fitted on validation and applied to this split."""

    value: float
    fitted_on: str
    rows: int  # that it was fitted on
    method: str
    ece: BeforeAfter
    ece_null: NullEce  # of the probabilities at this temperature
    loss: BeforeAfter
    loss_change: Change


class Calibration(Record, frozen=True, kw_only=True):
    """Of one classifier; without numbers where `why_not` says so."""

    n: int
    why_not: str | None = None
    null_caveat: str | None = None
    brier: Estimate | None = None
    loss: Estimate | None = None
    ece: Estimate | None = None
    ece_null: NullEce | None = None
    bins: list[Bin] | None = None  # that have rows
    no_temperature: str | None = None  # why none was fitted
    temperature: FittedTemperature | None = None


class ThresholdAim(Record, frozen=True):
    """What a threshold is chosen for: `f1`, `cost`, `recall_at_least` or `precision_at_least`."""

    kind: str
    target: float | None = None
    fp: float | None = None  # price of a false positive
    fn: float | None = None


class OperatingPoint(Record, frozen=True):
    """A threshold and what it gives on the rows that it was chosen on."""

    threshold: float
    precision: float
    recall: float
    f1: float
    cost: float | None = None


class Operation(Record, frozen=True):
    """The figures of a split at one threshold, 0.5 where it names none."""

    n: int
    confusion: Confusion  # the other label, then the positive one
    metrics: dict[str, Estimate]
    threshold: float | None = None
    false_positives_per_1000: float | None = None


class Rival(Record, frozen=True, kw_only=True):
    """The chosen threshold against another rule, on the same rows; `value` is the chosen one's."""

    rule: str
    model: str | None = None  # a reference; None: a constant answer
    threshold: float | None = None  # of that model's own
    also: bool = False  # it only counts where it is better than the tuned model
    metric: str
    value: float
    other: float
    difference: float
    low: float
    high: float
    p: float
    method: str


class Thresholds(Record, frozen=True, kw_only=True):
    """Of one classifier of two labels: chosen on validation, applied to this split."""

    positive: str
    aim: ThresholdAim
    in_use: bool  # whether the objective asked for it, and it is what the predictions are made at
    fitted_on: str = always("validation")
    fitted_rows: int | None = None
    fitted_positives: int | None = None
    curve: dict[str, list[float]] | None = None  # of validation, from the highest threshold down
    why_not: str | None = None
    chosen: OperatingPoint | None = None
    calls: str | None = None  # "every row", "no row": where the threshold does nothing else
    at_half: Operation | None = None
    at_threshold: Operation | None = None
    changes: dict[str, Change] | None = None  # from 0.5 to the threshold
    against: list[Rival] | None = None


class LabelThreshold(Record, frozen=True, kw_only=True):
    """One label, where rows have several: its threshold, and its figures at it and at 0.5."""

    label: str
    threshold: float
    fitted_positives: int  # rows of validation with the label
    why_not: str | None = None  # why it is 0.5
    calls: str | None = None  # "every row", "no row": where the threshold does nothing else
    at_threshold: LabelScores | None = None
    at_half: LabelScores | None = None


class LabelThresholds(Record, frozen=True, kw_only=True):
    """Of one model, where rows have several labels: chosen on validation, applied to this split."""

    aim: ThresholdAim  # of the positive label; F1 for the others
    positive: str | None = None
    fitted_on: str = always("validation")
    fitted_rows: int | None = None
    labels: list[LabelThreshold]
    at_half: dict[str, Estimate]


class LabelCalibration(Record, frozen=True, kw_only=True):
    """The probabilities of one of several labels: how far they lie from what happened."""

    brier: float
    base_rate_brier: float  # of always saying the label's share of these rows
    ece: float
    ece_null: NullEce


class LabelCalibrations(Record, frozen=True, kw_only=True):
    """Of one model, where rows have several labels."""

    n: int
    why_not: str | None = None
    labels: dict[str, LabelCalibration] | None = None
    mean_ece: float | None = None


class GuardrailResult(Record, frozen=True, kw_only=True):
    """One condition of a guardrail: what was measured, and its outcome."""

    index: int  # of the guardrail in the configuration
    metric: str
    slice: dict[str, str | int | float | bool]
    positive: str | UnsetType | None = UNSET  # where the metric is of one label
    rows: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    condition: str  # "no_worse_by", "at_least" or "at_most"
    limit: float
    from_model: str | None = field(default=None, name="from")
    change: Change | None = None
    outcome: str  # "met", "failed" or "cannot tell"
    why: str


class Guardrails(Record, frozen=True):
    guardrails: list[GuardrailResult]


class SliceDifference(Record, frozen=True):
    """The other rows of the split, and this slice less these."""

    value: float
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float  # Holm over the slices


class SliceReference(Record, frozen=True):
    """The reference on the same slice; p only where single rows are right or wrong."""

    value: float
    difference: float  # tuned - reference
    fixed: int | None = None
    broke: int | None = None
    p: float | None = None
    p_corrected: float | None = None


class Slice(Record, frozen=True, kw_only=True):
    """The tuned model on the rows that share a value; too few of them are not judged."""

    by: str  # "label", "characters", "scored tokens" or "column"
    value: str
    rows: int
    judged: bool
    column: str | None = None
    accuracy: Estimate | None = None
    loss: Estimate | None = None
    token_accuracy: Estimate | None = None
    rest: SliceDifference | None = None
    reference: SliceReference | None = None


class Slices(Record, frozen=True, kw_only=True):
    """The worst first; those too small to judge last."""

    metric: str  # "accuracy" or "loss"
    n: int
    slices: list[Slice]
    method: str
    clusters: int | None = None
    correction: str = always("")
    reference: str | None = None
    notes: list[str] | None = None


class SuspectCell(Record, frozen=True):
    label: str
    suggested: str
    rows: int


class SuspectRow(Record, frozen=True, kw_only=True):
    row_id: int
    label: str
    suggested: str
    probability: float  # of the suggested label
    label_probability: float
    text: str  # how the row begins
    probe: str | UnsetType | None = UNSET  # the probe's answer, where there is one


class LabelErrors(Record, frozen=True, kw_only=True):
    """Labels of held-out rows that are probably wrong; `share` is of all rows."""

    n: int
    suspected: int
    unlikely: int = always(0)  # of these, those whose label has a probability below 0.05
    estimated: float = always(0.0)
    why_not: str | None = None
    cells: list[SuspectCell] | None = None
    rows: list[SuspectRow] | None = None
    thresholds: dict[str, float] | None = None
    caveat: str | None = None
    probe_agrees: int | None = None
    model: str | None = None  # whose probabilities are read
    share: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


class Flip(Record, frozen=True, kw_only=True):
    """A row that changed: its label and both answers, or its loss under both models."""

    row_id: int
    label: str | None = None
    before: str | float | None = field(default=None, name="from")
    before_confidence: float | None = field(default=None, name="from_confidence")
    after: str | float | None = field(default=None, name="to")
    after_confidence: float | None = field(default=None, name="to_confidence")
    tokens: int | None = None
    change: float | None = None
    input: str | None = None  # how it begins


class LabelChange(Record, frozen=True):
    """Rows whose decision on one of several labels was wrong and is right, and the reverse."""

    fixed: int
    broke: int


ABSOLUTE_ERROR = "absolute error"  # the unit of what changed, where numbers are predicted


class Flips(Record, frozen=True, kw_only=True):
    """Rows that the tuned model fixed and broke, or whose loss fell and rose."""

    from_model: str = field(name="from")
    to_model: str = field(name="to")
    n: int
    counts: dict[str, int]  # by kind; they add up to n
    rows: dict[str, list[Flip]]  # the first of each kind that changed
    wrong_otherwise: int | None = None
    by_label: dict[str, LabelChange] | None = None  # where rows have several
    unit: str | None = None  # of a loss
    p: float | None = None
    clusters: int | None = None
    quartiles: list[float] | None = None


class Completions(Record, frozen=True, kw_only=True):
    """What one model's answers to the test prompts look like."""

    rows: int
    of: int
    limit: int  # tokens of an answer at most
    ended_by_eos: Share
    empty: Share
    looping: Share
    different: int
    different_references: int
    mean_tokens: float
    mean_reference_tokens: float
    references_over_limit: int
    prompts_cut: int
    repeated_4grams: float
    repeated_4grams_of_references: float
    longest_repeat: int  # characters


class ShortAnswers(Record, frozen=True):
    """Answers and references of fewer than `tokens` tokens, of which BLEU says nothing."""

    rows: int
    answers: int
    references: int
    tokens: int


class ExampleAnswer(Record, frozen=True):
    row_id: int
    prompt: str
    reference: str
    tuned: str
    base: str
    chrf_base: float
    chrf_tuned: float


class Examples(Record, frozen=True):
    """The rows on which the tuned model answered worst and best."""

    measure: str
    rows: int
    worst: list[ExampleAnswer]
    best: list[ExampleAnswer]


class ReadByBoth(Record, frozen=True):
    """One model's answers under both models: average log-likelihood per token, nats."""

    rows: int
    tokens: int
    under_base: float
    under_tuned: float
    difference: Estimate  # tuned - base


class CrossScoring(Record, frozen=True):
    answers_of_base: ReadByBoth | None = None
    answers_of_tuned: ReadByBoth | None = None


class Ended(Record, frozen=True):
    """Answers whose reference ends within the limit, and how many of these ended."""

    rows: int
    ended: Share


class EndChange(Record, frozen=True):
    """Tuned less base of the end token's cost, nats."""

    value: float
    low: float
    high: float
    method: str
    p: float


class Endings(Record, frozen=True):
    """What the end token costs one model, nats; without a model the paired difference."""

    answers: Ended | None = None
    rows: int | None = None  # whose end is scored
    of: int | None = None
    end_token: Estimate | None = None
    other_tokens: Estimate | None = None
    difference: EndChange | None = None


class OfBoth(Record, frozen=True):
    base: Share
    tuned: Share


class Commonest(Record, frozen=True):
    completion: str
    count: int
    value: float  # share of the rows


class ClosedChoice(Record, frozen=True, kw_only=True):
    """The likeliest of the few completions that there are."""

    rows: int
    candidates: int
    rule: str
    accuracy: OfBoth
    commonest: Commonest
    difference: float
    fixed: int
    broke: int
    p: float
    method: str


class ZeroShot(Record, frozen=True, kw_only=True):
    """A base that labels by the likelihood of the labels, without any training."""

    rows: int
    method: str
    rule: str
    accuracy: Share
    accuracy_by_byte: Share
    fallbacks: int  # labels cut into tokens by themselves, of `scored`
    scored: int
    texts_cut: int


class LayoutDrift(Record, frozen=True, kw_only=True):
    """How far scores in another layout lie from those stored: nats of a row's NLL, and of its loss
    per token."""

    layout: str
    largest_nll_drift: float
    largest_loss_drift: float
    worst_row: int
    changed_predictions: int
    changed_rows: list[int]


class WeightsDrift(Record, frozen=True, kw_only=True):
    """How far scores by one form of the weights lie from those stored."""

    weights: str
    tolerance: float
    largest_nll_drift: float
    largest_loss_drift: float
    worst_row: int
    changed_predictions: int
    changed_rows: list[int]
    metric: float
    dtype: str
    tied_embeddings: bool


class NotTested(Record, frozen=True, kw_only=True):
    """A layout or a form of the weights that was left out; `failed`: it cannot be used at all."""

    layout: str | None = None
    weights: str | None = None
    reason: str
    failed: bool = False


class SelfTest(Record, frozen=True, kw_only=True):
    """A sample of rows scored again by the same model in other batches and paddings."""

    rows: int
    of: int
    precision: str
    device: str
    unit: str  # "row" or "token"
    passed: bool
    tolerance: float  # nats of a row's loss per token
    largest_nll_drift: float
    largest_loss_drift: float
    changed_predictions: int
    changed_rows: list[int]
    layouts: list[LayoutDrift]
    left_out: list[NotTested]


class Parity(Record, frozen=True, kw_only=True):
    """The same with each form of the weights that may ship."""

    rows: int
    of: int
    precision: str
    device: str
    unit: str
    metric: str  # that the run is judged by
    passed: bool
    tolerance: float
    largest_nll_drift: float
    largest_loss_drift: float
    changed_predictions: int
    changed_rows: list[int]
    scored: float  # the metric of the stored scores of these rows
    weights: list[WeightsDrift]
    skipped: list[NotTested]
    adapter: bool
    tied_embeddings: bool
    stored_dtype: str
    adapter_base: str | None = None


class TestReadings(Record, frozen=True, kw_only=True):
    """Earlier runs of the folder that have scored the same test rows."""

    runs: int
    other_configs: int  # of them with other settings
    ids: list[str]  # the first of them
    looked_at: int = always(0)
    more: bool = always(False)  # there were more runs than were looked at


class LabelDraws(Record, frozen=True):
    """Shares of labels. `distance`: half the sum of differences, less what chance gives."""

    p: float
    distance: float
    label: str  # where the shares lie furthest apart
    share_before: float
    share: float
    p_holm: float
    shown: bool


class LengthDraws(Record, frozen=True):
    """Characters of the input: the greatest distance of the distributions, and both medians."""

    p: float
    distance: float
    median_before: float
    median: float
    p_holm: float
    shown: bool


class WordingDraws(Record, frozen=True):
    """How well a classifier separates rows of the two splits by their text."""

    p: float
    auc: float
    low: float
    high: float
    rows: int  # of both splits that were read
    p_holm: float
    shown: bool


class Draws(Record, frozen=True):
    """How the rows of a split differ from those of the one before it."""

    before: str
    labels: LabelDraws | None = None
    lengths: LengthDraws | None = None
    wording: WordingDraws | None = None


class Forgetting(Comparison, frozen=True, kw_only=True):
    """The loss of base and tuned on neutral text, paired by windows of tokens."""

    tokens: int
    window: int  # tokens
    windows: int


class TokenChange(Record, frozen=True, kw_only=True):
    """A token of a text under two models: log-likelihoods in nats, ranks from 1."""

    position: int
    token: str
    before: float = field(name="from")
    after: float = field(name="to")
    difference: float
    rank_before: int = field(name="rank_from")
    rank_after: int = field(name="rank_to")


class TokenChanges(Record, frozen=True, kw_only=True):
    """The tokens of a text that tuning made likelier and less likely, the greatest change first."""

    tokens: int
    kept: int  # at most, of either kind
    gained_tokens: int
    gained: list[TokenChange]
    lost_tokens: int
    lost: list[TokenChange]


# The name of an analysis in events.jsonl and report.json, and the struct of its result.
ANALYSES: dict[str, type[Record]] = {
    "calibration": Calibration,
    "closed_choice": ClosedChoice,
    "completions": Completions,
    "cross_scoring": CrossScoring,
    "draws": Draws,
    "endings": Endings,
    "examples": Examples,
    "flips": Flips,
    "forgetting": Forgetting,
    "guardrails": Guardrails,
    "label_calibration": LabelCalibrations,
    "label_errors": LabelErrors,
    "parity": Parity,
    "self_test": SelfTest,
    "short_answers": ShortAnswers,
    "label_thresholds": LabelThresholds,
    "slices": Slices,
    "test_readings": TestReadings,
    "thresholds": Thresholds,
    "token_changes": TokenChanges,
    "zero_shot": ZeroShot,
}
NAMES: dict[type, str] = {struct: name for name, struct in ANALYSES.items()}
