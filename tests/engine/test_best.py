"""Which checkpoint of a run is the best, and which evaluations are kept to answer that."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ftev.core.config.config import EarlyStopping
from ftev.core.engine.training.best import (
    NEWEST,
    Best,
    PValue,
    ValidationRows,
    loss_change,
    out_of_patience,
    update_best,
)
from ftev.core.engine.training.checkpoints import checkpoint_path, diverged, drop_old_checkpoints
from ftev.core.run.history import Change
from ftev.core.run.runs import TRAINING_STATE, Run


def test_T2_the_reference_moves_only_when_the_gain_exceeds_min_delta() -> None:
    stop, best = EarlyStopping(patience=3, min_delta=0.1), Best()
    needed = []
    for step, value in enumerate([1.00, 0.95, 0.92, 0.89, 0.88, 0.87, 0.86], 1):
        needed.append(update_best(best, value, step, "loss", stop))
        assert not out_of_patience(best, stop) or step == 7
    assert all(needed)
    assert best.value == 0.86
    assert best.reference == 0.89
    assert out_of_patience(best, stop)


def test_T2_direction_is_a_property_of_the_metric() -> None:
    best = Best()
    assert update_best(best, 0.5, 1, "accuracy", None)
    assert not update_best(best, 0.4, 2, "accuracy", None)
    assert best.step == 1
    best = Best()
    assert update_best(best, 0.5, 1, "perplexity", None)
    assert update_best(best, 0.4, 2, "perplexity", None)


def test_T2_NaN_is_never_best() -> None:
    best = Best()
    assert not update_best(best, math.nan, 1, "loss", None)
    assert best.value is None
    assert update_best(best, 2.0, 2, "loss", None)
    assert not update_best(best, math.nan, 3, "loss", None)
    assert (best.value, best.step, best.since) == (2.0, 2, 1)


def test_T2_a_small_gain_is_no_reason_to_stop_later_and_a_large_one_begins_anew() -> None:
    """Gains of half min_delta each: the reference stays, so their sum counts."""
    stop, best = EarlyStopping(patience=2, min_delta=0.1), Best()
    for step, value in enumerate([0.50, 0.55, 0.61, 0.66, 0.72], 1):
        update_best(best, value, step, "accuracy", stop)
        assert not out_of_patience(best, stop)
    assert best.reference == 0.72


def separates(*pairs: tuple[int, int]) -> PValue:
    """A test that separates only these pairs of steps."""
    known = {frozenset(pair) for pair in pairs}
    return lambda a, b: 0.001 if frozenset((a, b)) in known else 0.8


def test_V11_of_checkpoints_that_the_metric_cannot_separate_the_lowest_loss_is_kept() -> None:
    """92 % at step 44 (loss 0.382), 91 % at step 145 (loss 0.241), 100 rows: step 145."""
    best = Best()
    same = separates()
    assert update_best(best, 0.92, 44, "accuracy", None, 0.382, same)
    assert update_best(best, 0.91, 145, "accuracy", None, 0.241, same)
    assert (best.step, best.value, best.loss, best.p) == (145, 0.91, 0.241, 0.8)
    assert (best.top_step, best.top_value, best.top_loss) == (44, 0.92, 0.382)
    assert not update_best(best, 0.91, 150, "accuracy", None, 0.25, same)
    apart = Best()
    update_best(apart, 0.92, 44, "accuracy", None, 0.382, separates((44, 145)))
    assert not update_best(apart, 0.80, 145, "accuracy", None, 0.241, separates((44, 145)))
    assert (apart.step, apart.p) == (44, None)


def test_V11_a_chain_of_small_losses_does_not_lead_downhill() -> None:
    """Each is like the one before, and the last is worse than the best one."""
    best, test = Best(), separates((1, 3))
    for step, value, loss in ((1, 0.92, 0.40), (2, 0.90, 0.35), (3, 0.88, 0.30)):
        update_best(best, value, step, "accuracy", None, loss, test)
    assert (best.step, best.top_step) == (2, 1)
    # a new best one that is separated from the one that was kept, but not from the best before
    update_best(best, 0.95, 4, "accuracy", None, 0.5, separates((2, 4)))
    assert (best.step, best.top_step) == (1, 4)


def test_V11_where_the_metric_follows_the_loss_nothing_is_tested() -> None:
    def never(a: int, b: int) -> float:
        raise AssertionError

    best = Best()
    for step, loss in enumerate((3.0, 2.0, 2.5, 1.0), 1):
        update_best(best, math.exp(loss), step, "perplexity", None, loss, never)
    assert (best.step, best.top_step) == (4, 4)


def test_T3_of_equal_values_the_lower_loss_is_best() -> None:
    best = Best()
    assert update_best(best, 0.9, 1, "accuracy", None, 0.5)
    assert not update_best(best, 0.9, 2, "accuracy", None, 0.6)
    assert update_best(best, 0.9, 3, "accuracy", None, 0.4)
    assert not update_best(best, 0.8, 4, "accuracy", None, 0.1)
    assert (best.step, best.value, best.loss) == (3, 0.9, 0.4)


def rows_scored(nll: list[float], tokens: list[int] | None = None) -> pl.DataFrame:
    frame = pl.DataFrame({"row_id": range(len(nll)), "nll": nll})
    return frame if tokens is None else frame.with_columns(tokens=pl.Series(tokens))


def test_V10_a_change_of_the_loss_has_the_standard_error_of_its_rows() -> None:
    """100 rows, 0.245 to 0.241: each row moves by up to 0.1, so 0.004 is noise."""
    before = np.full(100, 0.245)
    moved = np.where(np.arange(100) % 2, 0.05, -0.05) - 0.004
    found = loss_change(rows_scored(list(before)), rows_scored(list(before + moved)))
    assert found is not None
    assert found == pytest.approx((-0.004, moved.std(ddof=1) / 10))
    assert Change(*found).level
    steady = loss_change(rows_scored(list(before)), rows_scored(list(before - 0.004)))
    assert steady is not None
    assert steady == pytest.approx((-0.004, 0.0), abs=1e-12)
    assert not Change(-0.004, 0.0015).level


def test_V10_the_change_of_a_language_model_is_a_ratio_of_sums() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 50, 400)
    before = rng.gamma(2, 1, 400) * tokens
    after = before - rng.normal(0.1, 0.5, 400) * tokens
    found = loss_change(
        rows_scored(list(before), list(tokens)), rows_scored(list(after), list(tokens))
    )
    assert found is not None
    assert found[0] == pytest.approx((after.sum() - before.sum()) / tokens.sum())
    drawn = rng.integers(0, 400, (2_000, 400))
    ratios = (after - before)[drawn].sum(1) / tokens[drawn].sum(1)
    assert found[1] == pytest.approx(ratios.std(ddof=1), rel=0.06)


def test_V10_rows_that_differ_or_are_not_finite_give_no_change() -> None:
    rows = rows_scored([1.0, 2.0, 3.0])
    assert loss_change(rows, rows_scored([1.0, 2.0])) is None
    assert loss_change(rows, rows_scored([1.0, math.nan, 3.0])) is None
    assert loss_change(rows_scored([1.0], [3]), rows_scored([2.0], [3])) is None
    nothing_scored = rows_scored([1.0, 2.0, 0.0], [2, 2, 0])
    found = loss_change(nothing_scored, rows_scored([2.0, 4.0, 0.0], [2, 2, 0]))
    assert found is not None
    assert found[0] == pytest.approx(0.75)


def test_V10_of_hundreds_of_evaluations_the_telling_ones_are_kept(tmp_path: Path) -> None:
    kept = ValidationRows(tmp_path / "validation")
    kept.folder.mkdir()
    for step in range(201):
        loss = 0.1 if step == 50 else 1.0
        kept.keep(step, step / 4, rows_scored([loss, loss + 1]), probabilities=False)
        kept.thin_out({27} if step >= 27 else set())
    steps = kept.steps()
    assert {0, 27, 50, 200, 199, 196} <= set(steps)
    assert [s for s in steps if s % 4 == 0][-NEWEST:] == list(range(76, 201, 4))
    assert len(steps) <= 2 * NEWEST + 3
    kept.forget_after(50)
    assert kept.steps()[-1] == 50
    assert [step for step, *_ in kept.changes(51, rows_scored([1.0, 2.0]))] == kept.steps()


def test_V5_a_diverged_run_names_its_last_checkpoint_with_finite_scores(tmp_path: Path) -> None:
    """By the scored rows of a step; without them a step counts up to the one before the last."""
    run = Run(tmp_path)
    assert "No checkpoint with finite scores" in str(diverged(run, 8, "why"))
    for step in (2, 6, 7):
        checkpoint_path(run, step).mkdir(parents=True)
        (checkpoint_path(run, step) / TRAINING_STATE).write_text("{}")
    error = str(diverged(run, 8, "why"))
    assert "diverged since step 8: why" in error
    assert "that of step 6, in checkpoints/step_000006" in error
    rows = ValidationRows.of(run)
    for step, nll in ((6, math.nan), (7, 0.5)):
        frame = pl.DataFrame({"row_id": [0, 1], "nll": [0.5, nll]})
        rows.keep(step, 1.0, frame, probabilities=False)
    assert "that of step 7" in str(diverged(run, 8, "why"))
    rows.keep(7, 1.0, pl.DataFrame({"row_id": [0], "nll": [math.inf]}), probabilities=False)
    assert "that of step 2" in str(diverged(run, 8, "why"))


def test_old_checkpoints_go_but_the_newest_and_those_that_are_spared(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (2, 4, 6, 8, 10):
        checkpoint_path(run, step).mkdir(parents=True)
    (run.checkpoints / "step_best").mkdir()
    drop_old_checkpoints(run, 2, {4})
    assert sorted(p.name for p in run.checkpoints.iterdir()) == [
        "step_000004", "step_000008", "step_000010", "step_best"
    ]  # fmt: skip
