"""What is one file in the source: a toy is put beside the others, and arrives everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import story
from ftev.core.config.config_file import check_config
from ftev.core.errors import ConfigError
from ftev.core.judgement.findings import LOOKS, PITFALLS
from ftev.core.judgement.findings.case import Case, Finding, pitfall
from ftev.core.metrics.counts import FloatArray
from ftev.core.metrics.metric import BY_ROW, METRICS, Counted, Metric, RowShare
from ftev.core.metrics.references import AnswerTexts
from ftev.core.metrics.sums import Margins, Ratio, Totals
from ftev.core.report.blocks import SECTIONS, Block, Heading, Paragraph, section
from ftev.core.report.explained import explain_metric
from ftev.core.report.formats.card import render_card
from ftev.core.report.glossary import explain, lookup
from ftev.core.report.report import build_report, render_html, render_markdown
from ftev.core.run.history import fold, read_history
from ftev.core.run.runs import Run
from ftev.core.tasks import find_task
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.charts.data import ChartData
from ftev.tui.screens.evaluation.evidence import FindingsSection
from ftev.tui.screens.evaluation.sections import Section, Shown, more_section
from ftev.tui.screens.run.metric_rows import metric_tables
from ftev.tui.screens.run.metrics import table_lines
from huggingface_hub import EvalResult, ModelCard
from msgspec.structs import replace
from package_copy import copy_room
from stored_runs import labelled, write_run, written
from waiting import patience

ROOT = Path(__file__).parents[1]
FORMAT = '''
"""Cards: `CARDS` on the first line, then `label: text` on each."""

import numpy as np
import polars as pl

from . import File, Format, Records


def read(file: File) -> Records:
    lines = file.data.decode().splitlines()[1:]
    broken = [i for i, line in enumerate(lines) if ": " not in line]
    file.leave_out("has no label", [i + 2 for i in broken])
    number = np.setdiff1d(np.arange(len(lines)), broken)
    cards = [lines[i].split(": ", 1) for i in number]
    columns = {n: pl.Series(n, [c[k] for c in cards]) for k, n in enumerate(("label", "text"))}
    return Records(columns, number, number + 2, len(lines), len(broken))


FORMAT = Format(endings=(".cards",), likeness=lambda head: head.startswith(b"CARDS"), read=read)
'''
SETTING = '''\
    patience_ratio: Annotated[float, Bounds(at_least=0, below=7)] = 2.5
    """Toy share of the steps that a toy waits."""
'''
TASK = """
from .classification import Classification

TASK = Classification(
    name="mood",
    does="choose a mood",
    model_kind="mood reader",
    hub_type="text-classification",
    auto_class="AutoModelForSequenceClassification",
    adapter_type="SEQ_CLS",
    architectures=("MoodReader",),
    has_labels=True,
    forms=("text_label",),
    settings=("data.label", "data.labels"),
    stored={"row_id": "whole numbers", "label": "text", "predicted": "text"},
    truth="label",
    measures="classification",
    default_metric="balanced_accuracy",
    guess_formula="ln of the moods",
)
"""
GOOD = "CARDS\n" + "".join(f"{('joy', 'anger')[i % 2]}: card number {i}\n" for i in range(20))
CONFIG = """
task = "classification"
model.base = "none"
data = {{ train = "{}", validation = 0.2 }}
"""


def python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        check=False,
        env=environment,
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=patience(120),
    )


def test_a_data_format_is_one_file(tmp_path: Path) -> None:
    """By its ending and by its contents, with the lines of its faults, in `check` and the form."""
    tree = copy_room(tmp_path, "core/data/formats")
    (tree / "ftev/core/data/formats/cards.py").write_text(FORMAT)
    (tree / "train.cards").write_text(GOOD)
    (tree / "unnamed").write_text(GOOD)
    code = """
from pathlib import Path
from ftev.core.config.config import DataConfig
from ftev.core.config.draft import Draft
from ftev.core.data.data import read_dataset
from ftev.tui.screens.new_run.form_fields import Known, form_fields

