"""The one tree of errors. Each text says what is wrong, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with what the user gave us."""

    where: str  # "train.csv:17" or "run.toml:4 train.epochs"
    what: str
    remedy: str = ""
    setting: str = ""  # "train.epochs": the one to change; empty where it is about none
    missing: bool = False  # the setting must be given, and is not

    @classmethod
    def of(cls, setting: str, what: str, remedy: str = "") -> Fault:
        """A fault of a setting that is named by itself: its place in a file comes later, if any."""
        return cls(setting, what, remedy, setting)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.remedy}" if self.remedy else text


class FtevError(Exception):
    """Anything a person can act upon. `exit_code` is what the command line returns for it."""

    exit_code = 1

    def __init__(self, *faults: Fault | str) -> None:
        self.faults = tuple(f if isinstance(f, Fault) else Fault("", f) for f in faults)
        super().__init__("\n".join(map(str, self.faults)))


class ConfigError(FtevError):
    """The configuration or the command line cannot be used."""

    exit_code = 2


class DataError(FtevError):
    """A data file cannot be used."""

    exit_code = 2


class ModelError(FtevError):
    """A model or tokenizer cannot be loaded or does not fit the task."""


class RunError(FtevError):
    """A run directory or its worker is not in the state that was asked for."""


class NoEngineError(RunError):
    """Something needs torch, which is not installed here."""

    exit_code = 2


class HeldError(RunError):
    """Another process holds what was asked for, and is named."""


class LateError(RunError):
    """A worker was asked, and has not answered in time; it may still do what it was asked."""
