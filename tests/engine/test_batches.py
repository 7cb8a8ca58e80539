import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from ftev.core.config.config import TrainConfig
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.training import batches, trainer
from ftev.core.engine.training.batches import (
    collate,
    cut_by_length,
    cut_by_tokens,
    evaluation_batches,
    padding_ratio,
    plan_epoch,
)
from ftev.core.engine.training.trainer import plan_training
from hypothesis import given
from hypothesis import strategies as st

LENGTHS = np.random.Generator(np.random.PCG64(0)).lognormal(3, 0.8, 500).astype(np.int64) + 2


@pytest.mark.parametrize(
    "settings",
    [
        TrainConfig(batch_size=16),
        TrainConfig(batch_size=7, gradient_accumulation_steps=3),
        TrainConfig(batch_tokens=600),
        TrainConfig(batch_tokens=600, gradient_accumulation_steps=2),
    ],
)
def test_every_row_is_planned_once_and_the_same_each_time(settings: TrainConfig) -> None:
    plan = plan_epoch(LENGTHS, settings, epoch=1)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(LENGTHS)))
    again = plan_epoch(LENGTHS, settings, epoch=1)
    assert [step.tolist() for step in plan] == [step.tolist() for step in again]
    other = plan_epoch(LENGTHS, settings, epoch=2)
    assert np.concatenate(plan).tolist() != np.concatenate(other).tolist()


def test_only_the_last_step_is_short() -> None:
    sizes = [len(step) for step in plan_epoch(LENGTHS, TrainConfig(batch_size=16), 0)]
    assert sizes == [16] * (len(LENGTHS) // 16) + [len(LENGTHS) % 16]


def test_steps_of_a_token_budget_are_alike_and_pass_it_by_a_row_at_most() -> None:
    tokens = [LENGTHS[step].sum() for step in plan_epoch(LENGTHS, TrainConfig(batch_tokens=600), 0)]
    assert len(tokens) == -(-LENGTHS.sum() // 600)
    assert max(tokens) <= 600 + LENGTHS.max()
    assert min(tokens) >= 600 - 2 * LENGTHS.max()


def test_rows_longer_than_a_token_budget_have_steps_of_their_own() -> None:
    lengths = np.array([500, 1, 1, 500, 500])
    steps = plan_epoch(lengths, TrainConfig(batch_tokens=100), 0)
    assert sorted(np.concatenate(steps).tolist()) == [0, 1, 2, 3, 4]
    assert all((lengths[step] == 500).sum() <= 1 for step in steps)


@pytest.mark.parametrize(
    "settings",
    [
        TrainConfig(batch_size=16, epochs=2.4),
        TrainConfig(batch_size=16, epochs=9, max_steps=40),
        TrainConfig(batch_tokens=600, epochs=2.5),
        TrainConfig(batch_tokens=30, epochs=3),  # less than some rows: steps differ by epoch
    ],
)
def test_a_plan_counts_the_steps_that_it_draws_later(settings: TrainConfig) -> None:
    rows = TokenRows(ids=[np.zeros(n, dtype=np.int32) for n in LENGTHS], row_ids=[])
    plan = plan_training(rows, settings)
    every = [plan_epoch(LENGTHS, settings, epoch) for epoch in range(len(plan.epochs))]
    assert plan.whole == [len(steps) for steps in every]
    assert [len(steps) for steps in plan.epochs] == plan.counts
    assert plan.max_steps == sum(plan.counts) == (settings.max_steps or plan.max_steps)
    taken = [step for epoch, n in enumerate(plan.counts) for step in every[epoch][:n]]
    found = [step for epoch in plan.epochs for step in epoch]
    assert all(map(np.array_equal, found, taken))
    for steps in (0, 1, plan.counts[0], plan.max_steps - 1, plan.max_steps):
        assert plan.tokens(steps, LENGTHS) == sum(int(LENGTHS[s].sum()) for s in taken[:steps])


def test_many_epochs_are_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(lengths: Any, settings: Any, epoch: int) -> Any:
        drawn.append(epoch)
        return plan_epoch(lengths, settings, epoch)

    monkeypatch.setattr(trainer, "plan_epoch", draw)
    monkeypatch.setattr(batches, "plan_epoch", draw)
    rows = TokenRows(ids=[np.zeros(n, dtype=np.int32) for n in LENGTHS], row_ids=[])
    for settings in (TrainConfig(epochs=100_000), TrainConfig(epochs=100_000, batch_tokens=600)):
        plan = plan_training(rows, settings)
        assert len(plan.epochs) == 100_000
        assert plan.tokens(plan.max_steps, LENGTHS) == 100_000 * LENGTHS.sum()
        assert drawn == []
        first = plan.epochs[70_000]
        assert plan.epochs[70_000] is first  # not drawn again for each of its steps
        assert drawn.pop() == 70_000


def test_no_rows_make_no_steps() -> None:
    empty = np.empty(0, dtype=np.int64)
    assert plan_epoch(empty, TrainConfig(), 0) == []
    assert plan_epoch(empty, TrainConfig(batch_tokens=9), 0) == []


def test_the_length_of_a_row_does_not_tell_which_step_it_is_in() -> None:
    """Sorted, the mean lengths of steps would differ as the rows themselves do."""
    means = [LENGTHS[step].mean() for step in plan_epoch(LENGTHS, TrainConfig(batch_size=25), 0)]
    assert np.std(means) < 2 * LENGTHS.std() / 25**0.5


def least_by_trying(lengths: list[int], price: float, most: float) -> float:
    """The least cost of all ways to cut sorted rows where their length changes."""
    sorted_, best = sorted(lengths), float("inf")
    places = [i for i in range(1, len(sorted_)) if sorted_[i] != sorted_[i - 1]]
    for count in range(len(places) + 1):
        for cut in combinations(places, count):
            parts = np.split(np.array(sorted_), cut)
            tokens = [int(part[-1]) * len(part) for part in parts]
            if all(n <= most or len(set(p)) == 1 for n, p in zip(tokens, parts, strict=True)):
                best = min(best, sum(tokens) + price * len(parts))
    return best


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=9),
    st.sampled_from([0, 3, 10, 100]),
    st.sampled_from([15, 40, math.inf]),
)
def test_parts_by_length_cost_the_least(lengths: list[int], price: float, most: float) -> None:
    array = np.array(lengths)
    parts = cut_by_length(np.arange(len(array)), array, price, most)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(array)))
    cost = sum(array[part].max() * len(part) + price for part in parts)
    assert cost == least_by_trying(lengths, price, most)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 400))