for name, form in (("train.cards", "auto"), ("unnamed", "auto"), ("unnamed", "cards")):
    data = DataConfig(train=name, validation=None, format=form)
    split = read_dataset(data, "classification", 1, Path()).splits["train"]
    print(sorted(split.label_counts()), split.frame["line"].min(), split.line_offset)
fields = form_fields(Draft({}), (), Known(), whole=True)
print(*next(f.choices for f in fields if f.path == "data.format"))
"""
    done = python(tree, "-c", code)
    assert done.returncode == 0, done.stderr
    *read, listed = done.stdout.splitlines()
    assert read == ["['anger', 'joy'] 2 2", *["['anger', 'joy'] 2 0"] * 2]
    assert {"auto", "cards", "csv", "parquet"} <= set(listed.split())

    (tree / "train.cards").write_text(GOOD + "no label here\n")
    (tree / "run.toml").write_text(CONFIG.format("train.cards"))
    done = python(tree, "-m", "ftev.tui.cli", "check", "run.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "ftev: train.cards:22: has no label. Mend it" in done.stderr


@pytest.fixture(scope="module")
def with_setting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copy_room(tmp_path_factory.mktemp("setting"), "core/config")
    file = tree / "ftev/core/config/config.py"
    before, start, after = file.read_text().partition("class TrainConfig:\n")
    file.write_text(before + start + SETTING + after)
    return tree


def test_a_setting_is_one_field_for_the_form_and_the_page(with_setting: Path) -> None:
    code = f"""
import sys; sys.path.append({str(ROOT / "tests")!r})
import make_settings
from ftev.core.config.draft import Draft, check_draft
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.new_run.form_fields import Known, form_fields
from ftev.tui.screens.new_run.form_fields import field_line, foot_lines

