import numpy as np
import pytest
import torch
from ftev.core.config import TrainConfig
from ftev.core.engine.batches import (
    collate,
    cut_by_tokens,
    evaluation_batches,
    padding_ratio,
    plan_epoch,
)
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
    rows = np.concatenate([part for step in plan for part in step])
    assert sorted(rows.tolist()) == list(range(len(LENGTHS)))
    again = plan_epoch(LENGTHS, settings, epoch=1)
    flat = [p.tolist() for s in plan for p in s]
    assert flat == [p.tolist() for s in again for p in s]
    other = plan_epoch(LENGTHS, settings, epoch=2)
    assert flat != [p.tolist() for s in other for p in s]


def test_only_one_batch_is_short() -> None:
    sizes = [sum(map(len, step)) for step in plan_epoch(LENGTHS, TrainConfig(batch_size=16), 0)]
    assert sorted(sizes)[1:] == [16] * (len(sizes) - 1)


def test_padding_falls_below_ten_percent_in_token_budget_batches() -> None:
    lengths = np.tile(LENGTHS, 8)
    plan = plan_epoch(lengths, TrainConfig(batch_tokens=1024), 0)
    assert padding_ratio(plan, lengths) < 1.10


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
