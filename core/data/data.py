"""Files and hub datasets to the rows of a run: read, checked, split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import polars as pl

from ..config.config import DataConfig, RunConfig
from ..errors import DataError, Fault
from ..run.events import ColumnsFound
from ..tasks import find_task
from .columns import (
    Columns,
    as_called_elsewhere,
    check_slices,
    find_columns,
    list_columns,
    named_columns,
    of_split,
    reading_of,
)
from .faults import Faults, show_value
from .formats import format_by_ending
from .hygiene import remarks
from .joined import columns_in, opened, suggest_template, with_joined
from .label_sets import count_labels, renamed_labels
from .labels import describe_scale, find_sidecar, is_scale, read_label_names, sort_labels
from .row_forms import find_unread_keys, words_of
from .rows import check_labels, select_rows, separate_turns, with_content
from .sources import Table, find_source, read_source
from .splits import assign_splits, split_document
from .targets import spread_of, target_names

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The rows of one split.

    `frame` has row_id (Int64: number of the record in its source, from 0, bad ones counted), line
    (Int64: physical line on which it starts, from 1; in parquet the row), the columns of the roles
    (text, label; text; prompt, completion; or messages), content (UInt64: hash of the normalised
    input, the same everywhere), where the config names one, group, and `slice:NAME` for each
    column that rows are sliced by.
    """

    name: str
    frame: pl.DataFrame
    sources: tuple[str, ...]
    rows_in: int  # records of the source, bad ones and those of other splits too
    columns_in: int
    sha256: str  # of the bytes of the source's files, one after the other

    @property
    def distinct_rows(self) -> int:
        """Different inputs among the rows, by their normalised text (D1)."""
        return self.frame["content"].n_unique()

    @property
    def line_offset(self) -> int:
        """What to add to a row's id for its line; 0 where rows have none, or not the same."""
        form = format_by_ending(self.sources[0])
        if form is None or not form.has_lines:
            return 0
        offsets = (self.frame["line"] - self.frame["row_id"]).unique()
        return int(offsets[0]) if len(offsets) == 1 and len(self.sources) == 1 else 0

    def label_counts(self) -> dict[str, int]:
        """Rows of each label that occurs, by label; empty without labels."""
        if "labels" in self.frame.columns:
            return count_labels(self.frame)
        if "label" not in self.frame.columns:
            return {}
        return dict(self.frame.group_by("label").len().sort("label").iter_rows())


class SplitFacts(TypedDict):
    """What is known of a split before its rows become tokens: fields of `SplitPrepared`."""

    columns: int
    source: str
    sha256: str
    labels: dict[str, int]
    skipped_rows: int
    not_learned: dict[str, int]
    distinct_rows: int
    line_offset: int


@dataclass(frozen=True)
class Dataset:
    """What a run learns from and is judged by."""

    splits: dict[str, Split]  # those of train, validation and test that there are, in this order
    columns: Columns
    labels: tuple[str, ...]  # in their order; empty for generation
    skipped: list[Fault]  # bad rows left out, when the config says so; long lists end in a count
    skipped_rows: dict[str, int]  # bad rows of each source (lines, of a plain text)
    unread: tuple[str, ...] = ()  # columns of the first source that nothing reads
    unread_keys: tuple[str, ...] = ()  # keys of its messages that nothing reads
    template: str = ""  # a setting that would join the text with what is not read beside it
    remarks: tuple[str, ...] = ()  # what rows hold that nobody may have meant
    notes: tuple[str, ...] = ()  # how sources were read, where that is not plain
    left_out: Mapping[str, list[Fault]] = field(default_factory=dict)  # right, not to be learned
    not_learned: Mapping[str, dict[str, int]] = field(default_factory=dict)  # why: rows, by source

    def facts(self, name: str) -> SplitFacts:
        """What is known of a split; of running text no rows are counted, for it has none."""
        split = self.splits[name]
        return {
            "columns": split.columns_in,
            "source": ", ".join(split.sources),
            "sha256": split.sha256,
            "labels": split.label_counts(),
            "skipped_rows": self.skipped_rows.get(name, 0),
            "not_learned": dict(self.not_learned.get(name, {})),
            "distinct_rows": split.distinct_rows if self.columns.form != "text" else 0,
            "line_offset": split.line_offset if self.columns.form != "text" else 0,
        }

    def hashes(self) -> dict[str, str]:
        """Of each split, the sha256 of the files that its rows are from."""
        return {name: split.sha256 for name, split in self.splits.items()}

    def columns_found(self) -> ColumnsFound:
        """Which columns were taken, and which nothing reads."""
        return ColumnsFound(
            form=self.columns.form,
            columns=self.columns.sources,
            words=words_of(self.columns.written),
            unread=list(self.unread),
            unread_keys=list(self.unread_keys),
            template=self.template,
        )


