"""Prompts answered by an earlier checkpoint of the run."""

from __future__ import annotations

from copy import copy

from ..control import Request
from ..errors import RunError
from .checkpoints import checkpoint_path
from .session import Session


def step_asked(s: Session, asked: Request) -> int:
    """The step whose weights answer."""
    checkpoint: int | None = getattr(asked, "checkpoint", None)
    return s.step if checkpoint is None else checkpoint


def at_checkpoint(s: Session, asked: Request) -> Session:
    """The session with the weights of the checkpoint that is asked, loaded for this answer alone.

    The base, the labels and the form of prompts stay those of the run; so does the model in
    training, which is not touched. RunError where the checkpoint was not kept.
    """
    step = step_asked(s, asked)
    if step == s.step:
        return s
    path = checkpoint_path(s.run, step)
    if not path.is_dir():
        raise RunError(f"the checkpoint of step {step:,} was not kept: its folder is gone")
    then = copy(s)
    then.keep_base(s.base)
    then.tuned = s.load(str(path))
    then.step = step
    return then
