"""What a blind review found: who won, how sure that is, and whether the sides were treated alike.

The unit is the pair: where several reviewers judged one, the majority of them decides it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from ...errors import FtevError
from ...metrics.bootstrap import Resampling, bootstrap_rows, interval_of
from ...metrics.counts import Draws, FloatArray
from ...metrics.statistics import mcnemar, sign_flip, wilson
from ...run.runs import Run
from ..document import AgreementPart, ProgressPart, RatedPart, ReviewsPart, SharePart, SidesPart
from .review import (
    CRITERIA,
    SIDES,
    Criterion,
    Judgement,
    find_pairs,
    last_words,
    read_judgements,
    reviewers_of,
    tuned_is_left,
)

Winner = Literal["tuned", "base", "tie"]
Votes = dict[str, dict[str, Winner]]  # reviewer -> pair -> winner


def summarize_reviews(run: Run) -> ReviewsPart | None:
    """The document of `review --summary --json`; None where nobody has judged."""
    judgements = read_judgements(run)
    if not judgements:
        return None
    material = find_pairs(run)
    known = {p.pair for p in material.pairs}
    spoken = list(last_words(judgements).values())
    counted = [j for j in spoken if j.pair in known]
    return {
        **progress_of(counted, sorted(known), reviewers_of(judgements)),
        "identical": material.identical,
        "outdated": len(spoken) - len(counted),
        **summarize(counted),
    }


def describe_reviews(run: Run) -> ReviewsPart | None:
    """The same for a report, which anyone may read: blind until every pair is judged."""
    try:
        summary = summarize_reviews(run)
    except FtevError as error:
        return {"error": str(error)}
    if summary is None or summary["complete"]:
        return summary
    return {
        "pairs": summary["pairs"],
        "reviewers": summary["reviewers"],
        "complete": summary["complete"],
    }


def progress_of(
    judgements: Sequence[Judgement], pairs: Sequence[str], reviewers: Sequence[str]
) -> ReviewsPart:
    """How many pairs each reviewer has judged; skipped ones are done with too."""
    done = Counter(j.reviewer for j in judgements)
    progress: dict[str, ProgressPart] = {
        name: {"judged": done[name], "waiting": len(pairs) - done[name]} for name in reviewers
    }
    return {
        "pairs": len(pairs),
        "reviewers": progress,
        "complete": all(not each["waiting"] for each in progress.values()),
    }


def summarize(judgements: Sequence[Judgement]) -> ReviewsPart:
    """The unblinded result of the judgements that stand."""
    votes = votes_of(judgements)
    decided = majority(votes)
    counts = Counter(decided.values())
    won, lost, ties = counts["tuned"], counts["base"], counts["tie"]
    summary: ReviewsPart = {
        "decided": len(decided),
        "wins": {"tuned": won, "base": lost, "tie": ties},
        "skipped": sum(j.choice == "skip" for j in judgements),
        "win_rate": _share(won, won + lost),
        "win_rate_ties_half": _share(won + ties / 2, len(decided)),
        # of two counts McNemar's exact p is the binomial test against one half: the sign test
        "sign_test_p": mcnemar(lost, won).exact,
        "position": position_bias(judgements),
        "ratings": compare_ratings(judgements),
    }
    if len(votes) > 1:
        summary["by_reviewer"] = {
            name: dict(Counter(given.values())) for name, given in votes.items()
        }
        summary["agreement"] = agreements(votes)
    return summary


def _share(successes: float, n: float) -> SharePart:
    low, high = wilson(successes, n)
    value = successes / n if n else float("nan")
    # Wilson's interval: Wald's has no width where all or none were won (Brown, Cai, DasGupta 2001)
    return {"value": value, "low": low, "high": high, "n": n, "method": "Wilson 95 %"}


def votes_of(judgements: Sequence[Judgement]) -> Votes:
    """Judgements by model instead of side; skipped pairs have none."""
    votes: Votes = {}
    for j in judgements:
        if j.choice in ("left", "right", "tie"):
            votes.setdefault(j.reviewer, {})[j.pair] = _winner(j)
    return votes


def _winner(j: Judgement) -> Winner:
    if j.choice == "tie":
        return "tie"
    return "tuned" if (j.choice == "left") == _tuned_left(j) else "base"


def _tuned_left(j: Judgement) -> bool:
    return tuned_is_left(j.seed, j.reviewer, j.pair)


def majority(votes: Votes) -> dict[str, Winner]:
    """One result per pair: what more reviewers chose, a tie where they balance."""
    scores: dict[str, int] = {}
    for given in votes.values():
        for pair, winner in given.items():
            scores[pair] = scores.get(pair, 0) + {"tuned": 1, "base": -1, "tie": 0}[winner]
    return {
        pair: "tuned" if score > 0 else "base" if score < 0 else "tie"
        for pair, score in scores.items()
    }


def position_bias(judgements: Sequence[Judgement]) -> SidesPart:
    """The share of choices that fell on the left, whoever stood there; fair is one half."""
    sides = Counter(j.choice for j in judgements)
    left, right = sides["left"], sides["right"]
    share, p = _share(left, left + right), mcnemar(right, left).exact
    return {"left": left, "right": right, **share, "p": p}


@dataclass(frozen=True)
class _Rated:
    """A criterion over the pairs that were rated on both sides: a `bootstrap.RowScores`."""

    values: FloatArray  # [n, 2]: base, tuned

    @property
    def n(self) -> int:
        return len(self.values)

    def features(self, rows: slice) -> FloatArray:
        part = self.values[rows]
        return np.column_stack([part[:, 1] - part[:, 0], np.ones(len(part))])

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        return {"difference": totals[..., 0] / totals[..., 1]}

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}


def compare_ratings(judgements: Sequence[Judgement]) -> dict[str, RatedPart]:
    """Mean rating of each model a criterion, and the paired difference over pairs."""
    ratings: dict[str, RatedPart] = {}
    for criterion in CRITERIA:
        rated = _rated(judgements, criterion)
        if rated.n:
            ratings[criterion] = _describe_rated(rated)
    return ratings


def _rated(judgements: Sequence[Judgement], criterion: Criterion) -> _Rated:
    """Base and tuned by pair, the mean over the reviewers who rated both sides."""
    given: dict[str, list[tuple[int, int]]] = {}
    for j in judgements:
        sides = [j.ratings.get(side, {}).get(criterion) for side in reversed(SIDES)]
        if j.choice == "skip" or None in sides:
            continue
        base, tuned = sides if _tuned_left(j) else reversed(sides)
        given.setdefault(j.pair, []).append((int(base or 0), int(tuned or 0)))
    means = [np.mean(pairs, axis=0) for pairs in given.values()]
    return _Rated(np.asarray(means, dtype=np.float64).reshape(len(means), 2))


def _describe_rated(rated: _Rated) -> RatedPart:
    resampling = Resampling()
    (draws,), by_rows = bootstrap_rows([rated], resampling)
    method = resampling.method(paired=True, limit=not by_rows)
    (low, high), method = interval_of(draws["difference"], rated.n, method)
    base, tuned = rated.values.mean(axis=0)
    return {
        "n": rated.n,
        "base": float(base),
        "tuned": float(tuned),
        "difference": float(tuned - base),
        "low": low,
        "high": high,
        "p": sign_flip(rated.values[:, 1] - rated.values[:, 0]),
        "method": f"sign-flip permutation p over pairs; {method}",
    }


def agreements(votes: Votes) -> list[AgreementPart]:
    """For each two reviewers, how often they chose the same model, and kappa (Cohen 1960)."""
    found: list[AgreementPart] = []
    for one, other in combinations(votes, 2):
        both = [pair for pair in votes[one] if pair in votes[other]]
        same = sum(votes[one][pair] == votes[other][pair] for pair in both)
        found.append(
            {
                "reviewers": [one, other],
                "same": same,
                **_share(same, len(both)),
                "kappa": kappa([(votes[one][pair], votes[other][pair]) for pair in both]),
            }
        )
    return found


def kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Agreement beyond chance: (observed - expected) ÷ (1 - expected), or NaN."""
    n = len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    observed = sum(a == b for a, b in pairs)
    expected = sum(first[name] * second[name] for name in first)  # in n²-ths
    return (observed * n - expected) / (n * n - expected) if n * n > expected else float("nan")
