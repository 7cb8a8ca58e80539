"""Prompts answered by an earlier checkpoint of the run."""

from __future__ import annotations

import os
from copy import copy

from ...errors import RunError
from ...run.control import Request
from ..models.devices import free_memory
from ..models.models import Loaded
from ..training.checkpoints import checkpoint_path
from ..worker.session import Session


def step_asked(s: Session, asked: Request) -> int:
    """The step whose weights answer."""
    checkpoint: int | None = getattr(asked, "checkpoint", None)
    return s.step if checkpoint is None else checkpoint


def at_checkpoint(s: Session, asked: Request) -> Session:
    """The session with the weights of the checkpoint that is asked; the last one stays loaded.

    The base, the labels and the form of prompts stay those of the run; so does the model in
    training, which is not touched. RunError where the checkpoint was not kept.
    """
    step = step_asked(s, asked)
    if step == s.step:
        return s
    path = checkpoint_path(s.run, step)
    if not os.path.isdir(path):
        s.earlier = None
        raise RunError(f"the checkpoint of step {step:,} was not kept: its folder is gone")
    then = copy(s)
    then.keep_base(s.base)
    if s.earlier is None or s.earlier[0] != step:
        s.earlier = None  # before the next: two of them would take twice the memory
        s.earlier = step, s.load(str(path))
    then.tuned = s.earlier[1]
    then.step = step
    return then


def make_room_for_training(s: Session) -> None:
    """Let go of the earlier checkpoint unless as much memory again is free, and say why."""
    if s.earlier is None:
        return
    step, loaded = s.earlier
    takes, free = _bytes_of(loaded), free_memory(s.device)
    if free is None or free < takes:
        s.earlier = None
        left = "how much is free is not known" if free is None else f"{_mib(free)} are free"
        s.note(
            f"the checkpoint of step {step:,} does not stay loaded beside training: it takes "
            f"{_mib(takes)} of {s.device} and {left}. It is loaded anew when it is asked"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _bytes_of(loaded: Loaded) -> int:
    return sum(p.numel() * p.element_size() for p in loaded.model.parameters())