def read_run_data(config: RunConfig) -> Dataset:
    """The rows of a run. Raises DataError as below, ConfigError for an objective they do not fit.

    Each column of `evaluate.slices` or a guardrail must stand in the source that judges the run.
    """
    dataset = read_dataset(
        config.data,
        config.task,
        config.train.seed,
        Path(config.folder),
        config.sliced_columns,
        config.separated,
    )
    config.for_form(dataset.columns.form).check_labels(dataset.labels)
    return dataset


def read_dataset(
    data: DataConfig,
    task: str,
    seed: int,
    folder: Path,
    slices: Mapping[str, str] | None = None,
    separated: Mapping[str, str] | None = None,
) -> Dataset:
    """Read, check and split. Relative paths start from `folder`.

    `slices`: columns that the judged source must have, each with the setting that names it.
    `separated`: splits in which each answer of a chat is a row, each with the setting.
    Raises DataError with every fault at once, each with its file, line and setting.
    """
    slices = slices or {}
    fatal, bad = Faults(), Faults()
    left_out = {name: Faults() for name in SPLITS}
    tables = _read_tables(data, task, folder, fatal, bad, tuple(slices))
    columns = _find_all_columns(data, task, tables, fatal)
    if columns and "train" in tables:
        _refuse_training(columns.form, task, tables["train"], fatal)
    if columns and columns.form not in ("messages", "preference_chats"):
        _refuse_settings_of_chats(data, separated or {}, next(iter(tables.values())), fatal)
    if slices and (judged := _judged_table(data, tables)):
        check_slices(slices, judged, fatal)
    frames: dict[str, pl.DataFrame] = {}
    labels: tuple[str, ...] = ()
    unread = {name: table.files[0] for name, table in tables.items() if not table.columns}
    if data.bad_rows == "skip":
        for name, file in unread.items():
            fatal.about(f"data.{name}").add("no rows", file, "has no good row left")
    if columns and not unread:
        frames = {
            name: select_rows(
                table,
                columns,
                bad.about(f"data.{name}"),
                left_out[name],
                tuple(slices),
                data.system,
                data.label_separator,
            )
            for name, table in tables.items()
        }
        if columns.form in ("text_label", "text_labels"):
            complete = not bad.total or data.bad_rows == "skip"
            names = _label_names(data, frames, tables, folder, fatal)
            frames = {n: _with_names(frame, names) for n, frame in frames.items()}
            named = tuple(names.get(n, n) for n in columns_in(columns.sources["label"]))
            labels = _find_labels(data, frames, tables, fatal, names, named, complete=complete)
            frames = {
                name: check_labels(frame, labels, tables[name], bad.about(f"data.{name}"))
                for name, frame in frames.items()
            }
        if columns.form == "text_numbers":
            labels = target_names(columns.sources["label"], next(iter(tables.values())))
            _check_targets(frames, tables, labels, fatal)
    if not bad.total or data.bad_rows == "skip":
        _check_filled(frames, tables, fatal)
    if fatal.total or (bad.total and data.bad_rows == "stop"):
        raise DataError(*fatal.listing(), *bad.listing())
    assert columns is not None
    skipped = {
        name: _count_skipped(tables[name], frame) - left_out[name].total
        for name, frame in frames.items()
    }
    notes = [note for table in tables.values() for note in table.notes]
    splits = _make_splits(frames, tables, _shares(data), seed, notes)
    splits |= {
        name: replace(split, frame=separate_turns(split.frame))
        for name, split in splits.items()
        if name in (separated or {})
    }
    first = next(iter(_in_order(tables).values()))
    read = {*columns.sources.values(), *opened(columns.sources.values()), *slices}
    unread_columns = tuple(name for name in first.columns if name not in read)
    return Dataset(
        splits,
        columns,
        labels,
        bad.listing(),
        skipped,
        unread_columns,
        find_unread_keys(columns.written, columns.sources, first),
        _suggest(columns, unread_columns, first),
        remarks(frames, labels, first),
        tuple(dict.fromkeys(notes)),
        {name: faults.listing() for name, faults in left_out.items() if faults.total},
        {name: faults.by_kind() for name, faults in left_out.items() if faults.total},
    )


