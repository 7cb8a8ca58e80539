"""Sweeps: what a SWEEP.toml stands for, what is wrong with one, and what chooses among its runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import records
from ftev.core.errors import ConfigError, DataError
from ftev.core.run.events import AnyEvent, ResultsComputed, RunFinished, RunStarted
from ftev.core.run.history import History, fold
from ftev.core.run.launch import gpu_of, visible_gpus
from ftev.core.run.runs import create_run
from ftev.core.sweep.choice import describe_sweep, measured, rank
from ftev.core.sweep.machines import ThisMachine
from ftev.core.sweep.runs import Began, Ended, create_entry_run, read_entries, work_through
from ftev.core.sweep.sweep_file import Range, check_rows, draw, load_sweep
from waiting import wait_for

BASE = """\
task = "classification"
name = "tastes"
[model]
base = "nowhere"
[data]
train = "train.csv"
test = "test.csv"
[objective]
metric = "accuracy"
"""
GRID = """\
[sweep]
[sweep.over]
"train.learning_rate" = [1e-5, 5e-5]
train.batch_size = [8, 16]
"""


def write(folder: Path, sweep: str = GRID, base: str = BASE) -> Path:
    path = folder / "sweep.toml"
    path.write_text(base + sweep)
    for name, rows in (("train.csv", 40), ("test.csv", 10)):
        lines = [f"cup {name} number {i},{'good' if i % 2 else 'bad'}" for i in range(rows)]
        (folder / name).write_text("\n".join(["text,label", *lines]) + "\n")
    return path


def told(error: pytest.ExceptionInfo[Any]) -> str:
    return "\n".join(map(str, error.value.faults))


def test_a_grid_is_every_combination_in_the_order_of_the_file(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path))
    found = [tuple(c.settings.values()) for c in sweep.combinations]
    assert found == [(1e-5, 8), (1e-5, 16), (5e-5, 8), (5e-5, 16)]
    assert list(sweep.combinations[0].settings) == ["train.learning_rate", "train.batch_size"]
    third = sweep.combinations[2].config
    assert (third.name, third.train.learning_rate, third.train.batch_size) == ("tastes-03", 5e-5, 8)
    assert sweep.metric == "accuracy"
    assert not any(c.config.evaluate.test for c in sweep.combinations)


def test_random_draws_are_repeatable_and_more_of_them_begin_with_the_same(tmp_path: Path) -> None:
    text = """\
[sweep]
method = "random"
runs = {runs}
seed = 3
[sweep.over]
"train.learning_rate" = {{ low = 1e-5, high = 1e-3, scale = "log" }}
"train.batch_size" = {{ low = 4, high = 6 }}
"train.schedule" = ["linear", "cosine"]
"""
    few = load_sweep(write(tmp_path, text.format(runs=4)))
    more = load_sweep(write(tmp_path, text.format(runs=30)))
    assert [c.settings for c in more.combinations[:4]] == [c.settings for c in few.combinations]
    trained = [c.config.train for c in more.combinations]
    assert len(trained) == 30
    assert {t.batch_size for t in trained} == {4, 5, 6}
    assert all(1e-5 <= t.learning_rate <= 1e-3 for t in trained)
    below = sum(t.learning_rate < 1e-4 for t in trained)
    assert 8 <= below <= 22  # half of a log range lies below its geometric middle


def test_draws_end_where_there_is_nothing_else() -> None:
    assert len(draw({"train.seed": [1, 2], "train.epochs": [1.0]}, 20, 0)) == 2
    assert {Range(1, 3, log=True).at(i / 100) for i in range(100)} == {1, 2, 3}


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    base = BASE.replace('"accuracy"', '"acuracy"')
    text = """\
[sweep]
sead = 3
at_once = 0
[sweep.over]
"train.learning_rat" = [1e-5]
"train.batch_size" = ["many", 0]
"train.epochs" = { low = 1, high = 3 }
"objective.at_least" = [0.5]
"train.schedule" = []
"""
    with pytest.raises(ConfigError) as error:
        load_sweep(write(tmp_path, text, base))
    found = told(error)
    for fault in (
        "sweep.toml:11 sweep.sead: unknown setting. Did you mean sweep.seed?",
        "sweep.toml:12 sweep.at_once: must be at least 1",
        "sweep.toml:14 train.learning_rat: unknown setting. Did you mean train.learning_rate?",
        "sweep.toml:15 train.batch_size: 'many' is not a whole number",
        "sweep.toml:16 sweep.over.train.epochs: is a range, and a grid needs a list",
        "sweep.toml:17 objective.at_least: must be the same in every run",
        "sweep.toml:18 sweep.over.train.schedule: has no values",
        "sweep.toml:9 objective.metric: there is no metric 'acuracy'. Did you mean accuracy?",
    ):
        assert fault in found


def test_every_combination_is_checked_before_any_is_started(tmp_path: Path) -> None:
    text = """\
