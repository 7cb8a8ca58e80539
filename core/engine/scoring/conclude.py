"""The fifth stage: every model on every held-out split, stored by row, measured and compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from ...analysis import Evaluation, Frames, forgetting, measure
from ...analysis.predictions import INPUT_CHARACTERS
from ...catalog.ledger import count_test_readings
from ...data.rows import CHARACTERS, SLICE, input_of
from ...data.splits import rows_together
from ...files.disk import make_folder, replacing
from ...metrics.analyses import NAMES, Forgetting
from ...metrics.results import Record
from ...metrics.rows import are_same_rows, read_text
from ...metrics.token_changes import greatest_changes
from ...run.events import AnalysisComputed, PredictionsStored, TextScored
from ...run.runs import file_sha256
from ..models.tokenizers import same_tokens
from ..worker.session import Session
from .choices import zero_shot_base
from .completions import with_answers
from .rows import TokenRows, encode, window_texts
from .splits import evaluated, final_scores, find_probe, score_probe
from .token_scores import TextScore, score_text


def evaluate_split(s: Session, split: str) -> None:
    """Score a split with every model that applies; store the rows and all that is made of them."""
    frames = _score_models(s, split)
    baselines = s.scorer.baselines(frames["tuned"], s.labels, s.dataset.splits.get("train"))
    frames = {**baselines, **frames}
    if split == "validation":
        s.validation = frames  # thresholds are fitted on these, and frozen for test
    frames = s.scorer.decided(frames, s.validation, s.labels, s.positive, s.config.objective)
    for model, frame in frames.items():
        if "thresholds" in frame.columns:
            s.thresholds[model] = dict(zip(s.labels, frame["thresholds"][0], strict=True))
    if s.task.answers and split == judged_split(s):
        frames = with_answers(s, split, frames)
    frames = {model: _with_clusters(s, split, model, frame) for model, frame in frames.items()}
    make_folder(s.run.predictions)
    known = {n: _identified(s, split, n) for n in {frame.height for frame in frames.values()}}
    for model, frame in frames.items():
        _store(s, split, model, frame, known[frame.height])
        if model not in baselines:  # made of train's rows: no model was evaluated
            probe = s.probe if model == "probe" else None
            precision = probe.precision if probe else s.config.evaluate.precision
            s.write(evaluated(s, split, model, frame, precision))
    evaluation = _evaluation(s, split, frames, known[frames["tuned"].height])
    for fact in measure(evaluation, _leaked(s, split), comparable=_comparable(s, split, frames)):
        s.write(fact)
    if split == "test":
        s.write(_count_readings(s))


def _with_clusters(s: Session, split: str, model: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The column `cluster` where rows are not independent: a group, a prompt, a document (S9)."""
    source = s.dataset.splits[split].frame
    found = rows_together(source, s.task.writes)
    if _are_windows(s, split, frame.height) and source.height == 1:
        s.note(f"{split} is one document: intervals cover the choice of its windows, and no other")
    elif _are_windows(s, split, frame.height):
        rows = s.rows_for(s.base if model == "base" else s.tuned, split)
        windows = pl.DataFrame({"row_id": rows.row_ids, "document": rows.documents})
        if found is None:
            found = windows.rename({"document": "cluster"})
        else:
            found = windows.join(found.rename({"row_id": "document"}), on="document", how="left")
            found = found.select("row_id", "cluster")
    if found is None:
        return frame
    return frame.join(found, on="row_id", how="left", maintain_order="left")


def _comparable(s: Session, split: str, frames: Frames) -> bool:
    """Whether base and tuned were scored on the same texts, or can be compared by their answers."""
    if not s.task.writes:
        return True
    if s.form == "text" and not same_tokens(s.base, s.tuned):
        why = f"base and tuned cut the documents of {split} into different windows"
    elif are_same_rows(*(read_text(frames[model]) for model in ("base", "tuned"))):
        return True
    else:
        why = f"base and tuned render or truncate rows of {split} differently"
    s.note(f"{why}: their losses are not compared row by row; read bits_per_byte")
    return all("completion" in frames[model].columns for model in ("base", "tuned"))


def _leaked(s: Session, split: str) -> frozenset[int]:
    """Rows that repeat an earlier split; a text's rows are windows, not the source's records."""
    if s.leakage is None or s.form == "text":
        return frozenset()
    return frozenset(s.leakage.leaked_rows(split))


def _count_readings(s: Session) -> AnalysisComputed:
    """Which earlier runs of this folder have scored these test rows (T3)."""
    result = count_test_readings(s.run, s.describe("test"))
    return AnalysisComputed(split="test", name="test_readings", result=result)


def judged_split(s: Session) -> str:
    """The split that answers the objective: only there do both models write their answers."""
    return "test" if "test" in s.rows else "validation"


def _evaluation(s: Session, split: str, frames: Frames, known: pl.DataFrame) -> Evaluation:
    return Evaluation(
        split=split,
        frames=frames,
        source=s.dataset.splits[split].frame,
        windows=known.select("row_id", "input") if _are_windows(s, split, known.height) else None,
        config=s.config,
        labels=s.labels,
        positive=s.positive,
        validation=s.validation,
    )


