"""A configuration is checked once, with every fault, and comes back as it was saved."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import make_settings
import pytest
from ftev.core.config.config import (
    DataConfig,
    EarlyStopping,
    EvaluateConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainConfig,
)
from ftev.core.config.config_file import check_config, dump_config, key_lines, load_config
from ftev.core.config.draft import Draft, check_draft
from ftev.core.config.fields import Bounds, Setting, members, read_value, settings
from ftev.core.data.data import read_run_data
from ftev.core.errors import ConfigError
from ftev.core.metrics.metric import METRICS
from hypothesis import given
from hypothesis import strategies as st

LEAST = """\
task = "classification"
[model]
base = "tiny"
[data]
train = "train.csv"
"""


def load(folder: Path, text: str, *overrides: str) -> RunConfig:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, list(overrides))


def faults(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    assert caught.value.exit_code == 2
    return [str(fault) for fault in caught.value.faults]


def test_defaults_are_resolved_and_the_run_gets_a_name(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST)
    assert config.name == "tiny_train"
    assert config.folder == str(tmp_path.resolve())
    assert config.train == TrainConfig()


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
task = "clasification"
[model]
base = "tiny"
precision = 16
[train]
epochs = "three"
learning_rat = 1e-4
"""
    found = faults(tmp_path, text)
    assert len(found) == 4
    assert found[0].startswith(
        "run.toml:1 task: 'clasification' is not one of classification, generation"
    )
    assert found[1].startswith(
        "run.toml:4 model.precision: 16 is not one of auto, float32, bfloat16"
    )
    assert (
        "run.toml:7 train.learning_rat: unknown setting. Did you mean train.learning_rate?" in found
    )
    assert any(f.startswith("run.toml:6 train.epochs: 'three' is not a number") for f in found)


def test_an_unknown_setting_in_the_wrong_table_is_sent_home(tmp_path: Path) -> None:
    [found] = faults(tmp_path, "learning_rate = 1e-4\n" + LEAST)
    assert found == "run.toml:1 learning_rate: unknown setting. Did you mean train.learning_rate?"


