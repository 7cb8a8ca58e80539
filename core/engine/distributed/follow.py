"""What the other ranks of a run do: as the first one says, until it says that the run is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..models.models import Loaded
from ..training.checkpoints import Best, checkpoint_path, save_checkpoint
from ..training.fine_tune import load_weights, start_training
from ..training.train import Stepped, Trainer, sum_losses, train
from ..training.validate import score_share
from ..worker.session import Session
from .shares import read_features


@dataclass
class Follower:
    """A rank at work: each method but `follow` is an order."""

    s: Session
    chapters: dict[str, Callable[[Session], None]]  # parts of the story that are the same for all
    t: Trainer = field(init=False)
    steps: Iterator[Stepped] = field(init=False)
    pending: list[Stepped] = field(default_factory=list)

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
        sum_losses(self.s.ranks, self.pending)
        self.pending = []

    def gather_weights(self) -> None:
        self.t.spread.gather_weights()

    def scatter_weights(self) -> None:
        self.t.spread.scatter_weights()

    def save_checkpoint(self) -> None:
        save_checkpoint(self.s.run, self.t, Best())

    def load_weights(self, step: int) -> None:
        load_weights(self.s, checkpoint_path(self.s.run, step))
