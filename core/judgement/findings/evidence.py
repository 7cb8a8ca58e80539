"""Whether the rows that judge can bear the judgement: how many, whose, and how often read."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...metrics.analyses import Calibration, FittedTemperature, Parity, SelfTest, TestReadings
from ...metrics.results import ModelResult
from ...wording.names import name_metric
from ...wording.numbers import (
    about_rows,
    format_count,
    format_difference,
    format_drift,
    format_value,
    unit_of,
)
from ..selection import metric_value, of_models, read_difference, unclean
from .case import NAMES, Case, Finding, pitfall

SMALL_SPLIT = 100  # rows
LEAST_CHANGED = 6  # all changed in one direction: fewer have an exact p above 0.05 (2 / 2^5)
CLAIM = 0.05  # a difference in shares that users want to see proven
SAVED = "read back"  # how the form of the weights that ships is called
MISCALIBRATED = 0.03  # ECE above its null value


@pitfall(
    "no_test_set",
    title="no test set",
    rank=8,
    see=("test split", "validation split", "test_read_before", "selection"),
)
def _no_test_set(case: Case) -> Iterator[Finding]:
    """The run is judged on validation, the same rows that chose its checkpoint.

    Whatever is best of several on some rows looks better there than it is: each choice made on
    validation leaks a little of its luck into the figure. Without a test split the verdict stays at
    no evidence. Keep rows apart, by a file or a share, that nothing is chosen on.

    Trap: Calling the validation split test does not help: what matters is whether anything was
    decided on it.
    """
    if case.split is not None and case.split != "test":
        yield Finding(
            "no_test_set",
            "warning",
            f"judged on {case.split}, which also chose the checkpoint: the figures are optimistic",
            remedy="Keep rows apart: [data] test = a file, or a share such as 0.1",
        )


@pitfall(
    "test_too_small",
    title="test set too small for the claim",
    rank=9,
    see=("smallest detectable difference", "interval", "paired", "verdict"),
    aliases=("too_small_for_claim", "too few rows"),
)
def _too_small(case: Case) -> Iterator[Finding]:
    """The test rows are too few to show a difference of the size one would care about.

    From the rows and the share of them on which the models disagree follows the smallest difference
    that would be seen four times in five. If that is eight points, a true gain of four will mostly
    be missed. A result of no difference then means not known, rather than equal. More rows are the
    cure; four times as many halve what can be seen.

    Trap: Testing on more and more rows until the difference becomes significant: fix the number of
    rows beforehand.
    """
    # Few rows, an undecided difference, or a claim below what so many rows can show (S7).
    # Of those rows that the verdict rests on: where many repeat train, there may be few.
    case = case.of_verdict()
    if case.split is None or case.tuned is None:
        return
    rows, claim = case.tuned.n, _claim(case)
    metric = case.metric if case.comparison(case.metric) else "accuracy"
    compared = case.comparison(metric)
    smallest = compared.smallest_detectable if compared else None
    least = math.nan if smallest is None else abs(smallest)
    undecided = compared is None or read_difference(compared) == "cannot tell"
    beyond = claim is not None and undecided and 0 < claim < least
    wide = unit_of(metric) == "share" and undecided and least > CLAIM
    never = _independent(case.tuned) < LEAST_CHANGED or (
        undecided and _is_out_of_reach(metric, least)
    )
    if not (rows < SMALL_SPLIT or beyond or wide or never):
        return
    message = f"{unclean(case.split)} has {format_count(rows, 'row')}"
    if case.split != unclean(case.split):
        message += " that repeat nothing of an earlier split"
    if never:
        message += ": no difference between two models can be shown on so few, whatever they answer"
    elif math.isfinite(least):
        plain = format_difference(metric, least).lstrip("+")
        name = name_metric(metric, case.positive)
        message += f": differences in {name} below {plain} cannot be shown reliably"
    if beyond and claim is not None:
        asked = format_difference(case.metric, claim).lstrip("+")
        message += (
            f", and the target asks for {asked} more than {NAMES[case.reference or 'base']} has"
        )
    yield Finding(
        "test_too_small",
        "warning" if undecided or never else "info",
        message,
        {
            "rows": rows,
            "metric": metric,
            "smallest_detectable": None if never or math.isnan(least) else least,
            "claimed": claim,
        },
        remedy="Judge nothing by these rows; evaluate on hundreds"
        if never
        else _rows_needed(rows, least, claim if beyond else None),
    )


def _independent(result: ModelResult) -> int:
    """Clusters where rows come in such, else rows."""
    return result.clusters or result.n


def _is_out_of_reach(metric: str, least: float) -> bool:
    """Whether only a difference that cannot be would be shown."""
    return unit_of(metric) == "share" and least > 1


def _claim(case: Case) -> float | None:
    """The difference that the target asks for, from the reference; None without one."""
    before = metric_value(case.results.get(case.reference or ""), case.metric)
    if case.target is None or before is None or math.isnan(before):
        return None
    return abs(case.target - before)


def _rows_needed(rows: int, least: float, claim: float | None) -> str:
    """What can be shown falls with the root of the rows."""
    if claim is None or not math.isfinite(least):
        return "Evaluate on more rows"
    return (
        f"Evaluate on more rows: about {about_rows(rows * (least / claim) ** 2):,} for this target"
    )


@pitfall(
    "test_read_before",
    title="test set read before",
    rank=10,
    see=("selection", "no_test_set", "validation split", "Holm"),
    aliases=("test set reuse",),
)
def _read_before(case: Case) -> Iterator[Finding]:
    """Other runs have been evaluated on these same test rows, so choices may have been made on
    them.

    One reading is clean. When ten settings are tried and the best is kept by its test score, that
    score is the luckiest of ten and will not come again. The finding counts the readings it knows
    of. Choose on validation, and keep fresh rows for the last word when the same test set has
    served many times.

    Trap: It happens without intent, one harmless look at a time, and to teams as well as to people.
    """
    found = case.analysis(TestReadings, "test")
    if found is None or not found.runs:
        return
    runs, others = found.runs, found.other_configs
    runs, others = found.runs, found.other_configs
    settings = f", {others:,} of them with other settings" if others else ", with the same settings"
    more = " at least" if found.more else ""
    yield Finding(
        "test_read_before",
        "warning" if others else "info",
        f"this test split has been scored by{more} {format_count(runs, 'earlier run')}{settings}"
        + ("; choosing among them by it makes its figure optimistic" if others else ""),
        {"runs": runs, "other_configs": others, "ids": found.ids},
        remedy="Choose among runs on validation, and confirm the choice once on rows never read",
    )


@pitfall(
    "poorly_calibrated",
    title="poorly calibrated",
    see=("calibration", "ece", "ECE null value", "temperature", "threshold"),
    aliases=("miscalibration", "overconfidence", "overconfident"),
)
def _poorly_calibrated(case: Case) -> Iterator[Finding]:
    """The stated probabilities are off by clearly more than chance alone would show on so many
    rows.

    Raised when the calibration error lies above its null value by a margin, and by more than luck
    explains. Fine-tuned classifiers are usually too sure, more so the longer they train. A
    temperature fitted on validation mends most of it and changes no predicted label, so accuracy
    and F1 stay what they are. It matters where a probability decides something: a threshold, a
    queue, a cost.

    Trap: Nothing in accuracy betrays it: a model can be right nine times in ten and claim
    ninety-nine in a hundred.
    """
    # The calibration error of the top label against what chance alone would show (B1).
    found = case.analysis(Calibration, model="tuned")
    if found is None or found.ece is None or found.ece_null is None:
        return
    error, chance, p = found.ece.value, found.ece_null.value, found.ece_null.p
    if not (error - chance >= MISCALIBRATED and p < 0.01):
        return
    yield Finding(
        "poorly_calibrated",
        "warning",
        f"the probabilities on {case.split} are off by {format_value('ece', error)} on average "
        f"(ECE); a perfectly calibrated model would show {format_value('ece', chance)} on "
        f"{found.n:,} rows" + _by_temperature(found.temperature),
        {"ece": error, "null": chance, "p": p},
        remedy="Do not read its probabilities as frequencies; fit a temperature on validation",
    )


def _by_temperature(fitted: FittedTemperature | None) -> str:
    """Which way the probabilities are off, where a temperature shows it."""
    if fitted is None or math.isnan(fitted.value) or fitted.value == 1:
        return ""
    way = "over-confident" if fitted.value > 1 else "under-confident"
    return (
        f". The model is {way}: a temperature of {fitted.value:.2f}, fitted on validation, makes "
        f"it {format_value('ece', fitted.ece.after)}"
    )


@pitfall("deploy_parity", rank=0, words="")
@pitfall(
    "parity_not_tested",
    title="saved weights were not read back",
    rank=1,
    see=("deploy parity", "self-test"),
)
@pitfall("self_test", rank=2, words="")
def _does_not_agree(case: Case) -> Iterator[Finding]:
    """What lies in model/ could not be loaded and scored before the run ended, so nothing shows
    that it is what was scored.

    Deploy parity reads model/ back in a process of its own, by the calls on the card, and scores
    some rows again. Here that process was killed, for memory most often, or took far longer than
    scoring had. The weights may be good: the scores of this report are those of the weights in
    memory.

    Trap: A report that says nothing of parity looks the same as one whose parity was passed: read
    which weights its sentence names.
    """
    # Rows scored anew must score the same: in other batches (L5), and as what ships (G3, V3).
    for split in case.history.analyses:
        for model, r in of_models(case.history.analyses, SelfTest, split).items():
            if not r.passed:
                what = f"the {model} model scores {_sampled(r, split)} differently in other batches"
                yield _disagreement(
                    "self_test", what, r, "Do not trust its scores: report this run"
                )
        for shipped in of_models(case.history.analyses, Parity, split).values():
            unread = [x for x in shipped.skipped if (x.weights or "").startswith(SAVED)]
            if not shipped.passed:
                what = f"the saved weights do not give the scores of {_sampled(shipped, split)}"
                remedy = "Do not ship model/: save it again"
                yield _disagreement("deploy_parity", what, shipped, remedy)
            elif unread:
                yield Finding(
                    "parity_not_tested",
                    "warning",
                    f"what was saved is not shown to give these scores: {unread[0].reason}",
                    {"split": split, "reason": unread[0].reason},
                    remedy="Load model/ as its card says, on a machine with room for it, before it "
                    "is used",
                )


def _sampled(r: SelfTest | Parity, split: str) -> str:
    return format_count(r.rows, f"{split} row")


def _disagreement(code: str, what: str, r: SelfTest | Parity, remedy: str) -> Finding:
    skipped = r.skipped if isinstance(r, Parity) else ()
    failed = [f"{x.weights}: {x.reason}" for x in skipped if x.failed]
    drift, within, changed = r.largest_loss_drift, r.tolerance, r.changed_predictions
    if not failed or changed or not drift <= within:
        what += (
            f": a row's loss drifts by {format_drift(drift)}, {format_drift(within)} is allowed; "
            f"{format_count(changed, 'prediction')} changed"
        )
    numbers = {"drift": drift, "tolerance": within, "changed": changed}
    return Finding(code, "error", "; ".join([what, *failed]), numbers, remedy=remedy)
