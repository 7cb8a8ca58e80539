"""The five stages of a run, and what they do before the first: read the data.

Each takes the session and leaves in it what the next one needs. `__main__.py` puts them in order.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import polars as pl
from msgspec.structs import replace

from ..data.data import read_run_data
from ..data.drawn import draws_as_events
from ..data.leakage import find_leakage
from ..files.disk import replacing
from .answering.answer import answer_probes
from .distributed.follow import compare_weights
from .models import models
from .models.devices import Telemetry, describe_device, drawn_from, training_precision
from .models.heads import check_label_map, merge_labels
from .models.load import add_adapter, own_labels
from .models.tokenizers import check_vocabulary, compare_models, tokens_without_embedding
from .scoring.rows import CHATS, PROMPTED, begin_with_space
from .training import train
from .worker.session import Session


def read_data(s: Session) -> None:
    """Every bad row stops the run here, before a model is loaded."""
    c = s.config
    s.listener.state = "reading data"
    s.dataset = read_run_data(c)
    for split, reasons in s.dataset.not_learned.items():
        for why, rows in reasons.items():
            s.note(f"{rows:,} rows of {split} left out: {why}")
    if s.dataset.skipped:
        rows = sum(s.dataset.skipped_rows.values())
        s.note(f"{rows:,} bad rows skipped, as the config says", "warning")
    for note in s.dataset.notes:
        s.note(note)
    s.form = s.dataset.columns.form
    s.paired = "text_pair" in s.dataset.columns.sources
    if s.form in PROMPTED:
        # a prompt has to end as those of training did: with white space, or before it
        seen = s.dataset.splits.get("train") or s.dataset.splits["test"]
        s.spaced = begin_with_space(seen.frame["completion"])
    s.write(replace(s.dataset.columns_found(), spaced=s.spaced))
    s.config = c.for_form(s.form)
    if s.task.has_head:
        s.data_labels = labels = s.dataset.labels
        counted = (s.dataset.splits.get("train") or s.dataset.splits["test"]).label_counts()
        s.positive = s.task.positive_of(c.objective.positive, labels, counted)
        s.fix_labels(labels)


def load_base_model(s: Session) -> None:
    """Stage 1: the base model on its device, its head or adapter new where it has none."""
    with s.stage(1) as shown:
        check_names_of_labels(s)
        s.tuned = s.load(s.config.model.base, trainable=s.config.trains)
        if s.task.has_head:
            s.base_has_head = not s.tuned.new_head
            take_labels(s, s.tuned)
        described = models.describe(s.tuned, s.config.model.base)
        s.precision = training_precision(s.config, s.device, described.parameters)
        if s.config.trains and s.config.model.adapter == "lora" and not s.tuned.has_adapter:
            with drawn_from(s.config.train.seed):  # the same adapter whatever was drawn before
                add_adapter(s.tuned, s.config)
            described = models.describe(s.tuned, s.config.model.base)
        if s.config.trains:  # a given model is saved as it is evaluated
            s.saved_dtype = models.saved_dtype(s.tuned, s.config)
        compare_weights(s, s.tuned)
        for text in models.notes_on_base(s.tuned, s.config):
            s.note(text)
        precision = s.precision if s.config.trains else s.config.evaluate.precision
        device = describe_device(s.device, precision)
        found = replace(device, trains=s.config.trains, devices=s.ranks.world)
        s.write(found, described)
        shown["note"] = models.in_words(described)


def check_names_of_labels(s: Session) -> None:
    """Names in data.label_map that neither a model nor the data know end the run here."""
    if not s.task.has_head or not s.config.data.label_map:
        return
    given = [name for name in (s.config.model.base, s.config.model.tuned) if name]
    heads = {name: own_labels(s.config, name) for name in given}
    check_label_map(s.config.data.label_map, heads, s.data_labels)


def take_labels(s: Session, loaded: models.Loaded) -> None:
    """The labels of the run: a trained model's own order; in `eval` the data's, and what else a
    head can answer, which is a wrong prediction here."""
    own = loaded.labels
    labels = own if s.config.trains else merge_labels(s.labels, [own])
    if labels != s.labels:
        s.fix_labels(labels)


def prepare_training_data(s: Session) -> None:
    """Stage 2: rows to train on and to validate with, as token ids; leakage between the splits."""
    with s.stage(2) as shown:
        for split in ("train", "validation"):
            if split in s.dataset.splits:
                s.prepare(split)
        check_tokens(s, s.config.model.base)
        note_on_template(s)
        s.leakage = find_leakage(s.dataset.splits, near=s.config.data.near_duplicates)
        s.write(s.leakage.as_event())
        if "train" in s.rows:
            shown.update(s.shapes("train"))
        else:
            shown["note"] = "no training data"


def note_on_template(s: Session) -> None:
    """What a chat template leaves out or rewrites of the first split that there is."""
    if s.form not in CHATS:
        return
    from .scoring.chats import keys_not_rendered, notes_on_history

    frame = next(iter(s.dataset.splits.values())).frame
    for text in notes_on_history(frame, s.tuned.tokenizer, models.stop_ids(s.tuned)):
        s.note(text, "warning")
    if unread := keys_not_rendered(frame, s.tuned.tokenizer):
        listed = ", ".join(unread)
        s.note(f"the chat template renders nothing of {listed}: no model reads it", "warning")


def check_tokens(s: Session, name: str) -> None:
    """Before anything is trained or scored: a token without an embedding stops the run, or warns.

    Test rows are looked at too, which otherwise are tokenised after training.
    """
    if not tokens_without_embedding(s.tuned):
        return
    from .scoring.conclude import texts_as_rows

    rows = {split: s.render(split, s.tuned) for split in s.dataset.splits}
    rows |= texts_as_rows(s)
    if warning := check_vocabulary(s.tuned, name, rows):
        s.note(warning, "warning")


def fine_tune(s: Session, resume: Path | None, telemetry: Telemetry) -> None:
    """Stage 3: the training loop, and the resulting model saved."""
    with s.stage(3) as shown, telemetry.around():
        if s.config.trains:
            shown["note"] = train.fine_tune(s, resume)
            s.ranks.order("round_weights")
            round_weights(s)
        else:
            s.ranks.order("take_given_model")
            take_given_model(s)
            check_tokens(s, str(s.config.model.tuned))
            s.write(compare_models(s.base, s.tuned))
            shown["note"] = f"nothing to train: {s.config.model.tuned} is evaluated as it is"
        with replacing(s.run.model_path, models.size_of(s.tuned)) as temporary:
            models.save(s.tuned, temporary, dtype=s.saved_dtype)


def round_weights(s: Session) -> None:
    """The tuned model as it will be saved: what is evaluated is what ships (G3)."""
    s.scorer.finish(s.tuned)
    if s.saved_dtype == "float32":
        return
    if models.round_weights(s.tuned, s.saved_dtype):
        s.validated = {k: frame for k, frame in s.validated.items() if k[0] == 0}  # other weights
        return
    s.note(f"weights are beyond the range of {s.saved_dtype}: they are saved in float32", "warning")
    s.saved_dtype = "float32"


def take_given_model(s: Session) -> None:
    """What was loaded is the base; the tuned model is a given one."""
    assert s.config.model.tuned is not None
    s.keep_base(s.tuned)
    s.tuned = s.load(s.config.model.tuned)
    compare_weights(s, s.tuned)
    take_labels(s, s.tuned)
    # both are scored on the same beginnings of rows
    s.base.max_length = s.tuned.max_length = min(s.base.max_length, s.tuned.max_length)


def prepare_evaluation_data(s: Session) -> None:
    """Stage 4: the test rows, where there are any and they are not held back.

    How alike the splits were drawn is looked into here: no step needs it.
    """
    with s.stage(4) as shown:
        s.write(*draws_as_events(s.dataset))
        if "test" in s.dataset.splits and s.config.evaluate.test:
            s.prepare("test")
            shown.update(s.shapes("test"))
        else:
            missing = "test is held back" if "test" in s.dataset.splits else "no test data"
            shown["note"] = f"{missing}: results are on validation, which chose the checkpoint"


def evaluate_models(s: Session) -> None:
    """Stage 5: every model on every held-out split, and whether what was scored is what ships."""
    # here, as no run needs SciPy's statistics before its first step
    from .scoring.conclude import evaluate_split, score_texts
    from .scoring.read_back import Reader
    from .scoring.self_test import parity, self_test

    with s.stage(5) as shown:
        splits = [name for name in ("validation", "test") if name in s.rows]
        # its imports take seconds and run beside the scoring, but not beside the cache of answers
        with (
            Reader(s.tuned.has_adapter, early=not s.task.answers)
            if s.config.evaluate.parity_rows
            else nullcontext() as reader
        ):
            for split in splits:
                evaluate_split(s, split)
            if s.task.writes:
                score_texts(s)
            if not s.config.trains:  # in training they are answered at each evaluation
                answer_probes(s)
            judged = splits[-1]  # the verdict rests on it
            scores: dict[str, pl.DataFrame] = {}
            for fact in chain(self_test(s, judged, scores), parity(s, judged, reader, scores)):
                s.write(fact)
        rows = sum(len(s.rows[name]) for name in splits)
        shown.update(rows_in=rows, rows_out=rows, note="on " + " and ".join(splits))
