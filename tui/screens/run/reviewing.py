"""Finding the answers that can be judged blind, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from ....core.errors import FtevError
from ....core.run.runs import Run
from ...app.threads import in_thread
from ..evaluation.evaluation_read import ReadingFailed

if TYPE_CHECKING:
    from ....core.review.review import Review

REVIEWER = "reviewer"  # as the command has it where nobody says who judges


@dataclass
class ReviewFound(Message):
    """There are pairs to judge."""

    review: Review


def find_review(run: Run, post: Callable[[Message], object]) -> None:
    """`ReviewFound`, or `ReadingFailed` with why there is nothing to judge."""

    def find() -> None:
        from ....core.review.review import Review, check_writable

        try:
            review = Review(run, REVIEWER)
            check_writable(run)
            if review.count:
                review.hold()
        except FtevError as error:
            post(ReadingFailed(str(error)))
            return
        if not review.count:
            post(ReadingFailed("Base and tuned gave the same answers: nothing can be judged."))
        else:
            post(ReviewFound(review))

    in_thread(find)