def test_what_must_be_given_is_asked_for(tmp_path: Path) -> None:
    found = faults(tmp_path, "[data]\ntrain = 'x.csv'\n")
    assert [f.split(":")[0] for f in found] == ["run.toml task", "run.toml model.base"]
    assert faults(tmp_path, 'task = "generation"\n[model]\n')[0].startswith("run.toml:2 model.base")
    assert faults(tmp_path, 'task = "generation"\nmodel = "tiny"\n') == [
        "run.toml:2 model: must be a table, not 'tiny'"
    ]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("train.epochs=0", "train.epochs: must be above 0"),
        ("train.epochs=nan", "train.epochs: must be a number, not nan"),
        ("train.epochs=inf", "train.epochs: must be a number, not inf"),
        ("train.warmup_ratio=1.0", "train.warmup_ratio: must be at least 0 and below 1"),
        ("train.devices=0", "train.devices: must be at least 1"),
        ("data.validation=1.5", "data.validation: must be at least 0 and below 1"),
        ("data.labels=['a', 'a']", "data.labels: needs at least two different labels"),
        ("objective.metric=acuracy", "objective.metric: there is no metric 'acuracy'"),
        ("model.max_length=1", "model.max_length: must be at least 2"),
        ("train.early_stopping.patience=0", "train.early_stopping.patience: must be at least 1"),
        ("objective.recall_at_least=1.5", "objective.recall_at_least: must be above 0 and at most"),
        ("objective.precision_at_least=0", "objective.precision_at_least: must be above 0 and at"),
        ("objective.cost={ fp = -1, fn = 20 }", "objective.cost.fp: must be at least 0"),
        ("objective.cost={ fp = 0, fn = 0 }", "objective.cost: makes every answer free"),
        ("evaluate.slices=['a', 'a']", "evaluate.slices: names 'a' twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, setting: str, expected: str) -> None:
    [found] = faults(tmp_path, LEAST, setting)
    assert found.startswith(f"--set {expected}")


COST = "objective.cost={ fp = 1, fn = 20 }"


def test_one_setting_at_most_chooses_the_threshold(tmp_path: Path) -> None:
    [found] = faults(tmp_path, LEAST, COST, "objective.recall_at_least=0.9")
    assert found == "--set objective.recall_at_least: cannot stand beside cost. Keep one of them"


def test_a_threshold_needs_two_labels(tmp_path: Path) -> None:
    [found] = faults(tmp_path, LEAST, COST, "data.labels=['a', 'b', 'c']")
    assert "objective.cost: chooses a threshold between two labels; there are 3" in found
    [found] = faults(tmp_path, LEAST.replace("classification", "generation"), COST)
    assert found == "--set objective.cost: is for tasks with labels; this task is generation"


def test_the_objective_must_fit_the_labels_of_the_data(tmp_path: Path) -> None:
    rows = "".join(f"text number {i},{'abc'[i % 3]}\n" for i in range(30))
    (tmp_path / "train.csv").write_text("text,label\n" + rows, encoding="utf-8")
    config = load(tmp_path, LEAST, COST, "objective.positive=d")
    with pytest.raises(ConfigError) as caught:
        read_run_data(config)
    assert [str(fault) for fault in caught.value.faults] == [
        "objective.positive: there is no label 'd'. Labels: a, b, c",
        "objective.cost: chooses a threshold between two labels; there are 3. "
        "Use objective.metric with at_least, or data with two labels",
    ]
    fine = load(tmp_path, LEAST, "data.labels=['a', 'b', 'c']", "objective.positive=b")
    assert read_run_data(fine).labels == ("a", "b", "c")


def test_prices_are_a_table(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST, COST)
    assert (config.objective.cost.fp, config.objective.cost.fn) == (1, 20)
    again = tmp_path / "again.toml"
    again.write_text(dump_config(config), encoding="utf-8")
    assert load_config(again) == config
    [found] = faults(tmp_path, LEAST, "objective.cost=20")
    assert found == "--set objective.cost: must be a table, not 20"


def test_a_misspelt_metric_gets_its_neighbour(tmp_path: Path) -> None:
    [found] = faults(tmp_path, LEAST, "objective.metric=macro_f")
    assert found.endswith("Did you mean macro_f1?")


def test_overrides_are_toml_or_a_bare_word(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        LEAST,
        "train.epochs=2",
        "train.schedule = cosine",
        "train.eval_every=50",
        'data.train=["a.csv", "b.csv"]',
        "model.lora.r=4",
    )
    assert config.train.epochs == 2
    assert config.train.schedule == "cosine"
    assert config.train.eval_every == 50
    assert isinstance(config.train.eval_every, int)
    assert config.data.train == ["a.csv", "b.csv"]
    assert config.model.lora.r == 4


RAILS = """
[[guardrail]]
metric = "recall"
positive = "fraud"
no_worse_by = 0.02
[[guardrail]]
metric = "accuracy"
at_least = 0.8
"""


@pytest.mark.parametrize("form", ["guardrail.1.{}", "guardrail[1].{}"])
def test_one_field_of_one_guardrail_is_overruled(tmp_path: Path, form: str) -> None:
    at_least, tier = form.format("at_least=0.7"), form.format("slice.tier=gold")
    first, second = load(tmp_path, LEAST + RAILS, at_least, tier).guardrail
    assert (first.metric, first.no_worse_by, first.slice) == ("recall", 0.02, {})
    assert (second.metric, second.at_least, second.slice) == ("accuracy", 0.7, {"tier": "gold"})
    [wrong] = faults(tmp_path, LEAST + RAILS, form.format("at_least=high"))
    assert wrong.startswith("--set guardrail[1].at_least: 'high' is not a number")


def test_an_override_of_a_list_says_which_entries_there_are(tmp_path: Path) -> None:
    said = "is a list of 2, counted from 0. Write guardrail.0, guardrail.1"
    for key in ("guardrail.2.at_least", "guardrail.at_least", "guardrail.-1.at_least"):
        assert faults(tmp_path, LEAST + RAILS, f"{key}=1") == [f"--set {key}: guardrail {said}"]
    [none] = faults(tmp_path, LEAST, "guardrail.0.at_least=1")
    assert none.endswith("guardrail has no entry yet. Write [[guardrail]] into the file")
    config = load(tmp_path, LEAST, "data.label_map.0=bad", 'data.train=["a.csv", "b.csv"]')
    assert config.data.label_map == {"0": "bad"}
    assert load(tmp_path, LEAST, 'data.train=["a.csv"]', "data.train.0=b.csv").data.train == [
        "b.csv"
    ]


def test_every_bad_override_is_told(tmp_path: Path) -> None:
    found = faults(tmp_path, LEAST, "epochs", "=3", "task.x=1")
    assert len(found) == 3
    assert found[2] == "--set task.x: task is not a table"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"),
        (b"task = ", "is not valid TOML"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        load_config(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert load_config(path).model.base == "tiny"


def test_lines_of_keys() -> None:
    text = 'a = 1\n\n[b]\nc = 2\n[b.d]\n"e" = 3\n# f = 4\n'
    assert key_lines(text) == {"a": 1, "b": 3, "b.c": 4, "b.d": 5, "b.d.e": 6}


def test_every_setting_has_its_sentence() -> None:
    for setting in settings(RunConfig):
        assert len(setting.sentence.split()) > 2, setting.path


def test_a_share_of_nothing_is_no_split(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST).data.validation == 0.1
    assert load(tmp_path, LEAST, "data.validation=0").data.validation is None
    assert load(tmp_path, LEAST, "data.test=0.0").data.test is None


def test_eval_needs_rows_but_nothing_to_train_on(tmp_path: Path) -> None:
    text = 'task = "generation"\n[model]\nbase = "a"\ntuned = "b"\n'
    assert faults(tmp_path, text)[0].startswith("run.toml data.test: must be given")
    assert not load(tmp_path, text, "data.test=x.jsonl").trains


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).map(
    lambda name: f"n{name}"
)
shares = st.floats(0.01, 0.4)
configs = st.builds(
    RunConfig,
    task=st.sampled_from(["classification", "generation"]),
    name=names,
    model=st.builds(
        ModelConfig,
        base=names,
        adapter=st.sampled_from(["none", "lora"]),
        lora=st.builds(LoraConfig, r=st.integers(1, 64), target_modules=st.just(["q", "v"])),
        max_length=st.none() | st.integers(2, 4096),
    ),
    data=st.builds(
        DataConfig,
        train=names | st.lists(names, min_size=1),
        validation=st.none() | names | shares,
        test=st.none() | names | shares,
        labels=st.none() | st.lists(names, min_size=2, unique=True),
        header=st.booleans() | st.just("auto"),
    ),
    train=st.builds(
        TrainConfig,
        epochs=st.floats(0.1, 100),
        eval_every=st.integers(1, 500) | st.floats(0.1, 5),
        early_stopping=st.none() | st.builds(EarlyStopping, patience=st.integers(1, 9)),
        seed=st.integers(0, 2**31),
    ),
    objective=st.builds(
        ObjectiveConfig,
        metric=st.none() | st.sampled_from(list(METRICS)),
        at_least=st.none() | st.floats(0, 1),
    ),
    evaluate=st.builds(
        EvaluateConfig,
        prompts=st.lists(st.text(alphabet="a\"\n\\é𝄞 '")),
    ),
)


def is_measured(config: RunConfig) -> bool:
    """Whether the objective is a metric of the task, and its target in the metric's direction."""
    metric, target = config.objective.metric, config.objective.at_least
    if metric is not None and metric not in config.task_type.metrics:
        return False
    asked = METRICS[metric or config.task_type.default_metric]
    return target is None or (asked.higher_is_better and asked.unit != "nats" and target > 0)


@given(configs.filter(is_measured))
def test_a_saved_configuration_is_the_same_when_loaded(config: RunConfig) -> None:
    import tomllib

    assert check_config(tomllib.loads(dump_config(config))) == config


def test_a_saved_configuration_keeps_its_folder(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST)
    elsewhere = tmp_path / "run"
    elsewhere.mkdir()
    assert load(elsewhere, dump_config(config)) == config
    assert replace(config, name="x").name == "x"


@pytest.mark.parametrize(
    ("task", "setting", "expected"),
    [
        ("classification", "at_least = nan", "at_least: must be a number, not nan"),
        ("classification", "at_most = -inf", "at_most: must be a number, not -inf"),
        ("classification", 'metric = "bleu"', "bleu is measured for generation"),
        ("generation", 'metric = "recall"', "recall is measured for classification"),
    ],
)
def test_an_objective_that_cannot_be_met_is_refused(
    tmp_path: Path, task: str, setting: str, expected: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        f'task = "{task}"\n[model]\nbase = "m"\n[data]\ntrain = "t.csv"\n[objective]\n{setting}\n'
    )
    with pytest.raises(ConfigError, match=r"run\.toml:7 objective") as found:
        load_config(path)
    assert expected in str(found.value)
    assert found.value.exit_code == 2


# V4: a target in the metric's direction


@pytest.mark.parametrize(
    ("task", "setting", "expected"),
    [
        ("classification", 'metric = "accuracy"\nat_most = 0.9',
         "objective.at_most: cannot be asked of accuracy: more is better. Write at_least"),
        ("classification", "at_most = 0.9", "objective.at_most: cannot be asked of macro_f1"),
        ("generation", "at_least = 3.0",
         "objective.at_least: cannot be asked of loss: less is better. Write at_most"),
        ("classification", 'metric = "brier"\nat_least = 0.2', "cannot be asked of brier"),
        ("classification", 'metric = "accuracy"\nat_least = 85',
         "must be above 0 and at most 1 for accuracy, not 85. 0.85 means 85 %"),
        ("classification", 'metric = "accuracy"\nat_least = 0', "must be above 0 and at most 1"),
        ("generation", 'metric = "bleu"\nat_least = 120', "must be above 0 and at most 100"),
        ("generation", 'metric = "perplexity"\nat_most = 0.5', "must be at least 1"),
    ],
)  # fmt: skip
def test_V4_a_target_is_in_the_direction_of_its_metric(
    tmp_path: Path, task: str, setting: str, expected: str
) -> None:
    text = f"{LEAST.replace('classification', task)}[objective]\n{setting}\n"
    [found] = faults(tmp_path, text)
    assert expected in found
    assert "run.toml:" in found


def test_V4_targets_in_the_right_direction_are_taken(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST, "objective.metric=brier", "objective.at_most=0.2")
    assert load(tmp_path, LEAST, "objective.metric=mcc", "objective.at_least=-0.1")
    text = LEAST.replace("classification", "generation")
    log_likelihood = "objective.metric=average_log_likelihood"
    assert load(tmp_path, text, log_likelihood, "objective.at_least=-2.5")
    assert load(tmp_path, text, "objective.at_most=3.0")


def test_V4_a_metric_of_two_labels_is_refused_for_three(tmp_path: Path) -> None:
    rows = "".join(f"text number {i},{'abc'[i % 3]}\n" for i in range(30))
    (tmp_path / "train.csv").write_text("text,label\n" + rows, encoding="utf-8")
    config = load(tmp_path, LEAST, "objective.metric=recall")
    with pytest.raises(ConfigError, match="belongs to one positive label of two; there are 3"):
        read_run_data(config)


def test_a_best_metric_of_another_task_is_refused(tmp_path: Path) -> None:
    [found] = faults(tmp_path, LEAST, "train.best_metric=token_accuracy")
    assert "token_accuracy is measured for generation" in found


# Bounds: every number


def numbers() -> list[Setting]:
    """Every setting that takes a number."""
    return [s for s in settings(RunConfig) if {int, float} & {*members(s.type)}]


def outside(bounds: Bounds) -> list[float]:
    """A number just past each end of the bounds."""
    ends = [bounds.at_least - 1, bounds.at_most * 2 + 1]
    ends += [end for end in (bounds.above, bounds.below) if math.isfinite(end)]
    return ends


def refused(folder: Path, setting: Setting, value: float) -> None:
    """The value is a fault that names the setting: in the file, by --set and in the form."""
    written = repr(int(value)) if float not in members(setting.type) and math.isfinite(value) else (
        repr(float(value)))  # fmt: skip
    [by_set] = faults(folder, LEAST, f"{setting.path}={written}")
    assert by_set.startswith(f"--set {setting.path}: "), by_set
    section, _, name = setting.path.rpartition(".")
    text = LEAST if section == "data" else f"{LEAST}[{section}]\n"
    text += f"{name} = {written}\n"
    if section == "model":
        text = LEAST.replace('base = "tiny"', f'base = "tiny"\n{name} = {written}')
    [in_file] = faults(folder, text)
    assert re.match(rf"run\.toml:\d+ {setting.path}: ", in_file), in_file
    given = {"task": "classification", "model.base": "tiny", "data.train": "train.csv"}
    read = read_value(setting.type, written)
    checked = check_draft(Draft({**given, setting.path: read}))
    assert [f.setting for f in checked.faults] == [setting.path]


def test_there_are_numbers_to_bound() -> None:
    assert len(numbers()) > 30


@pytest.mark.parametrize("setting", numbers(), ids=lambda s: s.path)
def test_every_number_has_bounds_and_is_refused_outside_of_them(
    tmp_path: Path, setting: Setting
) -> None:
    assert setting.bounds is not None, f"{setting.path} has no bounds"
    for value in (math.nan, math.inf, -math.inf, *outside(setting.bounds)):
        refused(tmp_path, setting, value)


@pytest.mark.parametrize(
    "setting",
    [
        *("train.batch_tokens=0", "evaluate.batch_tokens=0", "model.lora.r=0", "train.seed=-1"),
        *("model.lora.dropout=2.0", "evaluate.max_new_tokens=-1", "train.weight_decay=nan"),
        *("train.learning_rate=inf", "train.warmup_ratio=2", "evaluate.serve_minutes=nan"),
        *("train.early_stopping.patience=-1", "train.seed=99999999999", "train.max_steps=0"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(tmp_path: Path, setting: str) -> None:
    [found] = faults(tmp_path, LEAST, setting)
    assert found.startswith(f"--set {setting.partition('=')[0]}: must be ")


def test_faults_of_every_kind_are_listed_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path, LEAST, "train.epochs=many", "model.lora.r=0", "train.warmup_ratio=2",
        "objective.at_most=0.5", "train.learning_rat=1", "data.labels=['a', 'a']",
    )  # fmt: skip
    keys = {f.removeprefix("--set ").partition(":")[0] for f in found}
    assert keys == {"train.epochs", "model.lora.r", "train.warmup_ratio", "objective.at_most",
                    "train.learning_rat", "data.labels"}  # fmt: skip


def test_the_page_of_settings_is_made_from_the_fields() -> None:
    """After a change of settings: `python tests/make_settings.py`."""
    assert make_settings.PAGE.read_text(encoding="utf-8") == make_settings.page()