def _refuse_training(form: str, task: str, table: Table, fatal: Faults) -> None:
    if not find_task(task, form).learns:
        what = (
            "holds pairs of a chosen and a rejected answer, which ftev measures and does not train"
        )
        remedy = (
            "Train with TRL's DPOTrainer, then compare both models: "
            f"ftev-tui eval --base BASE --tuned TUNED --data {table.files[0]}"
        )
        fatal.about("data.train").add("no training", table.files[0], what, remedy)


def _suggest(columns: Columns, unread: Iterable[str], table: Table) -> str:
    """`text = "{title}\\n{body}"`, where columns beside the text hold text too."""
    role = next((r for r in ("text", "prompt") if r in columns.sources), "")
    template = suggest_template(columns.sources[role], unread, table) if role else ""
    return f'{role} = "{template}"' if template else ""


def _read_tables(
    data: DataConfig,
    task: str,
    folder: Path,
    fatal: Faults,
    bad: Faults,
    slices: tuple[str, ...],
) -> dict[str, Table]:
    """The tables of the splits that have a source of their own."""
    tables: dict[str, Table] = {}
    header: bool | None = None
    for split in SPLITS:
        given = getattr(data, split)
        if not isinstance(given, str | list):
            continue
        found = Faults(f"data.{split}")
        source = find_source(given, split, folder, found)
        own = of_split(data, split)
        reading = reading_of(own, task, slices)
        reading = replace(reading, header=header) if reading.header is None else reading
        table = read_source(source, reading, found, bad.about(found.setting)) if source else None
        fatal.merge(found)
        if table:
            header = table.has_header if header is None else header
            tables[split] = with_joined(table, named_columns(own).values())
    if not any(isinstance(getattr(data, split), str | list) for split in SPLITS):
        remedy = 'Write train = "train.csv" under [data]'
        fatal.about("data.train").add("no data", "data", "names no file", remedy)
    elif data.train is None and isinstance(data.test, float):
        what = "is a share of train, and there is no train"
        fatal.about("data.test").add("no data", "data.test", what)
    return tables


def _judged_table(data: DataConfig, tables: Mapping[str, Table]) -> Table | None:
    """The source of the split that a run is judged by: test, else validation."""
    if data.test:
        return tables.get("test" if not isinstance(data.test, float) else "train")
    return tables.get("validation", tables.get("train"))


