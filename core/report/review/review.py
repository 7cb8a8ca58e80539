"""Blind review: pairs of answers without names, and what people judged of them.

A pair is shown as left and right. Which side is whose follows from seed, reviewer and pair alone,
so that `reviews.jsonl` need not say it, and nobody sees it who looks into the file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ...errors import ConfigError, Fault, HeldError, RunError
from ...files.disk import cannot_write
from ...files.reading import decode_json
from ...judgement.selection import SPLITS
from ...run.history import History, read_history
from ...run.lock import Lock
from ...run.runs import Run
from ...tasks import find_task

FILE = "reviews.jsonl"
LOWEST, HIGHEST = 1, 5
Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
Choice = Literal["left", "right", "tie", "skip", "undo"]
Criterion = Literal["relevance", "coherence", "correctness", "style"]
CRITERIA: tuple[Criterion, ...] = ("relevance", "coherence", "correctness", "style")
Rating = Annotated[int, msgspec.Meta(ge=LOWEST, le=HIGHEST)]
Ratings = dict[Side, dict[Criterion, Rating]]


@dataclass(frozen=True)
class Answers:
    """A prompt with the answer of each model: what nobody may see while judging."""

    pair: str
    prompt: str
    base: str
    tuned: str


@dataclass(frozen=True)
class BlindPair:
    """What a reviewer sees."""

    pair: str
    prompt: str
    left: str
    right: str


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of reviews.jsonl. "undo" takes the reviewer's last word on the pair back."""

    pair: str
    reviewer: str
    seed: int
    choice: Choice
    ratings: Ratings = {}
    time: float = 0.0


def tuned_is_left(seed: int, reviewer: str, pair: str) -> bool:
    """On which side the tuned answer stands: drawn from seed, reviewer and pair."""
    return _draw("side", seed, reviewer, pair)[0] & 1 == 1


def _draw(what: str, seed: int, reviewer: str, pair: str) -> bytes:
    key = "\0".join((what, str(seed), reviewer, pair))
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True)
class Material:
    """The pairs of a run that can be judged; those with equal answers say nothing and are not."""

    pairs: tuple[Answers, ...]
    identical: int = 0


def find_pairs(run: Run, history: History | None = None) -> Material:
    """The answers of base and tuned to the same prompts: stored completions, and prompts asked.

    Raises ConfigError for a classifier, RunError while the run goes on or where there are none.
    """
    history = history or read_history(run)
    task = history.task or run.config().task
    if not find_task(task).answers:
        raise ConfigError(
            Fault(
                "review",
                "a classifier answers with labels, which are right or wrong: there is nothing to "
                "judge blind",
                "`ftev-tui flips RUN` shows the rows that it fixed and broke",
            )
        )
    if history.finished is None and run.worker_alive():
        raise RunError("the run goes on, and its answers still change. Review it when it has ended")
    answers = dict.fromkeys([*_stored_answers(run, history), *_asked_answers(history)])
    if not answers:
        raise RunError(
            "no answers of both models are stored. Give prompts in [evaluate] prompts before a "
            "run, or ask with `ftev-tui prompt RUN --text T`"
        )
    pairs = [Answers(_identify(*texts), *texts) for texts in answers]
    different = tuple(p for p in pairs if p.base.strip() != p.tuned.strip())
    return Material(different, len(pairs) - len(different))


def _identify(prompt: str, base: str, tuned: str) -> str:
    """A name that does not reveal who said what: the answers go in sorted."""
    key = "\0".join((prompt, *sorted((base, tuned))))
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _stored_answers(run: Run, history: History) -> list[tuple[str, str, str]]:
    """Completions of the held-out rows, where both models' predictions have them."""
    from ...analysis.predictions import read_predictions, stored_splits

    stored = stored_splits(run)
    split = next((s for s in SPLITS if {"base", "tuned"} <= set(stored.get(s, ()))), None)
    if split is None:
        return []
    frames = read_predictions(run, history, split, ["base", "tuned"])
    base, tuned = frames["base"], frames["tuned"]
    asked = next((name for name in ("prompt", "input") if name in base.columns), None)
    if asked is None or not all("completion" in f.columns for f in (base, tuned)):
        return []
    rows = base.select("row_id", asked, "completion").join(
        tuned.select("row_id", tuned="completion"), on="row_id"
    )
    return [
        (_mark_truncated(prompt) if asked == "input" else prompt, *answers)
        for _, prompt, *answers in rows.drop_nulls().sort("row_id").iter_rows()
    ]


def _mark_truncated(text: str) -> str:
    """An input may have been cut where it was stored."""
    from ...analysis.predictions import INPUT_CHARACTERS

    return text if len(text) < INPUT_CHARACTERS else f"{text} …"


def _asked_answers(history: History) -> list[tuple[str, str, str]]:
    """The last answers to each prompt by the model that was kept."""
    kept = history.best_step
    last = {
        p.prompt: (p.prompt, p.base, p.tuned)
        for p in history.prompts
        if (kept is None or p.step == kept) and p.base.strip() and p.tuned.strip()
    }
    return list(last.values())