[sweep]
[sweep.over]
"train.learning_rat" = [1e-5]
"train.batch_size" = [8, "many", 0]
"""
    with pytest.raises(ConfigError) as error:
        load_sweep(write(tmp_path, text))
    lines = told(error).splitlines()
    assert lines[0].startswith("sweep.toml:12 train.learning_rat: unknown setting. Did you mean")
    assert len([line for line in lines if "learning_rat:" in line]) == 1
    assert any(
        "sweep.toml:13 train.batch_size: 'many' is not a whole number" in line for line in lines
    )


@pytest.mark.parametrize(
    ("sweep", "base", "fault"),
    [
        ("", BASE, "sweep: must be given"),
        ("[sweep]\n", BASE, "names no setting"),
        (GRID, BASE.replace("[data]", "[data]\nvalidation = 0"), "there is no validation"),
        (GRID.replace("5e-5", "1e-5"), BASE, "names a value twice"),
        (GRID.replace("[sweep]", '[sweep]\nmetric = "loss_of"'), BASE, "no metric 'loss_of'"),
        ('[sweep]\n[sweep.over]\n"train.seed" = 3\n', BASE, "must be a list of values, not 3"),
        (
            f'[sweep]\n[sweep.over]\n"train.seed" = {list(range(1001))}\n',
            BASE,
            "makes 1,001 runs, and 1,000 are the most",
        ),
    ],
)
def test_what_cannot_be_a_sweep_is_refused(
    tmp_path: Path, sweep: str, base: str, fault: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_sweep(write(tmp_path, sweep, base))
    assert fault in told(error)


def test_tokens_that_differ_between_runs_are_not_compared(tmp_path: Path) -> None:
    base = BASE.replace("classification", "generation").replace('metric = "accuracy"', "")
    text = '[sweep]\n[sweep.over]\n"model.base" = ["a", "b"]\n"model.max_length" = [16, 32]\n'
    with pytest.raises(ConfigError) as error:
        load_sweep(write(tmp_path, text, base))
    assert 'Write [sweep] metric = "bits_per_byte"' in told(error)
    assert "would not be scored on the same tokens" in told(error)


def test_a_swept_setting_cannot_also_be_overruled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_sweep(write(tmp_path), ["train.batch_size=4"])
    assert "--set train.batch_size: is one of [sweep.over]" in told(error)
    assert len(load_sweep(write(tmp_path), ["sweep.at_once=3"]).combinations) == 4


def test_held_out_rows_must_be_the_same_in_every_run(tmp_path: Path) -> None:
    check_rows(load_sweep(write(tmp_path)))
    seeds = '[sweep]\n[sweep.over]\n"train.seed" = [1, 2]\n'
    with pytest.raises(DataError) as error:
        check_rows(load_sweep(write(tmp_path, seeds)))
    assert "not every run has the same rows in validation" in told(error)
    assert "in test" not in told(error)
    shares = BASE.replace('test = "test.csv"', 'test = 0.2\nvalidation = "test.csv"')
    with pytest.raises(DataError) as error:
        check_rows(load_sweep(write(tmp_path, seeds, shares)))
    assert "not every run has the same rows in test" in told(error)
    files = BASE.replace("test =", "validation =")
    check_rows(load_sweep(write(tmp_path, seeds, files)))


def ended(validation: float, test: float, loss: float = 0.5, status: Any = "finished") -> History:
    def results(split: str, value: float) -> ResultsComputed:
        metrics = {
            name: {"value": v, "low": v - 0.1, "high": v + 0.1, "method": "made up"}
            for name, v in (("accuracy", value), ("loss", loss))
        }
        return records.results(split, "tuned", {"n": 100, "metrics": metrics})

    events: list[AnyEvent] = [
        RunStarted(run="r", name="r", task="classification", pid=1, host="h", ftev_version="0"),
        results("validation", validation),
        results("test", test),
        RunFinished(status=status),
    ]
    return fold(events)


def test_validation_chooses_and_test_does_not() -> None:
    runs = [ended(0.7, test=0.99), ended(0.9, test=0.5), ended(0.8, test=0.8)]
    assert rank(runs, "accuracy") == [1, 2, 0]
    by_test = [measured(run, "accuracy", "test").value for run in runs]
    assert by_test.index(max(by_test)) == 0


def test_only_whole_runs_with_a_number_can_be_chosen() -> None:
    runs = [None, ended(float("nan"), 1), ended(0.9, 1, status="stopped"), ended(0.2, 0.1)]
    assert rank(runs, "accuracy") == [3]
    assert rank([ended(0.9, 1, loss=0.5), ended(0.9, 1, loss=0.4)], "accuracy") == [1, 0]
    assert rank([ended(0.9, 1, loss=0.5), ended(0.1, 1, loss=0.4)], "loss") == [1, 0]


def test_a_run_is_known_by_its_settings_and_not_by_its_number(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    sweep = load_sweep(write(tmp_path))
    entries = read_entries(sweep, folder)
    assert [e.status for e in entries] == ["waiting"] * 4
    run = create_entry_run(sweep, entries[3], folder)  # learning_rate 5e-5, batch_size 16
    create_run(sweep.combinations[0].config, folder)
    wider = load_sweep(write(tmp_path, GRID.replace("[8, 16]", "[8, 16, 32]")))
    found = [e.run for e in read_entries(wider, folder)]
    assert [r is not None for r in found] == [True, False, False, False, True, False]
    assert found[4] == run
    narrower = load_sweep(write(tmp_path, GRID.replace("[8, 16]", "[8]")))
    notes = describe_sweep(narrower, read_entries(narrower, folder), folder)["notes"]
    assert any("1 run of this name" in note for note in notes)


class Instantly:
    """A machine on which a run is over as soon as it is started."""

    places, lost = ("0", "1"), ""

    def __init__(self) -> None:
        self.started: list[tuple[str, str | None, tuple[str, ...]]] = []

    def start(self, run: Any, place: str | None, *arguments: str) -> Any:
        self.started.append((run.id, place, arguments))
        return self

    def find(self, run: Any) -> Any:
        raise AssertionError(f"{run} is not at work")

    def is_over(self) -> bool:
        return True

    def leave(self, jobs: Any) -> None:
        assert not list(jobs)


def test_runs_share_the_places_and_one_that_dies_does_not_stop_the_others(tmp_path: Path) -> None:
    sweep, folder, machine = load_sweep(write(tmp_path)), tmp_path / "runs", Instantly()
    entries = read_entries(sweep, folder)
    told = list(work_through(sweep, entries, folder, machine, retry=False))
    assert [place for _, place, _ in machine.started] == ["0", "1", "0", "1"]
    assert [type(t) for t in told] == [Began, Began, Ended, Ended] * 2
    assert [e.status for e in entries] == ["died"] * 4
    why = describe_sweep(sweep, entries, folder)["why"]
    assert "nothing can be chosen" in why


def test_the_gpus_are_those_that_this_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert visible_gpus() == ["2", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_places_are_gpus_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places(*overrides: str) -> list[str | None]:
        return list(ThisMachine(load_sweep(write(tmp_path), list(overrides))).places)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert places() == ["0", "1"]
    assert places("sweep.at_once=3") == ["0", "1", "0"]
    assert places("train.devices=cpu") == [None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert places("sweep.at_once=2") == [None, None]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_a_run_at_work_is_found_with_its_gpu() -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "3"}
    with subprocess.Popen(["sleep", "60"], env=environment) as process:
        wait_for(lambda: gpu_of(process.pid), "its environment")  # there once it is executed
        assert gpu_of(process.pid) == "3"
        process.kill()
    assert gpu_of(process.pid) is None


def test_a_table_and_a_setting_in_it_cannot_both_be_swept(tmp_path: Path) -> None:
    text = '[sweep]\n[sweep.over]\n"train" = [1]\n"train.seed" = [1, 2]\n'
    with pytest.raises(ConfigError) as error:
        load_sweep(write(tmp_path, text))
    assert "sweep.toml:12 train: is the table of train.seed" in told(error)