draft = Draft({{"task": "classification", "model.base": "m", "train.patience_ratio": 9.0}})
fields = form_fields(draft, check_draft(draft).faults, Known(), whole=True)
[at] = [i for i, field in enumerate(fields) if field.path == "train.patience_ratio"]
print(text_of(field_line(fields, at, 100, focused=False)))
print(*(text_of(line) for line in foot_lines(fields[at], 100, 6)), sep="\\n")
print(*(line for line in make_settings.page().splitlines() if "patience_ratio" in line))
"""
    done = python(with_setting, "-c", code)
    assert not done.returncode, done.stderr
    line, foot, sentence, fault, row = done.stdout.splitlines()
    assert "patience_ratio" in line
    assert line.endswith("9.0  ✗ must be at least 0 and below 7")
    assert foot == "train.patience_ratio   a number, at least 0 and below 7   default 2.5"
    assert sentence == "Toy share of the steps that a toy waits."
    assert fault == "must be at least 0 and below 7"
    assert row == f"| `patience_ratio` | a number, at least 0 and below 7 | `2.5` | {sentence} |"


def test_a_setting_is_one_field_for_the_check_and_the_flag(with_setting: Path) -> None:
    (with_setting / "run.toml").write_text(
        'task = "classification"\n[model]\nbase = "m"\n[train]\npatience_ratio = -1.0\n'
    )
    for flags, fault in (
        ((), "run.toml:5 train.patience_ratio: must be at least 0 and below 7"),
        (("--set", "train.patience_ratio=8"), "--set train.patience_ratio: must be at least 0"),
    ):
        done = python(with_setting, "-m", "ftev", "check", "run.toml", *flags)
        assert done.returncode == 2
        assert fault in done.stderr


@pytest.fixture
def registered() -> Iterator[None]:
    """What a test registers is taken out again when it has ended."""
    tables = (METRICS, PITFALLS)
    lists = (LOOKS, SECTIONS)
    before = [[*table.items()] for table in tables], [[*kept] for kept in lists]
    yield
    for table, items in zip(tables, before[0], strict=True):
        table.clear()
        table.update(items)  # type: ignore[call-overload]
    for kept, known in zip(lists, before[1], strict=True):
        kept[:] = known  # type: ignore[call-overload]


@pytest.fixture
def toy_metrics(registered: None) -> None:
    """One from counts and one from rows: a decorated function each, and nothing else."""

    @Metric(
        of=("counts",),
        title="Jaccard index of the positive label",
        label="Jaccard index",
        unit="share",
        formula="true positives ÷ rows that are or are called positive",
        counted=Counted("rows rightly called {positive}", "rows with {positive} in either", BY_ROW),
        positive="needed",
        share=RowShare(lambda a: (a.truth == a.positive) | (a.predicted == a.positive)),
        chart=5,
        hub=("jaccard_index", {"average": "binary"}),
        see=("f1",),
        aliases=("intersection over union",),
    )
    def jaccard(m: Margins) -> Ratio | None:
        """How far the rows called positive and the positive rows are the same rows.

        Of all rows in either set, the share that is in both.

        Trap: It is always below F1, and says no more.
        """
        f1 = m.of_positive("f1")
        if f1 is None:
            return None
        return Ratio(f1.numerator / 2, f1.denominator - f1.numerator / 2)

    def first_words(texts: AnswerTexts) -> FloatArray:
        pairs = zip(texts.answers, texts.references, strict=True)
        return np.array([float(a.split()[:1] == r.split()[:1]) for a, r in pairs])

    @Metric(
        of=("answers",),
        title="first word right",
        unit="share",
        formula="answers that begin as their reference ÷ rows",
        counted=Counted("answers that begin as their reference", "rows with a reference", BY_ROW),
        adds=first_words,
        signature=lambda texts: "split at white space",
        sign_flip=True,
        see=("exact_match",),
    )
    def first_word(t: Totals) -> Ratio:
        """The share of answers whose first word is that of the reference.

        Where the first word decides, it is all that counts.

        Trap: It knows nothing of what follows.
        """
        return Ratio(t["first_word"], t["rows"])


def answered(skill: float) -> pl.DataFrame:
    words = ["yes, it is", "no, never", "perhaps so"]
    dice = np.random.default_rng(int(skill * 10))
    reference = [words[i % 3] for i in range(60)]
    wrong = [words[(i + 1) % 3] for i in range(60)]
    right = dice.random(60) < skill
    completion = [r if ok else w for r, w, ok in zip(reference, wrong, right, strict=True)]
    return written(gain=skill / 5).with_columns(
        completion=pl.Series(completion), reference=pl.Series(reference)
    )


def on_the_hub(run: Run) -> list[EvalResult]:
    """The results that the hub reads from the model card."""
    card = ModelCard(render_card(build_report(run), None))
    return list(card.data.eval_results or [])


def assert_arrives(run: Run, metric: str, label: str, title: str) -> None:
    """In results, comparison, table, report, receipt, glossary and card."""
    history, report = read_history(run), build_report(run)
    estimate = history.results["test"]["tuned"].metrics[metric]
    assert estimate.low < estimate.value < estimate.high
    [compared] = [c for c in history.comparisons if c.metric == metric]
    assert compared.low < compared.difference < compared.high
    assert "permutation p" in compared.method

    [table] = [t for t in metric_tables(history) if t.split == "test"]
    assert any(text_of(line).lstrip().startswith(label) for line in table_lines(table, 100, None))
    assert label in render_markdown(report)
    assert title in unescape(render_html(report))
    assert title in {r.metric_name for r in on_the_hub(run)}

    found = explain_metric(history, None, metric)
    ratio = found.receipt.numerator, found.receipt.denominator
    assert ratio[0] / ratio[1] == estimate.value == found.receipt.value  # type: ignore[operator]
    assert found.differences[0].p == compared.p
    assert found.glossary.trap == METRICS[metric].trap
    assert lookup(metric) == found.glossary


@pytest.mark.usefixtures("toy_metrics")
def test_a_metric_of_counts_is_one_function(tmp_path: Path) -> None:
    frames = {"base": labelled(skill=0.6), "tuned": labelled(skill=1.6, seed=1)}
    run = write_run(tmp_path / "run", frames, compared=True)
    tuned = read_history(run).results["test"]["tuned"]
    assert_arrives(run, "jaccard", "Jaccard index", f'Jaccard index of "{tuned.positive}"')
    f1, jaccard = (tuned.metrics[name] for name in ("f1", "jaccard"))
    assert jaccard.value == pytest.approx(f1.value / (2 - f1.value))
    assert jaccard.method == "Wilson 95 %"
    assert "jaccard_index" in {r.metric_type for r in on_the_hub(run)}
    assert lookup("Intersection over union") == lookup("jaccard")


@pytest.mark.usefixtures("toy_metrics")
def test_a_metric_of_rows_is_one_function(tmp_path: Path) -> None:
    frames = {"base": answered(0.3), "tuned": answered(0.8)}
    run = write_run(tmp_path / "run", frames, compared=True)
    assert_arrives(run, "first_word", "first word", "first word right")
    tuned = read_history(run).results["test"]["tuned"]
    assert tuned.signatures["first_word"] == "split at white space"
    assert tuned.metrics["first_word"].value == tuned.metrics["exact_match"].value


@pytest.mark.usefixtures("toy_metrics")
def test_a_metric_has_its_chart_and_its_place_in_the_objective() -> None:
    history = fold(story.whole())
    cells = [(0, 0, 40), (0, 1, 10), (1, 0, 5), (1, 1, 25)]
    history.evaluations[:] = [replace(e, confusion=cells) for e in history.evaluations]
    charts, name = ChartData(), f'Jaccard index of "{history.positive}"'
    charts.update(history)
    assert charts.chart("jaccard").title == name
    assert charts.metrics().index("jaccard") > charts.metrics().index("f1")
    table = {"task": "classification", "model": {"base": "m"}, "data": {"train": "a.csv"}}
    config = check_config(table | {"objective": {"metric": "jaccard", "at_least": 0.5}})
    assert config.objective.metric == "jaccard"
    with pytest.raises(ConfigError, match="must be above 0 and at most 1 for jaccard, not 7"):
        check_config(table | {"objective": {"metric": "jaccard", "at_least": 7.0}})


def screen_of(run: Run, part: Section) -> str:
    """What a section of the evaluation screen shows of a run."""
    history, report = read_history(run), build_report(run)
    [table] = [t for t in metric_tables(history) if t.split == "test"]
    shown = Shown(report, report, history, "test", "base", table)
    return "\n".join(map(text_of, part.draw(shown, 100, 400)))


@pytest.mark.usefixtures("registered")
def test_a_finding_is_one_function(tmp_path: Path) -> None:
    """In report, screen, verdict and glossary, before others of its severity."""

    @pitfall("odd_rows", title="an odd number", rank=-1, see=("test split",), aliases=("uneven",))
    def odd_rows(case: Case) -> Iterator[Finding]:
        """The judged split has rows that no pair can be made of.

        With an odd number of rows one of them is alone. Nobody knows what it thinks of that.

        Trap: Leaving it out makes the others even, and it odder.
        """
        if case.tuned.n % 2:
            yield Finding("odd_rows", "error", "one row is alone", remedy="Find it a friend")

    frames = {"base": labelled(121, skill=0.6), "tuned": labelled(121, skill=2.6, seed=1)}
    run = write_run(tmp_path / "run", frames, compared=True)
    report = build_report(run)
    assert report["findings"][0]["code"] == "odd_rows"
    assert report["verdict"]["decision"] != "ship"
    assert "one row is alone" in " ".join(report["verdict"]["reasons"])
    for text in (render_markdown(report), render_html(report), screen_of(run, FindingsSection())):
        assert "one row is alone" in text.replace("One", "one")
        assert "Find it a friend" in text
    entry = explain("uneven")
    assert (entry.name, entry.title, entry.kind) == ("odd_rows", "an odd number", "finding")
    assert entry.trap == "Leaving it out makes the others even, and it odder."
    even = {model: frame.head(120) for model, frame in frames.items()}
    fine = build_report(write_run(tmp_path / "even", even, compared=True))
    assert "odd_rows" not in [f["code"] for f in fine["findings"]]


@pytest.mark.usefixtures("registered")
def test_a_section_is_one_function(tmp_path: Path) -> None:
    """In Markdown and HTML at its place, and on the evaluation screen."""

    @section(place=15, more=15)
    def show_weather(report: dict[str, object]) -> list[Block]:
        return [Heading("Weather"), Paragraph("It rained while this was trained.")]

    frames = {"base": labelled(skill=0.6), "tuned": labelled(skill=1.6, seed=1)}
    run = write_run(tmp_path / "run", frames)
    report = build_report(run)
    for text in (render_markdown(report), render_html(report)):
        body = text[text.rindex("Weather") :]
        assert body.index("It rained while this was trained.") < body.index("Metrics")
    assert "It rained while this was trained." in screen_of(run, more_section())


def test_a_report_format_is_one_file(tmp_path: Path) -> None:
    """In the command with its help, and from Python."""
    tree = copy_room(tmp_path / "tree", "core/report/formats")
    file = tree / "ftev/core/report/formats/shout.py"
    file.write_text("def render(report):\n    return report['run']['name'].upper() + '!\\n'\n")
    run = write_run(tmp_path / "run", {"tuned": labelled()})
    done = python(tree, "-m", "ftev", "report", str(run.path), "--format", "shout")
    assert done.returncode == 0, done.stderr
    assert (run.path / "report.shout").read_text() == "MADE!\n"
    code = f"import ftev; print(ftev.open({str(run.path)!r}).report('shout'))"
    assert python(tree, "-c", code).stdout == "MADE!\n\n"
    assert "shout" in python(tree, "-m", "ftev", "report", "--help").stdout
    done = python(tree, "-m", "ftev", "report", str(run.path), "--format", "sing")
    assert done.returncode == 2
    assert "there is no format 'sing'" in done.stderr
    assert "shout" in done.stderr


def test_a_task_is_one_file(tmp_path: Path) -> None:
    """On the command line and in the form; its runs are judged and reported by what it says."""
    tree = copy_room(tmp_path, "core/tasks")
    (tree / "ftev/core/tasks/mood.py").write_text(TASK)
    assert "mood" in python(tree, "-m", "ftev", "eval", "--help").stdout
    code = (
        "from ftev.core.config.draft import form_settings\n"
        "print([s for s in form_settings() if s.path == 'task'])\n"
    )
    assert "mood" in python(tree, "-c", code).stdout

    run = shutil.copytree(ROOT / "sample_runs" / "classification", tree / "a-mood")
    for name in ("run.toml", "events.jsonl"):  # as if it were one of the toy task
        text = (run / name).read_text()
        text = text.replace('task = "classification"', 'task = "mood"')
        text = text.replace('"task":"classification"', '"task":"mood"')
        kept = [line for line in text.splitlines() if not line.startswith("metric = ")]
        (run / name).write_text("\n".join(kept) + "\n")
    done = python(tree, "-m", "ftev", "report", str(run), "--format", "html,json,card")
    assert done.returncode == 0, done.stderr
    report = json.loads((run / "report.json").read_text())
    assert report["run"]["task"] == "mood"
    assert "balanced accuracy" in report["verdict"]["reasons"][0]
    assert "random guessing (ln of the moods)" in (run / "report.html").read_text()
    assert "A mood reader" in (run / "README.md").read_text()


def test_an_unknown_task_has_no_labels_and_no_metrics_of_its_own() -> None:
    unknown = find_task("telepathy")
    assert not unknown.has_labels
    assert unknown.metrics == ["loss"]
    assert unknown.guessing_loss(2, 100) is None