def test_a_token_budget_is_kept_unless_one_row_alone_passes_it(
    lengths: list[int], budget: int
) -> None:
    array = np.array(lengths)
    batches = cut_by_tokens(np.arange(len(array)), array, budget)
    assert np.concatenate(batches).tolist() == list(range(len(array)))
    for batch in batches:
        assert len(batch) == 1 or array[batch].max() * len(batch) <= budget


def test_evaluation_begins_with_the_longest_row() -> None:
    first = evaluation_batches(LENGTHS, 1000)[0]
    assert LENGTHS[first[0]] == LENGTHS.max()


def test_M1_padding_is_masked_by_position_though_its_id_occurs_in_the_text() -> None:
    ids = [np.array([1, 5, 2], dtype=np.int32), np.array([1, 2], dtype=np.int32)]
    scored = [np.array([False, True, True]), np.array([False, True])]
    batch = collate(ids, np.array([0, 1]), 2, torch.device("cpu"), scored=scored)
    assert batch.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.before is not None
    assert batch.before.tolist() == [0, 1, 3]  # before targets 1 and 2 of row 0 and 1 of row 1


def test_left_padding_puts_the_end_of_rows_together() -> None:
    ids = [np.array([7], dtype=np.int32), np.array([8, 9], dtype=np.int32)]
    batch = collate(ids, np.array([0, 1]), 0, torch.device("cpu"), pad_left=True)
    assert batch.ids.tolist() == [[0, 7], [8, 9]]


def test_a_part_may_hold_as_many_tokens_as_are_allowed() -> None:
    """Rows of 2 and 3 tokens are 6 when padded: together where 6 are allowed, apart where 5."""
    lengths = np.array([3, 2])
    assert [p.tolist() for p in cut_by_length(np.arange(2), lengths, 10.0, 6.0)] == [[1, 0]]
    assert [len(p) for p in cut_by_length(np.arange(2), lengths, 10.0, 5.0)] == [1, 1]
    alike = cut_by_length(np.arange(3), np.array([4, 4, 4]), 10.0, 5.0)
    assert [len(p) for p in alike] == [3], "rows of one length stay together"


def test_padding_is_what_is_computed_for_each_real_token() -> None:
    lengths = np.array([1, 3, 5, 5])
    assert padding_ratio([np.array([0, 1]), np.array([2, 3])], lengths) == (6 + 10) / 14
    assert padding_ratio([np.array([0]), np.array([1])], lengths) == 1.0
    assert padding_ratio([], lengths) == 0.0
    assert padding_ratio([np.array([0])], np.array([1])) == 1.0
