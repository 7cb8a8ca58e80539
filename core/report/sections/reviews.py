"""What people judged blind: who won, how sure that is, and whether the sides were fair."""

from __future__ import annotations

from ...wording.numbers import (
    DASH,
    format_count,
    format_interval,
    format_p,
    format_value,
    read_number,
)
from ...wording.text import visible
from ..blocks import Block, Bullets, Heading, Paragraph, Table, section
from ..document import RatedPart, Report, ReviewsPart, SharePart

SHARE = "accuracy"  # a share is written as this metric is


@section(140, more=30)
def show_reviews(report: Report) -> list[Block]:
    reviews = report.get("reviews")
    if not reviews:
        return []
    heading = Heading("Blind review")
    if "error" in reviews:
        return [
            heading,
            Paragraph(f"reviews.jsonl cannot be joined to the run: {reviews['error']}."),
        ]
    if not reviews["complete"]:
        return [
            heading,
            Paragraph(describe_progress(reviews) + " The result is shown once all are judged."),
        ]
    return [heading, *review_blocks(reviews)]


def describe_progress(reviews: ReviewsPart) -> str:
    """`2 pairs: anna has judged 2, ben 1.`"""
    parts = [f"{visible(name)} {each['judged']:,}" for name, each in reviews["reviewers"].items()]
    return f"{format_count(reviews['pairs'], 'pair')}; judged so far: {', '.join(parts)}."


def review_blocks(reviews: ReviewsPart) -> list[Block]:
    """The unblinded result in words and tables."""
    blocks: list[Block] = [Paragraph(_how(reviews)), Bullets([*_wins(reviews), _position(reviews)])]
    if reviews["ratings"]:
        blocks += [Paragraph("Ratings from 1 to 5, means over the pairs:"), _ratings(reviews)]
    if "agreement" in reviews:
        blocks += [Paragraph("Agreement between reviewers:"), _agreement(reviews)]
    return blocks


def _how(reviews: ReviewsPart) -> str:
    people = reviews["reviewers"]
    text = (
        f"{format_count(reviews['pairs'], 'pair')} of answers, base and tuned, each side drawn by "
        f"lot and unnamed, judged by {', '.join(visible(name) for name in people)}."
    )
    if len(people) > 1:
        text += " Where several judged a pair, the majority decides it; an even vote is a tie."
    for count, words in (
        (reviews["skipped"], "skipped"),
        (reviews["identical"], "excluded, as both models gave the same answer"),
        (reviews["outdated"], "judged on answers that the run no longer holds, not counted"),
    ):
        if count:
            text += f" {count:,} {words}."
    return text


def _wins(reviews: ReviewsPart) -> list[str]:
    wins, rate, half = reviews["wins"], reviews["win_rate"], reviews["win_rate_ties_half"]
    if not reviews["decided"]:
        return ["No pair has been decided."]
    p = read_number(reviews["sign_test_p"])
    return [
        f"The tuned model won {format_count(wins['tuned'], 'pair')}, the base {wins['base']:,}; "
        f"ties: {wins['tie']:,}.",
        f"Of the pairs without a tie it won {_with_interval(rate)}; the exact sign test "
        f"against one half gives p {format_p(p)}: {_meaning(reviews)}.",
        f"With ties as half a win each: {_with_interval(half)}.",
    ]


def _meaning(reviews: ReviewsPart) -> str:
    p, wins = read_number(reviews["sign_test_p"]), reviews["wins"]
    if p >= 0.05:
        return "this many judgements show no preference"
    return f"the {'tuned model' if wins['tuned'] > wins['base'] else 'base'} is preferred"


def _with_interval(share: SharePart) -> str:
    if not share["n"]:
        return DASH
    interval = format_interval(SHARE, share["low"], share["high"])
    return f"{format_value(SHARE, share['value'])} (95 %: {interval}, n = {share['n']:,})"


def _position(reviews: ReviewsPart) -> str:
    side = reviews["position"]
    if not side["n"]:
        return "Sides: every judgement was a tie."
    fair = "no sign that the side mattered"
    if read_number(side["p"]) < 0.05:
        fair = "the side itself was preferred, so the choices are not about the answers alone"
    choices = format_count(side["left"] + side["right"], "choice")
    return (
        f"Sides: of {choices} {side['left']:,} fell on the left, "
        f"{_with_interval(side)}, p {format_p(side['p'])}: {fair}."
    )


def _ratings(reviews: ReviewsPart) -> Table:
    rows = [
        [
            name,
            f"{r['n']:,}",
            f"{r['base']:.2f}",
            f"{r['tuned']:.2f}",
            f"{r['difference']:+.2f}",
            _rating_interval(r),
            format_p(r["p"]),
        ]
        for name, r in reviews["ratings"].items()
    ]
    columns = ["criterion", "pairs", "base", "tuned", "difference", "95 % interval", "p"]
    return Table(columns, rows, ["criterion"])


def _rating_interval(r: RatedPart) -> str:
    low, high = read_number(r["low"]), read_number(r["high"])
    return DASH if low != low else f"{low:+.2f} to {high:+.2f}"


def _agreement(reviews: ReviewsPart) -> Table:
    rows = [
        [
            " and ".join(visible(name) for name in a["reviewers"]),
            f"{a['n']:,}",
            _with_interval(a) if a["n"] else DASH,
            DASH if read_number(a["kappa"]) != read_number(a["kappa"]) else f"{a['kappa']:.2f}",
        ]
        for a in reviews["agreement"]
    ]
    return Table(["reviewers", "pairs of both", "same choice", "kappa"], rows, ["reviewers"])
