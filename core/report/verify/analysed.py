"""What the rows say beyond the metrics, made again from the stored rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from ...analysis import ANALYSES, OF_CLEAN_ROWS, Evaluation
from ...analysis.predictions import INPUT_CHARACTERS
from ...data.rows import CHARACTERS, SLICE
from ...judgement.selection import unclean
from ...run.events import spell_numbers
from .recomputed import BY_METHOD
from .stored import (
    ABSENT,
    BROKEN,
    UNCHECKED,
    Check,
    Disagreement,
    StoredRun,
    agreed,
    cannot,
    count_numbers,
    find_disagreements,
    rows_behind,
    suspects,
)

Again = dict[tuple[str, str], object]  # results by analysis and model
Result = Mapping[str, object]
ELSEWHERE = "needs a model, the data files or other runs, and is not checked"
BY_RULE = ("label_errors",)  # an estimate, whose rule has its keys
ANOTHER_RULE = "an earlier version of ftev estimated it by another rule; it is not checked"
BY_ALL_SLICES = ("p_corrected", "correction", "notes")  # depend on how many slices there are


def check_analyses(stored: StoredRun) -> Iterator[Check]:
    """A check for each stored analysis; one that fails where the rows no longer allow them."""
    for split, analyses in stored.history.analyses.items():
        again, broken = analyse_again(stored, split)
        if broken:
            files = suspects(stored, split, stored.frames[unclean(split)])
            yield cannot(f"{split} analyses", files, broken[0])
        why = "cannot be made from the rows as they are" if broken else ELSEWHERE
        for name, models in analyses.items():
            for model, struct in models.items():
                result = spell_numbers(struct)
                what = f"{split} {name} {model}".strip()
                if (name, model) not in again:
                    many = count_numbers(result)
                    yield Check(what, UNCHECKED, UNCHECKED, None, f"{what}: {why}", unchecked=many)
                elif name in BY_RULE and set(result) != set(_as_dict(again[name, model])):
                    message, many = f"{what}: {ANOTHER_RULE}", count_numbers(result)
                    yield Check(what, "result", "another rule", None, message, unchecked=many)
                elif name == "slices":
                    yield _check_slices(what, result, again[name, model])
                else:
                    yield check_analysis(what, result, again[name, model])


def check_analysis(what: str, was: object, now: object) -> Check:
    """Numbers and words of an analysis. One that another version made in another form is held to
    what both speak of; the rest is counted as unchecked."""
    found = [*find_disagreements(was, now)]
    wrong = [d for d in found if not _of_another_form(d, found)]
    rest = sum(count_numbers(d.stored) for d in found if d not in wrong and d.stored != ABSENT)
    check = agreed(what, "result", wrong, what, of=was, unchecked=rest)
    if wrong or not rest:
        return check
    message = f"{what}: {rest:,} of its numbers were written in another form, and are not checked"
    return Check(what, "result", "another form", None, message, check.numbers, unchecked=rest)


def _of_another_form(d: Disagreement, found: Sequence[Disagreement]) -> bool:
    """Something that one of the two lacks or words otherwise, or what another method made."""
    if d.is_absence:
        return not _is_another_record(d, found)
    if d.is_wording:
        return True
    methods = [m.place.removesuffix("method") for m in found if _is_method(m)]
    made = d.place.rpartition(".")[2] in (*BY_METHOD, "p_corrected")
    return made and any(d.place.startswith(within) for within in methods)


def _is_another_record(d: Disagreement, found: Sequence[Disagreement]) -> bool:
    """A record of a list for which the other list has another one: its identity was changed."""
    within, bracket, _ = d.place.rpartition("[")
    inside = [o for o in found if o.is_absence and o.place.rpartition("[")[0] == within]
    records = d.place.endswith("]") and bracket == "["
    return records and len({o.stored == ABSENT for o in inside}) > 1


def _is_method(d: Disagreement) -> bool:
    return d.is_wording and d.place.rpartition(".")[2] == "method"


def _check_slices(what: str, was: object, now: object) -> Check:
    """Where the stored rows lack a column or the length of an input, the other slices alone."""
    tables = [_slices_by_name(result) for result in (was, now)]
    if list(tables[0]) == list(tables[1]):
        return check_analysis(what, was, now)
    common = [name for name in tables[0] if name in tables[1]]
    ours, theirs = ({str(name): _by_itself(t[name]) for name in common} for t in tables)
    found = [*find_disagreements(ours, theirs)]
    rest = count_numbers(was) - count_numbers(ours)
    check = replace(agreed(what, "result", found, what, of=ours), unchecked=rest)
    if found:
        return check
    lost, every = len(tables[0]) - len(common), len(tables[0])
    message = f"{what}: {lost:,} of {every:,} slices need the data file, and are not checked"
    return replace(check, again="in part", ok=None, message=message)


def _as_dict(result: object) -> Result:
    return result if isinstance(result, Mapping) else {}


def _slices_by_name(result: object) -> dict[tuple[str, ...], object]:
    slices = result.get("slices", []) if isinstance(result, Mapping) else []
    return {tuple(str(s.get(k, "")) for k in ("by", "column", "value")): s for s in slices}


def _by_itself(part: object) -> object:
    """A slice without what depends on the other slices."""
    if not isinstance(part, Mapping):
        return part
    return {k: _by_itself(v) for k, v in part.items() if k not in BY_ALL_SLICES}


def analyse_again(stored: StoredRun, split: str) -> tuple[Again, list[Exception]]:
    """Every analysis that can be made, and what stood against the others."""
    whole = unclean(split)
    rows = {model: rows_behind(stored, split, model) for model in stored.frames.get(whole, {})}
    frames = {model: frame for model, frame in rows.items() if frame is not None}
    if "tuned" not in frames:
        return {}, []
    tuned = frames["tuned"]
    form = stored.history.columns.form if stored.history.columns else ""
    windows = _are_windows(stored, whole, tuned)
    evaluation = Evaluation(
        split=split,
        frames=frames,
        source=_source(stored, whole, tuned, windows),
        windows=tuned.select("row_id", "input") if windows and "input" in tuned.columns else None,
        config=stored.run.config().for_form(form),
        labels=tuple(stored.labels),
        positive=stored.history.positive,
        validation=stored.frames.get("validation", {}),
        measured=stored.measured.get(split, {}),
    )
    again: Again = {}
    broken: list[Exception] = []
    for look in ANALYSES if split == whole else OF_CLEAN_ROWS:
        try:
            for found in look(evaluation):
                plain = json.dumps(spell_numbers(found.result))
                again[found.name, found.model] = json.loads(plain)
        except BROKEN as error:
            broken.append(error)
    return again, broken


def _are_windows(stored: StoredRun, split: str, tuned: pl.DataFrame) -> bool:
    """Whether what was scored are windows of documents, and not the rows of the source."""
    columns, prepared = stored.history.columns, stored.history.splits.get(split)
    if columns is None or columns.form != "text" or prepared is None:
        return False
    return prepared.rows != tuned.height


def _source(stored: StoredRun, split: str, tuned: pl.DataFrame, windows: bool) -> pl.DataFrame:
    """The scored rows as analyses read them: from what is stored beside the predictions; from the
    data file, where it is unchanged and older rows lack what slices go by."""
    if windows:
        return tuned.select("row_id").clear()
    if not _is_whole(stored, tuned) and (source := _unchanged_source(stored, split)) is not None:
        return source
    known, lengths = "input" in tuned.columns, _stored_lengths(tuned)
    return tuned.select(
        "row_id",
        (pl.col("input") if known else pl.lit(None, dtype=pl.String)).alias("text"),
        (pl.lit(None, dtype=pl.Int64) if lengths is None else lengths).alias(CHARACTERS),
        pl.selectors.starts_with(SLICE),
    )


def _is_whole(stored: StoredRun, tuned: pl.DataFrame) -> bool:
    wanted = [SLICE + name for name in stored.run.config().evaluate.slices]
    return _stored_lengths(tuned) is not None and all(c in tuned.columns for c in wanted)


def _stored_lengths(tuned: pl.DataFrame) -> pl.Series | None:
    """Characters of each input; None where older rows have truncated inputs alone."""
    if CHARACTERS in tuned.columns:
        return tuned[CHARACTERS]
    if "input" not in tuned.columns or tuned["input"].null_count():
        return None
    lengths = tuned["input"].str.len_chars()
    longest = lengths.max() or 0
    return lengths if isinstance(longest, int) and longest < INPUT_CHARACTERS else None


def _unchanged_source(stored: StoredRun, split: str) -> pl.DataFrame | None:
    prepared = stored.history.splits.get(split)
    found = stored.dataset.splits.get(split) if stored.dataset else None
    if found is None or prepared is None or found.sha256 != prepared.sha256:
        return None
    return found.frame