def _score_models(s: Session, split: str) -> Frames:
    frames: Frames = {}
    if s.task.has_head:
        if (probe := find_probe(s)) is not None:
            frames["probe"] = score_probe(s, probe, split)
        if s.base_has_head:
            frames["base"] = final_scores(s, s.base, split, "scoring the base")
        elif split == judged_split(s) and (labelled := zero_shot_base(s, split)) is not None:
            frames["base"] = labelled
    else:
        frames["base"] = final_scores(s, s.base, split, "scoring the base")
    frames["tuned"] = final_scores(s, s.tuned, split, "scoring the tuned model")
    return frames


def _store(s: Session, split: str, model: str, frame: pl.DataFrame, known: pl.DataFrame) -> None:
    path = s.run.predictions / f"{split}.{model}.parquet"
    wide = frame.join(known, on="row_id", how="left", maintain_order="left")
    with replacing(path, int(wide.estimated_size())) as temporary:
        wide.write_parquet(temporary)
    s.write(
        PredictionsStored(
            split=split,
            model=model,
            path=path.relative_to(s.run.path).as_posix(),
            rows=wide.height,
            sha256=file_sha256(path),
        )
    )


def _identified(s: Session, split: str, height: int) -> pl.DataFrame:
    """What identifies scored rows elsewhere, by row_id: the hash of the input, how it begins, its
    length, and the columns that slices go by, so that nothing but these rows is needed for them.

    `height` is how many rows were scored: windows of documents have ids of their own and no hash.
    """
    if _are_windows(s, split, height):
        return _identified_windows(s, split, height)
    source = s.dataset.splits[split].frame
    text = input_of(source)
    return source.select(
        "row_id",
        "content",
        text.str.slice(0, INPUT_CHARACTERS).alias("input"),
        text.str.len_chars().alias(CHARACTERS),
        pl.selectors.starts_with(SLICE),
    )


def _are_windows(s: Session, split: str, height: int) -> bool:
    """Whether what was scored are windows of documents, and not the rows of the source."""
    return s.form == "text" and s.dataset.splits[split].frame.height != height


def _identified_windows(s: Session, split: str, height: int) -> pl.DataFrame:
    rows = s.rows[split]
    known = len(rows) == height  # a model with a tokenizer of its own cuts other windows
    columns = {
        "row_id": rows.row_ids if known else [],
        "content": None,
        "input": window_texts(rows, s.tuned, INPUT_CHARACTERS) if known else [],
    }
    return pl.DataFrame(
        columns, schema={"row_id": pl.Int64, "content": pl.UInt64, "input": pl.String}
    )


def score_texts(s: Session) -> None:
    """Log-likelihood of held-out and of neutral text, base and tuned (K1 to K5)."""
    for source, text in _texts(s).items():
        found = {}
        for model, loaded in (("base", s.base), ("tuned", s.tuned)):
            work = score_text(loaded, text, s.config.evaluate.precision)
            found[model] = s.drive(work, f"scoring {source}", len(text))
            s.write(_text_scored(source, model, found[model]))
        for result in _changes(source, **found):
            s.write(AnalysisComputed(split=source, name=NAMES[type(result)], result=result))


def _texts(s: Session) -> dict[str, str]:
    texts = {f"held_out:{i}": text for i, text in enumerate(s.config.evaluate.held_out)}
    if s.config.evaluate.general_text:
        path = s.folder / s.config.evaluate.general_text
        texts["general_text"] = path.read_bytes().decode("utf-8-sig", errors="replace")
    return texts


def texts_as_rows(s: Session) -> dict[str, TokenRows]:
    """The texts and prompts of the configuration as token ids, by where they come from."""
    texts = _texts(s)
    texts |= {f"prompt:{i}": text for i, text in enumerate(s.config.evaluate.prompts)}
    ids = encode(s.tuned, list(texts.values()))
    return {
        name: TokenRows(ids=[np.asarray(one, dtype=np.int32)], row_ids=[0])
        for name, one in zip(texts, ids, strict=True)
    }


def _changes(source: str, base: TextScore, tuned: TextScore) -> Iterator[Record]:
    """Which tokens changed most, and on neutral text what tuning cost."""
    if (changes := greatest_changes(base.per_token, tuned.per_token)) is not None:
        yield changes
    if source == "general_text" and (forgotten := _forgotten(base, tuned)) is not None:
        yield forgotten


def _forgotten(base: TextScore, tuned: TextScore) -> Forgetting | None:
    """What tuning cost on neutral text, where both models read the same tokens."""
    if base.tokens != tuned.tokens:
        return None
    window = min(base.window, tuned.window)
    return forgetting(base.log_likelihoods, tuned.log_likelihoods, window)


def _text_scored(source: str, model: str, found: TextScore) -> TextScored:
    return TextScored(
        source=source,
        model=model,
        tokens=len(found.tokens),
        bytes=found.bytes,
        log_likelihood=found.total,
        prefix=found.prefix,
        window=found.window,
        stride=found.stride,
    )
