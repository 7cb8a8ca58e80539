"""Results and analyses as a run writes them, from the few fields that a test is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from ftev.core.metrics.analyses import ANALYSES
from ftev.core.metrics.results import Comparison, ModelResult
from ftev.core.run.events import AnalysisComputed, ComparisonsComputed, ResultsComputed
from msgspec import inspect

T = TypeVar("T")
NEUTRAL: dict[type, object] = {
    inspect.BoolType: False,
    inspect.IntType: 0,
    inspect.FloatType: 0.0,
    inspect.StrType: "",
    inspect.ListType: [],
    inspect.DictType: {},
}


def record(kind: type[T], plain: Mapping[str, Any]) -> T:
    """A struct from its keys and values as JSON has them; what else it needs is 0 or empty."""
    return msgspec.convert(_filled(inspect.type_info(kind), plain), kind, strict=False)


def results(split: str, model: str, plain: Mapping[str, Any] | ModelResult) -> ResultsComputed:
    if not isinstance(plain, ModelResult):
        plain = record(ModelResult, plain)
    return ResultsComputed(split=split, model=model, result=plain)


def comparisons(plain: Iterable[Mapping[str, Any] | Comparison]) -> ComparisonsComputed:
    found = [c if isinstance(c, Comparison) else record(Comparison, c) for c in plain]
    return ComparisonsComputed(comparisons=found)


def analysis(
    name: str, plain: Mapping[str, Any], split: str = "test", model: str = ""
) -> AnalysisComputed:
    result = record(ANALYSES[name], plain)
    return AnalysisComputed(split=split, name=name, model=model, result=result)


def _filled(kind: inspect.Type, value: Any) -> Any:
    if isinstance(kind, inspect.UnionType):
        kinds = [k for k in kind.types if isinstance(k, inspect.StructType | inspect.ListType)]
        kinds += [k for k in kind.types if isinstance(k, inspect.DictType)]
        return _filled(kinds[0], value) if kinds and value is not None else value
    if isinstance(kind, inspect.StructType) and isinstance(value, Mapping):
        return {
            f.encode_name: _filled(f.type, value[f.encode_name])
            if f.encode_name in value
            else _neutral(f.type)
            for f in kind.fields
            if f.required or f.encode_name in value
        }
    if isinstance(kind, inspect.ListType) and isinstance(value, list | tuple):
        return [_filled(kind.item_type, v) for v in value]
    if isinstance(kind, inspect.DictType) and isinstance(value, Mapping):
        return {k: _filled(kind.value_type, v) for k, v in value.items()}
    return value


def _neutral(kind: inspect.Type) -> Any:
    return _filled(kind, {}) if isinstance(kind, inspect.StructType) else NEUTRAL[type(kind)]
