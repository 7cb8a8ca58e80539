"""Weights of a model folder, looked at before any library opens them: safetensors, and no pickle.

A pickle runs whatever code it names as soon as it is loaded. A library may fall back to one where
the safetensors are missing, or follow an index to one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import Fault, ModelError, RunError
from .decoding import decode_json, read_json

SAFE = ".safetensors"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
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
    found = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
    if found:
        raise pickled(folder / found[0])


def pickled(path: Path | str) -> ModelError:
    what = "is a pickle, which can run any code when it is loaded; only safetensors are read"
    return ModelError(Fault(str(path), what, CONVERT))


def _shards(index: Path) -> set[str]:
    try:
        names = set(read_json(index, dict[str, Any])["weight_map"].values())
    except RunError as error:
        raise ModelError(*error.faults) from None
    except (LookupError, TypeError, AttributeError):
        raise ModelError(Fault(str(index), "names no files of weights")) from None
    for name in names:
        if not isinstance(name, str) or os.path.basename(name) != name:
            what = f"names {name!r}, which is no file of its folder"
            raise ModelError(Fault(str(index), what, "Copy the whole model again"))
        if not name.endswith(SAFE):
            raise pickled(index.parent / name)
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
    yield from sorted(folder.glob(f"*{SAFE}"))
