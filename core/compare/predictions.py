"""Predictions as other tools write them: one file, or two of the same rows, as frames of base and
tuned.

A reader of a harness's own files turns them into the same columns as anybody's table: id, truth,
one column per model, and what else there is of text, group and probabilities.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ..config.config import DataConfig
from ..data.columns import reading_of
from ..data.faults import Faults
from ..data.joined import as_text
from ..data.sources import find_source, read_source
from ..errors import DataError, Fault

IDS = ("id", "row_id", "doc_id", "idx", "index", "uid", "guid")
TRUTHS = ("truth", "label", "target", "reference", "gold", "expected", "ground_truth", "answer")
ANSWERS = (
    "prediction",
    "predicted",
    "pred",
    "predict",
    "tuned",
    "output",
    "completion",
    "response",
)
TEXTS = ("text", "input", "prompt", "question", "sentence")
GROUPS = ("group", "cluster", "session", "user")
PROBABILITIES = ("probability", "prob", "confidence", "score_positive")
SHOWN_IDS = 5
MOST_BYTES = 2 << 30  # of one file, unpacked
ZSTD = 93  # a compression method of zip members, which recent writers use


@dataclass(frozen=True)
class Predictions:
    """Rows as they were read. `table` has `id` (text), `truth`, and for each model M a column M and
    perhaps `M_probability` or `M:LABEL`; `text` and `group` where there are any.
    """

    table: pl.DataFrame
    models: tuple[str, ...]  # base and tuned, or tuned alone
    kind: str = ""  # "choices", "answers" or "scores", where the file says so
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    sha256: str = ""
    more: tuple[str, ...] = field(default=())  # columns that rows can be sliced by


def read_predictions(paths: Sequence[str]) -> Predictions:
    """Of one file with both models, or of two with one each, paired by id. Raises DataError."""
    sides = [_read(path) for path in paths]
    if len(sides) == 1:
        return _of_one(sides[0], paths[0])
    return _paired(sides, paths)


def predictions_of(frame: pl.DataFrame) -> Predictions:
    """The same of a table that is there already. Raises DataError."""
    plain = frame.with_columns(
        pl.col(name).map_elements(json.dumps, return_dtype=pl.String)
        for name, kind in frame.schema.items()
        if kind == pl.Object
    )
    return _of_one(_Side(plain, ""), "the frame")


@dataclass(frozen=True)
class _Side:
    """One file as a table of named columns."""

    frame: pl.DataFrame
    sha256: str
    kind: str = ""
    must_agree: tuple[str, ...] = ()  # columns that are the same of one row in both files
    may_differ: Mapping[str, str] = field(default_factory=dict)  # column -> what it is, if other


def _read(path: str) -> _Side:
    if path.endswith(".eval") or _is_zip(path):
        return _read_inspect(path)
    side = _read_table(path)
    names = set(side.frame.columns)
    if {"doc_id", "doc_hash", "filter"} <= names:
        return _from_lm_eval(side, path)
    if {"prompt", "predict", "label"} <= names:  # LLaMA-Factory
        renamed = side.frame.rename({"predict": "prediction", "label": "truth", "prompt": "text"})
        return _Side(renamed, side.sha256, "answers")
    return side


def _read_table(path: str) -> _Side:
    fatal, bad = Faults("--file"), Faults("--file")
    source = find_source(path, "test", Path.cwd(), fatal)
    reading = reading_of(DataConfig(test=path), "classification", ())
    table = read_source(source, reading, fatal, bad) if source else None
    if table is None or fatal.total or bad.total:
        raise DataError(*fatal.listing(), *bad.listing())
    columns = [
        column if column.dtype != pl.Object else pl.Series(name, [*map(_plain, column)])
        for name, column in table.columns.items()
    ]
    return _Side(pl.DataFrame(columns), table.sha256)


def _plain(value: object) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def _is_zip(path: str) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except OSError:
        return False


def _find(frame: pl.DataFrame, names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in frame.columns}
    return next((lower[name] for name in names if name in lower), None)


def _named(side: _Side, path: str, models: Mapping[str, str]) -> pl.DataFrame:
    """The columns by their roles. `models`: of each model the column of its answers."""
    frame = side.frame
    truth = _find(frame, [t for t in TRUTHS if t not in models.values()])
    if truth is None and side.kind != "scores":
        raise _asks(path, frame, "which column is the truth", "truth")
    found: dict[str, pl.Series] = {}
    name = _find(frame, IDS)
    ids = as_text(frame[name]) if name else pl.Series(map(str, range(frame.height)))
    found["id"] = _without_point(ids)
    if truth is not None:
        texts = as_text(frame[truth]).str.strip_chars()
        found["truth"] = texts.set(texts == "", None) if side.kind != "answers" else texts
    for model, column in models.items():
        scores = frame[column].cast(pl.Float64, strict=False)
        found[model] = scores if side.kind == "scores" else as_text(frame[column])
        own = [f"{model}_{p}" for p in PROBABILITIES] + [*PROBABILITIES] * (len(models) == 1)
        if probability := _find(frame, own):
            found[f"{model}_probability"] = frame[probability].cast(pl.Float64, strict=False)
        for wide in frame.columns:
            if wide.startswith((f"{model}:", ":")):
                label = wide.partition(":")[2]
                found[f"{model}:{label}"] = frame[wide].cast(pl.Float64, strict=False)
    for role, names in (("text", TEXTS), ("group", GROUPS)):
        there = _find(frame, names)
        if there is not None and there not in models.values():
            found[role] = as_text(frame[there])
    taken = {name, truth, *models.values()}
    for other in frame.columns:
        if (
            other.lower() not in {*found, *TEXTS, *GROUPS}
            and other not in taken
            and ":" not in other
        ):
            found[f"more:{other}"] = frame[other]
    return pl.DataFrame({key: column.alias(key) for key, column in found.items()})


def _without_point(ids: pl.Series) -> pl.Series:
    """7 and 7.0 are one id: a column with a gap is read as floats."""
    return ids.str.replace(r"^(-?\d+)\.0$", "${1}")


def _of_one(side: _Side, path: str) -> Predictions:
    frame = side.frame
    models = {m: column for m in ("base", "tuned") if (column := _find(frame, [m]))}
    if "tuned" not in models:
        answer = _find(frame, ANSWERS)
        if answer is None:
            raise _asks(path, frame, "which column holds the predictions", "tuned (and base)")
        models["tuned"] = answer
    table = _named(side, path, models)
    _check_ids(table, path)
    notes = [] if "base" in models else ["there is no base: the model is judged by itself"]
    sources = (path,) if side.sha256 else ()
    return _made(table, tuple(models), side.kind, notes, sources, side.sha256)


def _paired(sides: Sequence[_Side], paths: Sequence[str]) -> Predictions:
    tables = []
    for side, path, model in zip(sides, paths, ("base", "tuned"), strict=True):
        answer = _find(side.frame, [model, *ANSWERS])
        if answer is None:
            raise _asks(path, side.frame, "which column holds the predictions", "prediction")
        table = _named(side, path, {model: answer})
        _check_ids(table, path)
        tables.append(table)
    if not any(_find(side.frame, IDS) for side in sides) and tables[0].height != tables[1].height:
        what = (
            f"has {tables[1].height:,} rows, and {paths[0]} {tables[0].height:,}; neither has ids"
        )
        raise DataError(Fault(paths[1], what, "Give both files a column id"))
    _check_same_ids(tables, paths)
    second = tables[0].select("id").join(tables[1], on="id", how="left", maintain_order="left")
    notes = _check_agreement(sides, tables[0], second, paths)
    added = second.select([c for c in second.columns if c not in tables[0].columns])
    table = tables[0].hstack(added)
    kind = sides[0].kind if sides[0].kind == sides[1].kind else ""
    digest = "".join(side.sha256[:32] for side in sides)
    return _made(table, ("base", "tuned"), kind, notes, tuple(paths), digest)


def _made(
    table: pl.DataFrame,
    models: tuple[str, ...],
    kind: str,
    notes: Sequence[str],
    sources: tuple[str, ...],
    sha256: str,
) -> Predictions:
    more = [c for c in table.columns if c.startswith("more:")]
    table = table.rename({c: c.removeprefix("more:") for c in more})
    names = tuple(c.removeprefix("more:") for c in more)
    return Predictions(table, models, kind, tuple(notes), sources, sha256, names)


def _check_ids(table: pl.DataFrame, path: str) -> None:
    ids = table["id"]
    if not table.height:
        raise DataError(Fault(path, "has no rows", "Name the file of predictions"))
    if empty := ids.null_count():
        raise DataError(Fault(path, f"has no id in {empty:,} rows", "Give each row an id"))
    if ids.n_unique() < len(ids):
        twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
        what = f"names {len(twice):,} ids more than once: {_some(twice)}"
        raise DataError(Fault(path, what, "Keep one prediction of each row"))


def _check_same_ids(tables: Sequence[pl.DataFrame], paths: Sequence[str]) -> None:
    faults = []
    for i, j in ((0, 1), (1, 0)):
        missing = tables[i].filter(~pl.col("id").is_in(tables[j]["id"].implode()))["id"]
        if len(missing):
            what = f"lacks {len(missing):,} rows of {paths[i]}: {_some(missing)}"
            faults.append(Fault(paths[j], what, "Predict the same rows with both models"))
    if faults:
        raise DataError(*faults)


def _check_agreement(
    sides: Sequence[_Side], a: pl.DataFrame, b: pl.DataFrame, paths: Sequence[str]
) -> list[str]:
    """What must be the same of a row in both files; notes on what may differ, and does."""
    for column in ("truth", *(f"more:{c}" for c in sides[0].must_agree)):
        if column in a.columns and column in b.columns:
            other = a["id"].filter(a[column].ne_missing(b[column]))
            if len(other):
                name = column.removeprefix("more:")
                what = f"{name} differs from {paths[0]} in {len(other):,} rows: {_some(other)}"
                raise DataError(Fault(paths[1], what, "Both files must be of the same rows"))
    notes: list[str] = []
    for column, words in sides[0].may_differ.items():
        name = f"more:{column}"
        if name in a.columns and name in b.columns:
            count = int(a[name].ne_missing(b[name]).sum())
            if count:
                notes.append(f"{words} differs in {count:,} of {a.height:,} rows")
    return notes


def _some(ids: pl.Series) -> str:
    shown = ", ".join(ids.head(SHOWN_IDS).to_list())
    return f"{shown}, …" if len(ids) > SHOWN_IDS else shown


def _asks(path: str, frame: pl.DataFrame, what: str, name: str) -> DataError:
    columns = ", ".join(frame.columns[:30])
    return DataError(
        Fault(path, f"{what} is not clear", f"Call it {name}; its columns are {columns}")
    )


# Harnesses


def _from_lm_eval(side: _Side, path: str) -> _Side:
    """`samples_*.jsonl`: a line per document and filter; choices with likelihoods, or answers."""
    frame = side.frame
    filters = frame["filter"].unique(maintain_order=True).to_list()
    if len(filters) > 1:
        frame = frame.filter(pl.col("filter") == filters[-1])
    rows = frame.to_dicts()
    made = [_lm_eval_row(row) for row in rows]
    choices = all("likelihoods" in m for m in made)
    columns: dict[str, list[Any]] = {
        "id": [str(row["doc_id"]) for row in rows],
        "truth": [m["truth"] for m in made],
        "prediction": [m["prediction"] for m in made],
        "text": [m["text"] for m in made],
        "doc_hash": [str(row["doc_hash"]) for row in rows],
        "prompt_hash": [str(row.get("prompt_hash")) for row in rows],
    }
    if choices:
        width = max(len(m["likelihoods"]) for m in made)
        for i in range(width):
            columns[f":{i}"] = [_softmax(m["likelihoods"], i) for m in made]
    kind = "choices" if choices else "answers"
    prompts = {"prompt_hash": "the prompt (template or examples)"}
    return _Side(pl.DataFrame(columns), side.sha256, kind, ("doc_hash",), prompts)


def _lm_eval_row(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"text": _text_of(_parsed(row.get("doc")))}
    answers = _parsed(row.get("filtered_resps"))
    target = str(_parsed(row["target"]) if row.get("target") is not None else "")
    pairs = _parsed(row.get("resps")) if not isinstance(answers, list) else answers
    scores = [_first_number(a) for a in pairs] if isinstance(pairs, list) else []
    if len(scores) > 1 and all(s is not None for s in scores):
        best = max(range(len(scores)), key=lambda i: scores[i] or -math.inf)
        return found | {"truth": target, "prediction": str(best), "likelihoods": scores}
    first = answers[0] if isinstance(answers, list) and answers else answers
    return found | {"truth": target, "prediction": str(first if first is not None else "")}


def _parsed(value: object) -> Any:
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _first_number(answer: object) -> float | None:
    while isinstance(answer, list) and answer:
        answer = answer[0]
    try:
        return float(answer) if isinstance(answer, int | float | str) else None
    except ValueError:
        return None


def _text_of(doc: object) -> str:
    if isinstance(doc, dict):
        named = next(
            (doc[k] for k in (*TEXTS, "query", "context") if isinstance(doc.get(k), str)), None
        )
        return str(named) if named is not None else json.dumps(doc, ensure_ascii=False)
    return str(doc or "")


def _softmax(values: Sequence[float], place: int) -> float:
    if place >= len(values):
        return 0.0
    most = max(values)
    return math.exp(values[place] - most) / sum(math.exp(v - most) for v in values)


VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}  # of inspect's scores


def _read_inspect(path: str) -> _Side:
    """An `.eval` log: its summaries are enough. Several epochs of a sample are averaged first."""
    try:
        data = Path(path).read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}  # the last one wins
            info = members.get("summaries.json")
            if info is None:
                raise DataError(
                    Fault(path, "holds no summaries.json", "Let the evaluation end first")
                )
            text = _unpacked(archive, info)
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise DataError(Fault(path, f"cannot be read: {error}")) from None
    try:
        samples = json.loads(text)
    except ValueError as error:
        raise DataError(Fault(path, f"summaries.json cannot be read: {error}")) from None
    scored: dict[str, list[tuple[float, str, str]]] = {}
    for sample in samples if isinstance(samples, list) else []:
        value = _inspect_value(sample.get("scores"))
        if value is not None:
            text_of = _text_of(sample.get("input"))
            scored.setdefault(str(sample.get("id")), []).append(
                (value, text_of, str(sample.get("target")))
            )
    if not scored:
        raise DataError(Fault(path, "holds no scored sample"))
    frame = pl.DataFrame(
        {
            "id": list(scored),
            "prediction": [sum(v for v, *_ in own) / len(own) for own in scored.values()],
            "text": [own[0][1] for own in scored.values()],
            "target": [own[0][2] for own in scored.values()],
        }
    )
    from hashlib import sha256

    return _Side(frame, sha256(data).hexdigest(), "scores", ("target",))


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MOST_BYTES:
        raise DataError(Fault(info.filename, f"would take {info.file_size:,} bytes"))
    if info.compress_type != ZSTD:
        return archive.read(info)
    try:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        from backports import zstd
    assert archive.fp is not None
    archive.fp.seek(info.header_offset + 26)  # its name and extra field stand before the data
    head = archive.fp.read(4)
    skipped = int.from_bytes(head[:2], "little") + int.from_bytes(head[2:], "little")
    archive.fp.seek(info.header_offset + 30 + skipped)
    packed = archive.fp.read(info.compress_size)
    return bytes(zstd.decompress(packed))


def _inspect_value(scores: object) -> float | None:
    """Of the first scorer: a letter, a number, or whether it is right."""
    if not isinstance(scores, dict) or not scores:
        return None
    first = next(iter(scores.values()))
    value = first.get("value") if isinstance(first, dict) else first
    if isinstance(value, str):
        return VALUES.get(value)
    return float(value) if isinstance(value, int | float) else None