def _in_order(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Those with columns, the one first that decides which is which."""
    ordered = {name: tables[name] for name in ("train", "test", "validation") if name in tables}
    # without columns no record could be read
    return {name: table for name, table in ordered.items() if table.columns}


def _find_all_columns(
    data: DataConfig, task: str, tables: dict[str, Table], fatal: Faults
) -> Columns | None:
    """Columns by the first source; the others must have them too, and then call them alike."""
    if not (ordered := _in_order(tables)):
        return None
    (first, decides), *others = ordered.items()
    columns = find_columns(of_split(data, first), task, decides, fatal.about(f"data.{first}"))
    if not columns:
        return None
    for name, table in others:
        tables[name] = table = as_called_elsewhere(data, task, name, table, columns)
        missing = [column for column in columns.needed if column not in table.columns]
        if missing:
            what = f"has no column {', '.join(missing)}, which {decides.files[0]} has"
            fatal.about(f"data.{name}").add("columns", table.files[0], what, list_columns(table))
    return None if fatal.total else columns


def _refuse_settings_of_chats(
    data: DataConfig, separated: Mapping[str, str], table: Table, fatal: Faults
) -> None:
    for setting in [*(["data.system"] if data.system else []), *set(separated.values())]:
        what = f"{setting} is for chats, and these rows are none"
        fatal.about(setting).add("columns", table.files[0], what, "Leave it out")


def _label_names(
    data: DataConfig,
    frames: Mapping[str, pl.DataFrame],
    tables: dict[str, Table],
    folder: Path,
    fatal: Faults,
) -> dict[str, str]:
    """What labels are called: as the config says, else as a file beside the first one does."""
    if data.label_names is not None:
        try:
            return read_label_names(data.label_names, folder)
        except DataError as error:
            for fault in error.faults:
                fatal.about(fault.setting).add("labels", fault.where, fault.what, fault.remedy)
            return {}
    first = next(iter(frames))
    labels = {label for frame in frames.values() for label in _counts(frame)}
    names, found = find_sidecar(folder / tables[first].files[0], labels)
    if names:
        note = f"{found}: names of the {len(names):,} labels, which are numbers in the data"
        tables[first] = replace(tables[first], notes=(*tables[first].notes, note))
    return names


def _with_names(frame: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The frame with its labels called so; those without a name stay."""
    if not names:
        return frame
    if "labels" in frame.columns:
        return renamed_labels(frame, names)
    return frame.with_columns(pl.col("label").replace(names))


def _counts(frame: pl.DataFrame) -> Counter[str]:
    """Rows of each label."""
    return Counter(count_labels(frame) if "labels" in frame.columns else frame["label"].to_list())


def _find_labels(
    data: DataConfig,
    frames: Mapping[str, pl.DataFrame],
    tables: Mapping[str, Table],
    fatal: Faults,
    names: Mapping[str, str],
    named: tuple[str, ...],  # by columns of yes and no
    *,
    complete: bool,  # else bad rows may hold the labels that are missing
) -> tuple[str, ...]:
    """Those of the config, else of train (of all splits, where nothing is trained), sorted."""
    if data.labels is not None:
        labels = tuple(map(str, data.labels))
        if len(set(labels)) != len(labels):
            fatal.about("data.labels").add("labels", "data.labels", "names a label twice")
    elif named:
        labels = named
    elif names:
        labels = tuple(dict.fromkeys(names.values()))
    else:
        known = [frames["train"]] if "train" in frames else list(frames.values())
        counts = sum((_counts(frame) for frame in known), Counter[str]())
        labels = sort_labels(counts)
        if is_scale(counts) and "label" in known[0].columns:
            file = next(iter(tables.values())).files[0]
            fatal.about("data.label").add("labels", file, *describe_scale(labels))
    if len(labels) == 1 and complete:
        setting = "data.labels" if data.labels else "data.label"
        name = setting if data.labels else next(iter(tables.values())).files[0]
        what = f"has fewer than 2 labels (only {show_value(labels[0])})"
        remedy = "There is nothing to classify; check the label column"
        fatal.about(setting).add("labels", name, what, remedy)
    return labels


def _check_targets(
    frames: Mapping[str, pl.DataFrame],
    tables: Mapping[str, Table],
    names: tuple[str, ...],
    fatal: Faults,
) -> None:
    """Of a number that never changes there is nothing to learn."""
    first = next(iter(frames))
    frame = frames["train" if "train" in frames else first]
    if frame.height < 2:
        return
    for name, unit in zip(names, spread_of(frame)[1], strict=True):
        if not unit:
            what = f'holds the same number in every row of "{name}"'
            remedy = "There is nothing to predict; check the label column"
            fatal.about("data.label").add("labels", tables[first].files[0], what, remedy)


def _check_filled(
    frames: Mapping[str, pl.DataFrame], tables: Mapping[str, Table], fatal: Faults
) -> None:
    for name, frame in frames.items():
        if not frame.height:
            what = "has no good row left" if tables[name].count else "has no rows"
            fatal.about(f"data.{name}").add("no rows", tables[name].files[0], what)


def _count_skipped(table: Table, frame: pl.DataFrame) -> int:
    return table.dropped + len(table.row_id) - frame.height


def _shares(data: DataConfig) -> dict[str, float]:
    """The shares of train to split off."""
    given = {split: getattr(data, split) for split in ("validation", "test")}
    return {split: float(share) for split, share in given.items() if isinstance(share, int | float)}


def _make_splits(
    frames: Mapping[str, pl.DataFrame],
    tables: Mapping[str, Table],
    shares: Mapping[str, float],
    seed: int,
    notes: list[str],
) -> dict[str, Split]:
    parts = dict(frames)
    if "train" in frames and any(shares.values()):
        table = tables["train"]
        if table.documents and table.count == len(table.files):
            parts |= _cut_documents(frames["train"], shares, table, notes)
        else:
            parts |= _cut_rows(frames["train"], shares, seed)
        if faults := _find_empty(parts, tables["train"], shares):
            raise DataError(*faults)
    return {
        name: _split(name, parts[name], tables.get(name, tables.get("train")))
        for name in SPLITS
        if name in parts
    }


def _split(name: str, frame: pl.DataFrame, table: Table | None) -> Split:
    assert table is not None
    return Split(
        name, frame, table.files, table.count, len(table.columns) - len(table.made), table.sha256
    )


def _cut_rows(
    frame: pl.DataFrame, shares: Mapping[str, float], seed: int
) -> dict[str, pl.DataFrame]:
    split = assign_splits(frame, shares, seed)
    return {name: frame.filter(split == name) for name in ("train", *shares)}


def _cut_documents(
    frame: pl.DataFrame, shares: Mapping[str, float], table: Table, notes: list[str]
) -> dict[str, pl.DataFrame]:
    """Each document by ranges. No seed has a say: neighbouring lines belong together."""
    pieces: dict[str, list[dict[str, object]]] = {name: [] for name in ("train", *shares)}
    row_id = 0
    for document, text in enumerate(frame["text"]):
        found = split_document(text, shares)
        if found and found["train"][1][-1:] != "\n":
            name = table.files[table.file[document]]
            notes.append(f"{name}: too few lines for the shares, so it is cut between words")
        for name, (line, part) in found.items():
            pieces[name].append({"row_id": row_id, "line": line, "text": part})
            row_id += 1
    schema = {"row_id": pl.Int64, "line": pl.Int64, "text": pl.String}
    cut = {name: pl.DataFrame(rows, schema=schema) for name, rows in pieces.items()}
    blank = pl.col("text").str.strip_chars() == ""
    return {name: with_content(rows.filter(~blank)) for name, rows in cut.items()}


def _find_empty(
    parts: Mapping[str, pl.DataFrame], table: Table, shares: Mapping[str, float]
) -> list[Fault]:
    size = f"{table.count:,} {'document' if table.documents else 'rows'}"
    return [
        Fault(
            table.files[0],
            f"{size}: too little for a {name} split of {shares[name]:g}"
            if name in shares
            else f"{size}: the shares leave nothing for train",
            f'Name a file, {name} = "…", or give more data'
            if name in shares
            else "Lower the shares",
            f"data.{name}",
        )
        for name in ("train", *shares)
        if not parts[name].height
    ]
