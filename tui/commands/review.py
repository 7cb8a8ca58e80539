"""`ftev-tui review RUN`: judge answers blind, on a screen or line by line; `--summary` unblinds.

While pairs are judged nothing here names a model or the run, whose name may reveal one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

from ...core.errors import ConfigError, Fault
from ...core.report.blocks import Block, Bullets, Paragraph, Table
from ...core.report.review.review import (
    CRITERIA,
    FILE,
    HIGHEST,
    LOWEST,
    BlindPair,
    Choice,
    Ratings,
    Review,
    Side,
    check_reviewer,
    check_writable,
    count_broken_lines,
)
from ...core.run.foreign.imported import find_run
from ...core.run.runs import Run, runs_folder
from ...core.wording.numbers import format_count
from ...core.wording.text import visible, visible_lines
from .show import can_draw_screen, let_interrupt, print_json, print_table, say

WORDS: dict[str, Choice] = {
    **dict.fromkeys(("l", "left"), "left"),
    **dict.fromkeys(("r", "right"), "right"),
    **dict.fromkeys(("t", "tie"), "tie"),
    **dict.fromkeys(("s", "skip"), "skip"),
    **dict.fromkeys(("u", "undo"), "undo"),
}
HOW = (
    "Which answer is better? left, right, tie, skip; undo takes the last judgement back, quit\n"
    f"leaves (l r t s u q). To rate first, from {LOWEST} to {HIGHEST}: `rate left 4 5 3 4`, in "
    f"the order\n{', '.join(CRITERIA)}; - leaves one out."
)


def run(options: argparse.Namespace) -> int:
    """A screen where one can be drawn, else lines. Raises HeldError for a second reviewer."""
    check_reviewer(options.reviewer)
    found = find_run(options.run, runs_folder(options.runs_dir))
    if broken := count_broken_lines(found):
        lines = format_count(broken, "line")
        say(f"{FILE}: {lines} cannot be read as a judgement, and what they say is not counted")
    if options.summary:
        return show_summary(found, as_json=options.json, unblind=options.yes)
    review = Review(found, options.reviewer, options.seed)
    if options.json:
        print_json(_document(review))
        return 0
    # Before the first pair is shown: a judgement that cannot be kept is lost work.
    check_writable(found)
    review.hold()
    try:
        if can_draw_screen() and not options.plain:
            from ..app.app import run_review

            code = run_review(review, theme=options.theme, ascii_only=options.ascii)
        else:
            code = review_by_lines(review)
    finally:
        review.release()
    _print_standing(Review(found, options.reviewer, options.seed))  # the screen had its own
    return code


def _document(review: Review) -> dict[str, object]:
    return {
        "pairs": review.count,
        "judged": review.judged,
        "waiting": [asdict(pair) for pair in review.waiting()],
    }


def _print_standing(review: Review) -> None:
    left = review.count - review.judged
    if left:
        say(f"{review.judged:,} of {review.count:,} pairs are judged. The same command goes on")
    else:
        say("every pair is judged. `ftev-tui review RUN --summary` says which was which")


def show_summary(found: Run, *, as_json: bool, unblind: bool) -> int:
    """Who won. Raises ConfigError where nothing is judged, or not everything and not `unblind`."""
    from ...core.report.review.summary import summarize_reviews
    from ...core.report.sections.reviews import describe_progress, review_blocks

    summary = summarize_reviews(found)
    if summary is None:
        raise ConfigError(
            Fault("reviews.jsonl", "nothing is judged yet", "`ftev-tui review RUN` asks")
        )
    if not summary["complete"] and not unblind:
        raise ConfigError(
            Fault(
                "--summary",
                f"{describe_progress(summary)} To unblind now would let the names sway the rest",
                "Judge the rest first, or add --yes",
            )
        )
    if as_json:
        print_json(summary)
        return 0
    if not summary["complete"]:
        print(f"Not all pairs are judged. {describe_progress(summary)}\n")
    show_blocks(review_blocks(summary))
    return 0


def show_blocks(blocks: Sequence[Block]) -> None:
    """Blocks of a report in plain lines."""
    for block in blocks:
        if isinstance(block, Paragraph):
            print(f"\n{visible(block.text)}\n")
        elif isinstance(block, Bullets):
            for item in block.items:
                print(f"- {visible(item)}")
        elif isinstance(block, Table):
            print_table(block.columns, block.rows, words=(block.columns[0], *block.words))


def review_by_lines(review: Review) -> int:
    """Ask pair after pair on stdin until all are judged, `quit` or the end of the input."""
    if review.next() is None:
        return 0
    let_interrupt()
    print(f"Blind review of {review.count:,} pairs, {review.judged:,} of them judged.\n{HOW}")
    while (pair := review.next()) is not None:
        print("\n".join(pair_lines(pair, review.judged + 1, review.count)))
        if not _judge(review, pair):
            break
    return 0


def pair_lines(pair: BlindPair, number: int, count: int) -> list[str]:
    """A pair of answers, left and right, without a name."""
    lines = ["", f"Pair {number:,} of {count:,}"]
    for title, text in (("Prompt", pair.prompt), ("Left", pair.left), ("Right", pair.right)):
        lines += [title, *(f"  {line}" for line in visible_lines(text.strip("\n")))]
    return lines


def _judge(review: Review, pair: BlindPair) -> bool:
    """Read lines until one judges the pair; False where the person leaves."""
    ratings: Ratings = {}
    while True:
        print("left, right, tie, skip, undo, quit, or rate> ", end="", flush=True)
        line = sys.stdin.readline()
        words = line.lower().split()
        if not line or words in (["q"], ["quit"]):  # no line: the end of stdin
            print()
            return False
        if not words:
            continue
        if words[0] == "rate":
            _rate(ratings, words[1:])
        elif len(words) == 1 and words[0] in WORDS:
            return _record(review, pair, WORDS[words[0]], ratings)
        else:
            print(f"not understood: {visible(line.strip(), 60)}\n{HOW}")


def _record(review: Review, pair: BlindPair, choice: Choice, ratings: Ratings) -> bool:
    if choice == "undo":
        print("asked again" if review.undo() else "nothing to undo")
    else:
        review.judge(pair.pair, choice, ratings)
    return True


def _rate(ratings: Ratings, words: list[str]) -> None:
    sides: dict[str, Side] = {"left": "left", "l": "left", "right": "right", "r": "right"}
    values = words[1:]
    known = {"-", *map(str, range(LOWEST, HIGHEST + 1))}
    if not words or words[0] not in sides or len(values) != len(CRITERIA) or set(values) - known:
        print(f"not understood: rate left or right, then {len(CRITERIA)} ratings, as `4 5 - 4`")
        return
    given = zip(CRITERIA, values, strict=True)
    ratings[sides[words[0]]] = {name: int(value) for name, value in given if value != "-"}