class Review:
    """One reviewer's way through the pairs of a run; every judgement is written at once."""

    def __init__(self, run: Run, reviewer: str = "reviewer", seed: int = 0) -> None:
        self._path, self._seed, self.reviewer = run.path / FILE, seed, reviewer
        who = hashlib.blake2b(reviewer.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        self._lock = Lock(run.path / f".review-{who}.lock")
        pairs = find_pairs(run).pairs
        self._answers = {
            p.pair: p for p in sorted(pairs, key=lambda p: _draw("order", seed, reviewer, p.pair))
        }
        self._judged = {
            name: judgement
            for (who, name), judgement in last_words(read_judgements(run)).items()
            if who == reviewer and name in self._answers
        }

    def hold(self) -> None:
        """Judge alone under this name, until `release`: the last word is what counts.

        Raises HeldError where another process judges under it, RunError where nothing can be
        written.
        """
        if holder := self._lock.take():
            what = f"{self.reviewer} is judging this run already: {holder}"
            raise HeldError(Fault("", what, "Leave that review, or judge under another --reviewer"))

    def release(self) -> None:
        self._lock.release()

    @property
    def count(self) -> int:
        return len(self._answers)

    @property
    def judged(self) -> int:
        return len(self._judged)

    def next(self) -> BlindPair | None:
        """The first pair that is not judged yet, in the order of this reviewer."""
        name = next((name for name in self._answers if name not in self._judged), None)
        return self.show(name) if name is not None else None

    def waiting(self) -> list[BlindPair]:
        return [self.show(name) for name in self._answers if name not in self._judged]

    def show(self, name: str) -> BlindPair:
        found = self._answers[name]
        sides = [found.base, found.tuned]
        if tuned_is_left(self._seed, self.reviewer, name):
            sides.reverse()
        return BlindPair(name, found.prompt, *sides)

    def judge(self, name: str, choice: Choice, ratings: Ratings | None = None) -> None:
        self._write(name, choice, {side: given for side, given in (ratings or {}).items() if given})

    def undo(self) -> str | None:
        """Take the last judgement of this reviewer back; the pair is asked again."""
        if not self._judged:
            return None
        name = list(self._judged)[-1]
        self._write(name, "undo", {})
        return name

    def _write(self, name: str, choice: Choice, ratings: Ratings) -> None:
        judgement = Judgement(
            pair=name,
            reviewer=self.reviewer,
            seed=self._seed,
            choice=choice,
            ratings=ratings,
            time=time.time(),
        )
        append(self._path, judgement)
        self._judged.pop(name, None)
        if choice != "undo":
            self._judged[name] = judgement


def check_reviewer(name: str) -> None:
    """Raises ConfigError for a name that cannot stand in reviews.jsonl."""
    remedy = "Give a name with --reviewer"
    if not name.strip():
        raise ConfigError(Fault("--reviewer", "is empty", remedy))
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigError(Fault("--reviewer", "is not valid UTF-8", remedy)) from None


def check_writable(run: Run) -> None:
    """Before anybody judges: raises RunError where no judgement could be written."""
    path = run.path / FILE
    made = not os.path.lexists(path)
    try:
        path.open("ab").close()
        if made:
            path.unlink()
    except OSError as error:
        raise RunError(
            Fault(str(path), f"cannot be written: {error.strerror}", "Judge a copy of the run")
        ) from None


def append(path: Path, judgement: Judgement) -> None:
    """One whole line, out of this process at once. A line that a killed one left half is closed.

    Reviewers who judge at the same time wait for each other's line.
    """
    line = msgspec.json.encode(judgement) + b"\n"
    try:
        with path.open("a+b") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
    except OSError as error:
        raise cannot_write(path, error.errno or errno.EIO, len(line), "judge it again") from None


def read_judgements(run: Run) -> list[Judgement]:
    """Every whole line of reviews.jsonl; empty where nobody has judged.

    Raises RunError where the file is there and cannot be read.
    """
    return _read_lines(run)[0]


def count_broken_lines(run: Run) -> int:
    """Lines of reviews.jsonl that hold no judgement and are left out."""
    return _read_lines(run)[1]


def _read_lines(run: Run) -> tuple[list[Judgement], int]:
    path = run.path / FILE
    try:
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise RunError(
            Fault(str(path), f"cannot be read: {error.strerror}", "Move it away to begin anew")
        ) from None
    found = []
    for line in lines:
        try:
            found.append(decode_json(line, Judgement))
        except ValueError:
            continue
    return found, len(lines) - len(found)


def last_words(judgements: Iterable[Judgement]) -> dict[tuple[str, str], Judgement]:
    """What each reviewer last said of each pair, in that order; what was undone is gone."""
    found: dict[tuple[str, str], Judgement] = {}
    for judgement in judgements:
        key = judgement.reviewer, judgement.pair
        found.pop(key, None)
        if judgement.choice != "undo":
            found[key] = judgement
    return found


def reviewers_of(judgements: Sequence[Judgement]) -> list[str]:
    """The reviewers, in the order of their first judgement."""
    return list(dict.fromkeys(j.reviewer for j in judgements))
