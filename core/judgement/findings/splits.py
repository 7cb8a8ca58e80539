"""What splits share, and how they differ: leakage, groups, the same rows, other draws."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...metrics.analyses import Draws, LabelDraws, LengthDraws, WordingDraws
from ...run.events import LeakageFound
from ...wording.names import name_metric
from ...wording.numbers import format_count, format_estimate
from ..selection import clean, describe_leaked, metric_value
from .case import EVIDENCE_ROWS, Case, Finding, pitfall

LEAKED_SHARE = 0.01  # of the judged rows that repeat an earlier split: more, and nothing is shown


@pitfall(
    "leakage",
    title="leakage between splits",
    rank=4,
    see=("leakage-adjusted", "near duplicate", "conflicting_labels", "group column"),
    aliases=("data leakage", "contamination", "train test overlap"),
)
def _leakage(case: Case) -> Iterator[Finding]:
    """Rows of an evaluation split stand, in full or nearly, in a split before it.

    Three layers are searched: equal after Unicode form, case and white space are evened out; nearly
    equal, by shared runs of five characters; and for longer texts 13 words in a row in common.
    Nothing is deleted. The report shows the pairs and the metric on all rows and on the clean ones:
    if the two agree, little harm was done; if the clean figure is lower, believe that one.

    Trap: Removing exact duplicates and declaring the rest clean: templates with one word changed
    leak as well, and inflate most where a model learns by heart.
    """
    found = case.history.leakage
    if found is None or not (found.exact or found.near or found.ngram):
        return
    pairs = [(b, row) for a, _, b, row, *_ in found.pairs if a != b]
    leaked = describe_leaked(found.leaked, found.group_rows)
    layers = f"{found.exact:,} exactly, {found.near:,} nearly, {found.ngram:,} by 13 words in a row"
    counts = f"{leaked}: {layers}; the layers overlap" if leaked else ""
    yield Finding(
        "leakage",
        "error" if _voids(case, found) else "warning",
        (counts or f"rows repeat a row of an earlier split: {layers}") + _adjusted(case),
        {"exact": found.exact, "near": found.near, "ngram": found.ngram, **found.leaked}
        | _adjusted_numbers(case),
        list(dict.fromkeys(pairs))[:EVIDENCE_ROWS],
        _take_out(case, found),
        {split: rows for split, rows in found.leaked.items() if rows},
    )


def _voids(case: Case, found: LeakageFound) -> bool:
    """Whether leaked rows leave nothing to judge by: of documents there are no clean ones."""
    split = case.judging
    if found.shares:
        return found.shares.get(split, 0.0) > LEAKED_SHARE
    results, prepared = case.history.results, case.history.splits.get(split)
    tuned = case.history.result(split)
    rows = tuned.n if tuned else 0
    leaked = found.leaked.get(split, 0)
    if not rows:
        return prepared is not None and leaked >= prepared.rows > 0
    return leaked > LEAKED_SHARE * rows and "tuned" not in results.get(clean(split), {})


def _take_out(case: Case, found: LeakageFound) -> str:
    if _voids(case, found):
        return f"Take these rows out of {case.judging}, or judge by rows that nothing has seen"
    return "Take these rows out of one side; read the results on the clean rows"


def _adjusted_numbers(case: Case) -> dict[str, object]:
    """The primary metric of tuned on all rows and on the clean ones."""
    split, metric = case.split, case.metric
    if split is None:
        return {}
    before = metric_value(case.tuned, metric)
    after = metric_value(case.history.result(clean(split)), metric)
    if before is None or after is None:
        return {}
    return {"metric": metric, "all_rows": before, "clean_rows": after}


def _adjusted(case: Case) -> str:
    split, metric, whole = case.split, case.metric, case.tuned
    others = case.history.result(clean(split)) if split else None
    if whole is None or others is None or not _adjusted_numbers(case):
        return ""
    before, after = (format_estimate(metric, r.metrics.get(metric)) for r in (whole, others))
    named, rows = name_metric(metric, case.positive), format_count(whole.n, "row")
    return (
        f". {named[0].upper()}{named[1:]} on all {rows} of {split} is {before}; "
        f"adjusted for leakage, on the {others.n:,} clean ones, it is {after}"
    )


@pitfall(
    "group_in_two_splits",
    title="one group in two splits",
    rank=5,
    see=("group column", "leakage", "leakage-adjusted"),
)
def _group_in_two_splits(case: Case) -> Iterator[Finding]:
    """A customer, document or author named by data.group has rows before and in this split.

    Someone's messages resemble each other in ways that have nothing to do with their label. A model
    that met the author in training recognises the author again, and that will not help with
    strangers. The clean rows leave out all of a shared group; where none remains, the result is not
    fit for shipping. A share such as test = 0.2 keeps groups whole by itself; given files are taken
    as they are.

    Trap: Dropping the column so that the warning goes away: authors stay recognisable by their
    style, signatures and subjects.
    """
    found = case.history.leakage
    for split, groups in (found.groups if found else {}).items():
        assert found is not None
        rows = found.group_rows.get(split, 0)
        yield Finding(
            "group_in_two_splits",
            "error" if split == case.judging and _voids(case, found) else "warning",
            f"{format_count(groups, 'group')} of {split} "
            f"{'stands' if groups == 1 else 'stand'} in an earlier split too, with "
            f"{format_count(rows, f'{split} row')}: figures on these rows are optimistic",
            {"split": split, "groups": groups, "rows": rows},
            remedy="Put all rows of a group into one file; the clean rows leave these out",
            counted={split: rows},
        )


@pitfall(
    "same_rows",
    title="two splits with the same rows",
    rank=3,
    see=("leakage", "repeated_test_rows", "test_read_before"),
)
def _same_rows(case: Case) -> Iterator[Finding]:
    """A split holds exactly the rows of an earlier one, answers included.

    Usually one file was named twice, or copied under another name. A test that is the training file
    measures memory: any model large enough gets everything right. Where this concerns the judged
    split, nothing ships, since no row is left that could speak of new data. A validation that
    equals train cannot show when to stop.

    Trap: Shuffling one of the files hides the copy from a look at their first lines, and from
    nobody who compares the rows.
    """
    found = case.history.leakage
    for a, b in found.same if found else ():
        names = [s.source for n in (a, b) if (s := case.history.splits.get(n)) and s.source]
        files = f" ({' and '.join(dict.fromkeys(names))})" if names else ""
        judges = b == case.judging
        consequence = (
            "its figures say what was memorised" if judges else "it cannot choose a checkpoint"
        )
        yield Finding(
            "same_rows",
            "error" if judges else "warning",
            f"{a} and {b} hold the same rows{files}: nothing of {b} is new, so {consequence}",
            {"splits": [a, b]},
            remedy=f"Name another file for {b}, or a share of train to split off",
        )


@pitfall(
    "drawn_differently",
    title="train and test drawn differently",
    rank=7,
    see=("leakage", "class_imbalance", "slices"),
    aliases=("distribution shift", "dataset shift", "covariate shift", "label shift"),
)
def _drawn_differently(case: Case) -> Iterator[Finding]:
    """The judging rows are not a random draw from where the training rows came from.

    Three questions are asked: do labels have other shares (against tables with the same margins),
    are inputs longer or shorter (Kolmogorov and Smirnov), and can naive Bayes predict
    from the text which file a row is from. All three together raise a false alarm in at most one
    of a hundred random splits. It is no fault if test is the newer or the harder draw on purpose;
    then only test speaks of the future.

    Trap: Mixing both files and splitting anew makes the difference vanish together with the only
    rows that resembled what will arrive.
    """
    split = case.judging
    found = case.analysis(Draws, split)
    if found is None:
        return
    before = found.before
    differences = {
        "labels": _in_labels(found.labels, before, split),
        "lengths": _in_lengths(found.lengths, before),
        "wording": _in_wording(found.wording),
    }
    shown = {name: text for name, text in differences.items() if text}
    if not shown:
        return
    yield Finding(
        "drawn_differently",
        "warning",
        f"{split} is distributed differently from {before}: " + "; ".join(shown.values()),
        {"split": split, "before": before}
        | {name: msgspec.to_builtins(getattr(found, name)) for name in shown},
        remedy=f"Find out whether {split} or {before} is like the rows to come; "
        "figures hold for rows like those of the judged split only",
    )


def _in_labels(f: LabelDraws | None, before: str, split: str) -> str:
    if f is None or not f.shown:
        return ""
    return (
        f'"{f.label}" is the label of {f.share:.1%} of {split} and of {f.share_before:.1%} of '
        f"{before}"
    ).replace("%", " %")


def _in_lengths(f: LengthDraws | None, before: str) -> str:
    if f is None or not f.shown:
        return ""
    return (
        f"half of its inputs are longer than {f.median:,.0f} characters, and half of those of "
        f"{before} longer than {f.median_before:,.0f}"
    )


def _in_wording(f: WordingDraws | None) -> str:
    if f is None or not f.shown:
        return ""
    return (
        f"a classifier distinguishes the two by their text (AUC {f.auc:.2f}, "
        f"95 %: {f.low:.2f} to {f.high:.2f}; 0.5 is chance)"
    )
