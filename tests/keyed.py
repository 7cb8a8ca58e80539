"""Records of a run by their keys in report.json, for tests that read them so; no code does."""

from __future__ import annotations

from typing import Any

import msgspec
from ftev.core.metrics.results import Record


def plain(record: Record) -> dict[str, Any]:
    """Its fields that are there, by key; structs inside stay structs."""
    pairs = zip(record.__struct_encode_fields__, record.__struct_fields__, strict=True)
    values = ((key, getattr(record, name)) for key, name in pairs)
    return {k: v for k, v in values if v is not None and v is not msgspec.UNSET}


def install() -> None:
    """Tests may write `result["metrics"]` for `result.metrics`."""
    methods = {
        "__getitem__": lambda self, key: plain(self)[key],
        "__contains__": lambda self, key: key in plain(self),
        "__iter__": lambda self: iter(plain(self)),
        "get": lambda self, key, default=None: plain(self).get(key, default),
        "keys": lambda self: plain(self).keys(),
        "items": lambda self: plain(self).items(),
    }
    for name, method in methods.items():
        setattr(Record, name, method)
