"""What the ranks of a run do that are not the first, and whether all work on the same.

They carry out the orders of the first until the run is over. Nodes read files of the same name,
which need not be the same files, nor be so later: what each rank has read is compared on the first.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .... import __version__
from ...errors import ConfigError, DataError, Fault
from ...run.history import read_history
from ...run.runs import file_sha256
from ..models.models import Loaded
from ..scoring.splits import features_share, score_share
from ..training.best import Best
from ..training.checkpoints import checkpoint_path, save_checkpoint
from ..training.train import TakenStep, load_weights, read_steps, start_training, train
from ..training.trainer import Trainer
from ..worker.session import Session

AS_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
BLOCK = 1 << 22  # elements at once: 32 MiB for each of three tensors
SAME_FILES = "Every node must see the same files under the same paths, and have the same ftev"


def compare_inputs(s: Session) -> None:
    """Version, configuration and rows. Every rank has to call it; the first raises ConfigError."""
    if s.ranks.alone:
        return
    found = {"ftev": __version__, "run.toml": file_sha256(s.run.path / "run.toml")}
    for name, split in s.dataset.splits.items():
        rows = hashlib.sha256(split.frame["row_id"].to_numpy().tobytes()).hexdigest()
        found[f"{name} split"] = f"{split.sha256} {rows}"
    _refuse_other(s, found)


def compare_with_before(s: Session, step: int) -> None:
    """A resumed run goes on with the rows of its first steps (T4). Raises DataError otherwise."""
    changed = read_history(s.run).changed_data(s.dataset.hashes())
    trained_on = [s.dataset.splits[name] for name in changed if name != "test"]
    if trained_on:
        files = ", ".join(dict.fromkeys(file for split in trained_on for file in split.sources))
        what = f"changed after step {step:,}: this run cannot go on with other rows"
        remedy = "Put back what was there, or start a new run"
        raise DataError(Fault(files, what, remedy))


def compare_weights(s: Session, loaded: Loaded) -> None:
    """A model and its tokenizer, as they are loaded; otherwise as `compare_inputs`."""
    if not s.ranks.alone:
        tokenizer, weights = hash_of_tokenizer(loaded), hash_of_weights(loaded)
        _refuse_other(s, {"tokenizer": tokenizer, "model": weights})


def _refuse_other(s: Session, found: dict[str, str]) -> None:
    inputs = s.ranks.gather((socket.gethostname(), found))
    faults = []
    for rank, (host, its) in enumerate(inputs):
        if other := [name for name in {**found, **its} if its.get(name) != found.get(name)]:
            what = f"its {' and '.join(other)} are not those of rank 0"
            if len(other) == 1:
                what = f"its {other[0]} is not that of rank 0"
            faults.append(Fault(f"rank {rank} of {s.ranks.world} on {host}", what, SAME_FILES))
    if faults:
        raise ConfigError(*faults)


def hash_of_weights(loaded: Loaded) -> str:
    """Of names, shapes and a sum of each tensor's bits: one pass, the same on every device."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        hasher.update(
            f"{name} {tuple(tensor.shape)} {tensor.dtype} {_sum_of_bits(tensor)}".encode()
        )
    return hasher.hexdigest()


def _sum_of_bits(tensor: Tensor) -> int:
    """Each element's bits as an integer times an odd number of its place, modulo 2 to the 64."""
    bits = tensor.detach().contiguous().view(AS_INTEGERS[tensor.element_size()]).flatten()
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    for start in range(0, len(bits), BLOCK):
        part = bits[start : start + BLOCK].long()
        places = torch.arange(start, start + len(part), device=bits.device)
        total += (part * (2 * places + 1)).sum()
    return int(total)


def hash_of_tokenizer(loaded: Loaded) -> str:
    """Of vocabulary and chat template; of a fast tokenizer its rules of splitting too."""
    fast = getattr(loaded.tokenizer, "backend_tokenizer", None)
    read = fast.to_str() if fast is not None else repr(sorted(loaded.tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{read}{loaded.tokenizer.chat_template}".encode()).hexdigest()


@dataclass
class Follower:
    """A rank at work: each method but `follow` is an order."""

    s: Session
    chapters: dict[str, Callable[[Session], None]]  # parts of the story that are the same for all
    t: Trainer = field(init=False)
    steps: Iterator[TakenStep] = field(init=False)
    pending: list[TakenStep] = field(default_factory=list)

    def follow(self) -> None:
        while (order := self.s.ranks.receive()).name != "end":
            chapter = self.chapters.get(order.name)
            if chapter is not None:
                chapter(self.s)
            else:
                getattr(self, order.name)(*order.values)

    def _model(self, name: str) -> Loaded:
        return self.s.tuned if name == "tuned" else self.s.base

    def score(self, model: str, split: str, precision: str) -> None:
        score_share(self.s, self._model(model), split, model, precision)

    def features(self, split: str) -> None:
        features_share(self.s, split)

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
