"""Files that may be damaged: one way to read JSON and TOML, and what is said of facts that misfit.

A decoder may raise much: bytes that are no UTF-8, brackets thousands deep, numbers beyond 64 bits,
another type than the one that was asked for. All of it means the same to who reads the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import ConfigError, Fault, FtevError, RunError

T = TypeVar("T")
BROKEN = (ValueError, msgspec.MsgspecError, RecursionError, OverflowError)
MEND = "Restore it from a copy, or move it away"


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """Raises ValueError for whatever is not JSON of this kind."""
    try:
        found: T = msgspec.json.decode(data, type=kind)
    except BROKEN as error:
        raise ValueError(reason(error)) from None
    return found


def read_json(path: Path, kind: type[T]) -> T:
    """Raises RunError where the file is not there, cannot be read or holds something else."""
    try:
        return decode_json(path.read_bytes(), kind)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except ValueError as error:
        what = f"is damaged: {error}"
    raise RunError(Fault(str(path), what, MEND))


def decode_toml(text: str) -> dict[str, Any]:
    """Raises ValueError for whatever is not TOML."""
    import tomllib  # settings are read after the first paint

    try:
        return tomllib.loads(text)
    except BROKEN as error:
        raise ValueError(reason(error)) from None


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """The tables of a file and its text. Raises ConfigError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(Fault(str(path), "there is no such file")) from None
    except IsADirectoryError:
        raise ConfigError(Fault(str(path), "this is a folder, not a file")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(Fault(str(path), f"cannot be read: {error}")) from None
    try:
        return decode_toml(text), text
    except ValueError as error:
        raise ConfigError(Fault(str(path), f"is not valid TOML: {error}")) from None


def reason(error: BaseException) -> str:
    """What went wrong, on one line."""
    if isinstance(error, RecursionError):
        return "its values are nested too deeply"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def misfits_named(path: Path) -> Iterator[None]:
    """Raises RunError about `path` for whatever facts raise that are well formed and do not fit.

    Results are plain values whose keys a damaged byte may have changed; any lookup may then fail.
    """
    try:
        yield
    except FtevError:
        raise
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise RunError(Fault(str(error.filename or path), what, MEND)) from error
    except Exception as error:
        what = f"holds facts that do not fit together ({type(error).__name__}: {reason(error)})"
        raise RunError(Fault(str(path), what, MEND)) from error
