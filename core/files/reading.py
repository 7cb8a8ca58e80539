"""Files from elsewhere: TOML and JSON that cannot be read, weights and adapters before a load.

A decoder may raise much: bytes that are no UTF-8, brackets thousands deep, numbers beyond 64 bits,
another type than the one that was asked for. All of it means the same to who reads the file.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import ConfigError, Fault, FtevError, ModelError, RunError

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


def decode_toml(text: str) -> dict[str, object]:
    """Raises ValueError for whatever is not TOML."""
    import tomllib  # settings are read after the first paint

    try:
        return tomllib.loads(text)
    except BROKEN as error:
        raise ValueError(reason(error)) from None


def read_toml(path: Path) -> tuple[dict[str, object], str]:
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
    """Raises RunError about `path` for what well-formed facts raise that do not fit together.

    Results are plain values whose keys a damaged byte may have changed: any lookup may then fail,
    and any sum. Other errors are faults of ftev's own and pass.
    """
    try:
        yield
    except FtevError:
        raise
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise RunError(Fault(str(error.filename or path), what, MEND)) from error
    except Exception as error:
        if not _is_of_data(error):
            raise
        what = f"holds facts that do not fit together ({type(error).__name__}: {reason(error)})"
        raise RunError(Fault(str(path), what, MEND)) from error


def _is_of_data(error: Exception) -> bool:
    """Whether values can raise this: keys, ranges and sums; polars is not imported to be asked."""
    by_polars = type(error).__module__.partition(".")[0] == "polars"
    return by_polars or isinstance(error, (*BROKEN, LookupError, ArithmeticError))


SAFE = ".safetensors"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
LARGEST_HEADER = 100 << 20  # bytes, as the library has it
CONVERT = (
    "Load it where its source is trusted and save it again as safetensors: "
    "save_pretrained(folder, safe_serialization=True)"
)
_HEADS_OF_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def check_model(folder: Path) -> None:
    """Raises ModelError where the weights of a folder are a pickle, or cannot be whole."""
    if (folder / SINGLE).exists():
        check_file(folder / SINGLE)
    elif (folder / INDEX).exists():
        for name in sorted(_shards(folder / INDEX)):
            check_file(folder / name)
    else:
        refuse_pickles(folder)


def check_adapter(folder: Path) -> None:
    """The same of a folder with an adapter."""
    if (folder / ADAPTER).exists():
        check_file(folder / ADAPTER)
    else:
        refuse_pickles(folder)


def refuse_pickles(folder: Path) -> None:
    """Raises ModelError where a folder holds any pickle of weights."""
    found = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
    if found:
        raise pickled(folder / found[0])


def pickled(path: Path | str) -> ModelError:
    """The error for a pickle of weights, with how to convert it."""
    what = "is a pickle, which can run any code when it is loaded; only safetensors are read"
    return ModelError(Fault(str(path), what, CONVERT))


def _shards(index: Path) -> set[str]:
    try:
        weights = read_json(index, dict[str, object]).get("weight_map")
    except RunError as error:
        raise ModelError(*error.faults) from None
    if not isinstance(weights, dict):
        raise ModelError(Fault(str(index), "names no files of weights"))
    names: set[str] = set()
    for name in weights.values():
        if not isinstance(name, str) or os.path.basename(name) != name:
            what = f"names {name!r}, which is no file of its folder"
            raise ModelError(Fault(str(index), what, "Copy the whole model again"))
        if not name.endswith(SAFE):
            raise pickled(index.parent / name)
        names.add(name)
    return names


def check_file(path: Path) -> None:
    """Raises ModelError where a file is no whole safetensors file, by its header and its size."""
    if damage := find_damage(path):
        if _begins_as_pickle(path):
            raise pickled(path)
        raise ModelError(Fault(str(path), damage, "Copy the whole file again"))


def find_damage(path: Path) -> str:
    """What is wrong with a safetensors file, by its header and its size; empty where nothing is."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                return "has no header of a safetensors file"
            header = decode_json(file.read(length), dict[str, dict[str, Any]])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"]
        wanted = 8 + length + max(ends, default=0)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, LookupError, TypeError, struct.error):
        return "has no header of a safetensors file"
    return "" if size == wanted else f"has {size:,} bytes, and its header names {wanted:,}"


def _begins_as_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith(_HEADS_OF_PICKLES)


def weights_in(folder: Path) -> Iterator[Path]:
    """The safetensors files of a folder, by name."""
    yield from sorted(folder.glob(f"*{SAFE}"))


@dataclass(frozen=True)
class SavedAdapter:
    """A folder with an adapter. `base`: as it was saved, a path or a hub id; empty if unnamed."""

    folder: Path
    base: str
    revision: str | None
    config: dict[str, object]  # as peft wrote it

    @property
    def has_base(self) -> bool:
        """Whether its base can be looked for here: a folder that is there, or a hub's name."""
        is_hub_id = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", self.base) is not None
        return bool(self.base) and (os.path.isdir(self.base) or is_hub_id)

    @property
    def is_lora(self) -> bool:
        return str(self.config.get("peft_type", "LORA")).upper() == "LORA"

    def settings(self) -> dict[str, Any]:
        """Its LoRA settings under the names of [model.lora]."""
        names = {"r": "r", "lora_alpha": "alpha", "lora_dropout": "dropout"}
        found = {
            ours: self.config[theirs] for theirs, ours in names.items() if theirs in self.config
        }
        targets = self.config.get("target_modules")
        return found | ({"target_modules": sorted(targets)} if isinstance(targets, list) else {})

    def in_words(self) -> str:
        """`r = 8, alpha = 16, dropout = 0.0`."""
        return ", ".join(f"{k} = {v}" for k, v in self.settings().items() if k != "target_modules")


def read_adapter(name: str) -> SavedAdapter | None:
    """The adapter in a folder; None where there is none. Raises ModelError for a damaged one."""
    path = Path(name) / ADAPTER_CONFIG
    if not os.path.exists(path):
        return None
    try:
        config = read_json(path, dict[str, object])
        base, revision = config.get("base_model_name_or_path") or "", config.get("revision")
    except RunError as error:
        raise ModelError(*error.faults) from None
    known = revision if isinstance(revision, str) else None
    return SavedAdapter(path.parent, str(base), known, config)
