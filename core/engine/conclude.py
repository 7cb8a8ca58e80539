"""The fifth stage: every model on every held-out split, stored by row, measured and compared."""

from __future__ import annotations

import msgspec
import polars as pl

from ..analyses import Evaluation, Frames, analyse
from ..events import ComparisonsComputed, ResultsComputed, TextScored, spell_numbers
from ..results import compare, evaluate_classification, evaluate_text, majority_frame
from .conclude_text import same_tokens, score_in_own_tokens, with_answers, zero_shot_base
from .evaluate import TextScore, score_text
from .models import Loaded
from .probe import features
from .session import Session
from .validate import evaluated, score


def evaluate_split(s: Session, split: str) -> None:
    """Score a split with every model that applies; store predictions, results and comparisons."""
    frames = _score_models(s, split)
    if not s.config.is_classification and split == judged_split(s):
        frames = with_answers(s, split, frames)
    s.run.predictions.mkdir(exist_ok=True)
    for model, frame in frames.items():
        _store(s, split, model, frame)
        s.write(_result(s, split, model, frame))
    _measure_clean_rows(s, split, frames)
    for fact in analyse(_evaluation(s, split, frames)):
        s.write(fact)
    found = []
    for reference in _references(s, frames):
        found += compare_frames(s, split, reference, frames)
    s.write(ComparisonsComputed(comparisons=spell_numbers(msgspec.to_builtins(found))))


def judged_split(s: Session) -> str:
    """The split that answers the objective: only there do both models write their answers."""
    return "test" if "test" in s.rows else "validation"


def _evaluation(s: Session, split: str, frames: Frames) -> Evaluation:
    if split == "validation":
        s.validation = frames
    return Evaluation(
        split=split,
        frames=frames,
        source=s.dataset.splits[split].frame,
        config=s.config,
        labels=s.labels,
        positive=s.positive,
        validation=s.validation,
    )


def _measure_clean_rows(s: Session, split: str, frames: Frames) -> None:
    """The same results on the rows that repeat nothing of an earlier split, where some do (D2)."""
    leaked = s.leakage.leaked_rows(split) if s.leakage else frozenset()
    if not leaked or s.form == "text":  # a text's rows are windows, not the source's records
        return
    for model, frame in frames.items():
        clean = frame.filter(~pl.col("row_id").is_in(list(leaked)))
        if clean.height:
            s.write(_measured(s, f"{split}_clean", model, clean))


def _score_models(s: Session, split: str) -> Frames:
    frames: Frames = {}
    if s.config.is_classification:
        if s.probe is not None:
            frames["probe"] = _score_probe(s, split)
        if s.base_has_head:
            frames["base"] = score(s, s.base, split, "scoring the base")
        elif split == judged_split(s) and (labelled := zero_shot_base(s, split)) is not None:
            frames["base"] = labelled
    elif not same_tokens(s.base, s.tuned):
        return score_in_own_tokens(s, split)
    else:
        frames["base"] = score(s, s.base, split, "scoring the base")
    frames["tuned"] = score(s, s.tuned, split, "scoring the tuned model")
    train = s.dataset.splits.get("train")
    if s.config.is_classification and train is not None:
        counts = train.label_counts()
        frames = {"majority": majority_frame(frames["tuned"], s.labels, counts), **frames}
    return frames


def _score_probe(s: Session, split: str) -> pl.DataFrame:
    settings, rows = s.config.evaluate, s.rows[split]
    work = features(s.base, rows, settings.precision, settings.batch_tokens)
    found = s.drive(work, f"probing the base on {split}", len(rows))
    assert s.probe is not None
    return s.probe.score(found, rows)


def _store(s: Session, split: str, model: str, frame: pl.DataFrame) -> None:
    path = s.run.predictions / f"{split}.{model}.parquet"
    temporary = path.with_suffix(".tmp")
    content = s.dataset.splits[split].frame.select("row_id", "content")
    wide = frame.join(content, on="row_id", how="left", maintain_order="left")
    wide.write_parquet(temporary)
    temporary.rename(path)


def _result(s: Session, split: str, model: str, frame: pl.DataFrame) -> ResultsComputed:
    if model != "majority":
        s.write(evaluated(s, split, model, frame, epoch=-1.0, seconds=0.0))
    return _measured(s, split, model, frame)


def _measured(s: Session, split: str, model: str, frame: pl.DataFrame) -> ResultsComputed:
    if s.config.is_classification:
        result = evaluate_classification(frame, s.labels, s.positive)
    else:
        result = evaluate_text(frame)
    plain = spell_numbers(msgspec.to_builtins(result))
    return ResultsComputed(split=split, model=model, result=plain)


def _references(s: Session, frames: Frames) -> list[str]:
    """What the tuned model is set against, the most telling first."""
    return [m for m in ("base", "probe", "majority") if m in frames]


def compare_frames(s: Session, split: str, reference: str, frames: Frames) -> list[object]:
    if s.config.is_classification:
        return list(
            compare(
                split, reference, frames[reference], "tuned", frames["tuned"], s.labels, s.positive
            )
        )
    return list(compare(split, reference, frames[reference], "tuned", frames["tuned"], None, None))


def score_texts(s: Session) -> None:
    """Log-likelihood of held-out and of neutral text, base and tuned (K1 to K5)."""
    texts = {f"held_out:{i}": text for i, text in enumerate(s.config.evaluate.held_out)}
    if s.config.evaluate.general_text:
        path = s.folder / s.config.evaluate.general_text
        texts["general_text"] = path.read_bytes().decode("utf-8-sig", errors="replace")
    for source, text in texts.items():
        for model, loaded in (("base", s.base), ("tuned", s.tuned)):
            s.write(_text_scored(s, source, model, loaded, text))


def _text_scored(s: Session, source: str, model: str, loaded: Loaded, text: str) -> TextScored:
    found: TextScore = s.drive(
        score_text(loaded, text, s.config.evaluate.precision), f"scoring {source}", len(text)
    )
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
