"""What the other ranks of a run do: they carry out the orders of the first until it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..models.models import Loaded
from ..scoring.splits import read_features, score_share
from ..training.best import Best
from ..training.checkpoints import checkpoint_path, save_checkpoint
from ..training.train import TakenStep, load_weights, read_steps, start_training, train
from ..training.trainer import Trainer
from ..worker.session import Session


@dataclass
class Follower:
    """A rank at work: each method but `follow` is an order."""

    s: Session
    chapters: dict[str, Callable[[Session], None]]  # parts of the story that are the same for all
    t: Trainer = field(init=False)
    steps: Iterator[TakenStep] = field(init=False)
    pending: list[TakenStep] = field(default_factory=list)

    def follow(self) -> None:
        while (order := self.s.ranks.hear()).name != "end":
            chapter = self.chapters.get(order.name)
            if chapter is not None:
                chapter(self.s)
            else:
                getattr(self, order.name)(*order.values)

    def _model(self, name: str) -> Loaded:
        return self.s.tuned if name == "tuned" else self.s.base

    def score(self, model: str, split: str) -> None:
        score_share(self.s, self._model(model), split, model)

    def features(self, model: str, split: str) -> None:
        read_features(self.s, self._model(model), split)

    def start_training(self, resumed: int | None) -> None:
        resume = None if resumed is None else checkpoint_path(self.s.run, resumed)
        self.t, _ = start_training(self.s, resume)
        self.steps = train(self.t)

    def step(self) -> None:
        self.pending += [step for step in [next(self.steps, None)] if step is not None]

    def sum_losses(self) -> None:
        read_steps(self.pending, self.s.ranks)
        self.pending = []

    def gather_weights(self) -> None:
        self.t.spread.gather_weights()

    def scatter_weights(self) -> None:
        self.t.spread.scatter_weights()

    def save_checkpoint(self) -> None:
        save_checkpoint(self.s.run, self.t, Best())

    def load_weights(self, step: int) -> None:
        load_weights(self.s, checkpoint_path(self.s.run, step))
