"""Predictions of models that ftev never met, judged: files of many kinds, and what is wrong."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ftev
import polars as pl
import pytest
from backports import zstd
from ftev.core.compare.judge import judge_files
from ftev.core.config.objective import ObjectiveConfig
from ftev.core.errors import FtevError
from ftev.core.report.report import build_report
from ftev.core.report.verify.verify import verify
from ftev.core.run.history import History, read_history
from ftev.core.run.runs import Run
from ftev.tui import cli
from imports import ROOT
from waiting import patience

WORKED = (
    [("pos", "pos")] * 85 + [("pos", "neg")] * 15 + [("neg", "pos")] * 10 + [("neg", "neg")] * 90
)


def write(path: Path, rows: Sequence[Sequence[object]], header: str) -> str:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def judged(folder: Path, *paths: str, **how: Any) -> tuple[Run, History]:
    run = judge_files(paths, folder / "runs", **how)
    return run, read_history(run)


def refused(folder: Path, *paths: str, **how: Any) -> str:
    with pytest.raises(FtevError) as caught:
        judge_files(paths, folder / "runs", **how)
    assert not list((folder / "runs").glob("*"))  # nothing is left of what was refused
    return str(caught.value)


def verdict(run: Run) -> dict[str, Any]:
    return dict(build_report(run)["verdict"])


def holds(run: Run) -> bool:
    """Every number that can be made again from the stored rows is."""
    checks = verify(run)
    return len(checks) > 10 and all(c.ok for c in checks if "rows not held" not in c.message)


def test_the_worked_example(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(i, *row) for i, row in enumerate(WORKED)], "id,truth,tuned")
    run, history = judged(tmp_path, path, objective=ObjectiveConfig(positive="pos"))
    result = history.results["test"]["tuned"]
    found = {
        n: round(result.metrics[n].value, 4) for n in ("accuracy", "precision", "recall", "f1")
    }
    assert found == {"accuracy": 0.875, "precision": 0.8947, "recall": 0.85, "f1": 0.8718}
    assert result.confusion is not None
    assert sorted(n for row in result.confusion.counts for n in row) == [10, 15, 85, 90]
    assert "loss" not in result.metrics
    assert verdict(run)["decision"] == "no evidence"  # against nothing it is not better
    assert holds(run)


def test_an_accuracy_that_finds_no_fraud_is_held(tmp_path: Path) -> None:
    rows = [
        (i, "fraud" if i < 50 else "legit", "legit", "fraud" if i < 6 else "legit")
        for i in range(2_000)
    ]
    path = write(tmp_path / "a.csv", rows, "id,truth,base,tuned")
    run, history = judged(tmp_path, path)
    assert history.results["test"]["tuned"].metrics["accuracy"].value > 0.975
    found = verdict(run)
    assert found["decision"] == "hold"
    assert "12.0 % of the rows" in found["reasons"][0]


def noisy(n: int, skill: float, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [
        min(0.99, max(0.01, 0.5 + skill * (i % 3 == 0 or -0.6) + draw.gauss(0, 0.2)))
        for i in range(n)
    ]


def with_probabilities(folder: Path) -> str:
    base, tuned = noisy(150, 0.1, 1), noisy(150, 0.35, 2)
    rows = [
        (
            i,
            "yes" if i % 3 == 0 else "no",
            *("yes" if p > 0.5 else "no" for p in (b, t)),
            b,
            t,
            "web" if i % 2 else "app",
            i // 3,
        )
        for i, (b, t) in enumerate(zip(base, tuned, strict=True))
    ]
    header = "id,truth,base,tuned,base_probability,tuned_probability,source,group"
    return write(folder / "p.csv", rows, header)


def test_probabilities_groups_and_columns(tmp_path: Path) -> None:
    run, history = judged(tmp_path, with_probabilities(tmp_path))
    tuned = history.results["test"]["tuned"]
    assert {"loss", "roc_auc", "ece"} <= tuned.metrics.keys()
    assert tuned.clusters == 50
    assert history.positive == "yes"
    assert "calibration" in history.analyses["test"]
    assert verdict(run)["decision"] == "ship"
    assert holds(run)
    one = pl.read_parquet(run.predictions / "test.tuned.parquet")
    assert one["probabilities"].list.len().unique().to_list() == [2]
    assert "slice:source" in one.columns


def test_two_files_are_paired_by_id(tmp_path: Path) -> None:
    ids = list(range(60))
    a = write(
        tmp_path / "a.csv", [(i, "x" if i % 2 else "y", "x") for i in ids], "id,label,prediction"
    )
    shuffled = random.Random(1).sample(ids, 60)
    rows = [(f"{i}.0", "x" if i % 2 else "y", "x" if i % 2 else "y") for i in shuffled]
    b = write(tmp_path / "b.csv", rows, "id,label,prediction")
    _, history = judged(tmp_path, a, b)
    assert history.results["test"]["tuned"].metrics["accuracy"].value == 1
    assert history.results["test"]["base"].metrics["accuracy"].value == 0.5
    [accuracy] = [c for c in history.comparisons if c.metric == "accuracy"]
    assert (accuracy.fixed, accuracy.broke) == (30, 0)
    short = write(tmp_path / "c.csv", rows[:50], "id,label,prediction")
    found = refused(tmp_path / "other", a, short)
    assert "lacks 10 rows" in found
    changed = [(i, "y", "x") for i in ids]
    other = write(tmp_path / "d.csv", changed, "id,label,prediction")
    assert "truth differs" in refused(tmp_path / "other", a, other)


def lm_eval(path: Path, skill: float, template: str, salt: str = "") -> str:
    draw, lines = random.Random(str(path)), []
    for i in range(120):
        gold = i % 4
        scores = [draw.gauss(-5, 1) + skill * (k == gold) for k in range(4)]
        line = {
            "doc_id": i,
            "doc": {"question": f"what is {i}?"},
            "target": str(gold),
            "resps": [[[str(s), "False"]] for s in scores],
            "filtered_resps": [[str(s), "False"] for s in scores],
            "filter": "none",
            "metrics": ["acc"],
            "doc_hash": f"{i}{salt}",
            "prompt_hash": f"{template}{i}",
            "target_hash": "t",
            "acc": 1.0,
        }
        lines.append(json.dumps(line))
    path.write_text("\n".join(lines))
    return str(path)


def test_samples_of_lm_eval(tmp_path: Path) -> None:
    a = lm_eval(tmp_path / "samples_a.jsonl", 0.5, "p")
    b = lm_eval(tmp_path / "samples_b.jsonl", 2.5, "q")
    run, history = judged(tmp_path, a, b)
    assert history.labels == ["0", "1", "2", "3"]
    assert "roc_auc" in history.results["test"]["tuned"].metrics
    assert any("the prompt" in note.text and "120 of 120" in note.text for note in history.notes)
    assert verdict(run)["decision"] == "ship"
    other = lm_eval(tmp_path / "samples_c.jsonl", 2.5, "p", salt="x")
    assert "doc_hash differs" in refused(tmp_path / "other", a, other)


def inspect_log(path: Path, skill: float, packed: bool) -> str:
    draw = random.Random(str(path))
    samples = [
        {
            "id": f"s{i}",
            "epoch": epoch,
            "input": f"why {i}",
            "target": "x",
            "scores": {"match": {"value": "C" if draw.random() < skill else "I", "answer": "x"}},
        }
        for i in range(80)
        for epoch in (1, 2)
    ]
    data = json.dumps(samples).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("summaries.json", zstd.compress(data) if packed else data)
    if packed:  # zstd, as recent writers have it: what Python's zipfile cannot write
        raw = bytearray(path.read_bytes())
        place = raw.index(b"summaries.json")
        raw[place - 22 : place - 20] = (93).to_bytes(2, "little")
        last = raw.rindex(b"summaries.json")
        raw[last - 36 : last - 34] = (93).to_bytes(2, "little")
        raw[last - 22 : last - 18] = len(data).to_bytes(4, "little")
        path.write_bytes(raw)
    return str(path)


@pytest.mark.parametrize("packed", [False, True])
def test_logs_of_inspect(tmp_path: Path, packed: bool) -> None:
    """Epochs of a sample are averaged first: they are no rows of their own."""
    a = inspect_log(tmp_path / "a.eval", 0.4, packed)
    b = inspect_log(tmp_path / "b.eval", 0.8, packed)
    run, history = judged(tmp_path, a, b)
    assert history.task == "answers"
    assert history.results["test"]["tuned"].n == 80
    [score] = history.comparisons
    assert score.metric == "score"
    assert 0.2 < score.difference < 0.6
    assert verdict(run)["decision"] == "ship"
    assert holds(run)


def test_generated_predictions_of_llama_factory(tmp_path: Path) -> None:
    paths = []
    for name, right in (("a", 3), ("b", 1)):
        rows = [
            {
                "prompt": f"sum {i}",
                "predict": f"it is {i if i % right == 0 else 'no'}",
                "label": f"it is {i}",
            }
            for i in range(60)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        paths.append(str(tmp_path / f"{name}.jsonl"))
    run, history = judged(tmp_path, *paths)
    results = history.results["test"]
    values = {m: results[m].metrics["exact_match"].value for m in ("base", "tuned")}
    assert values == {"base": pytest.approx(1 / 3), "tuned": 1.0}
    assert "loss" not in results["tuned"].metrics
    assert verdict(run)["decision"] == "ship"
    assert holds(run)


@pytest.mark.parametrize(
    ("header", "rows", "what"),
    [
        ("id,truth,base,tuned", [], "no"),
        ("id,truth,tuned", [(1, "a", "a"), (1, "b", "b")], "more than once: 1"),
        ("id,truth,tuned", [(1, "a", "a"), (2, "", "b")], "no truth in 1 rows: 2"),
        ("id,truth,tuned", [(1, "a", "a"), (2, "a", "a")], "one label alone"),
        ("id,words,tuned", [(1, "a", "a"), (2, "b", "a")], "which column is the truth"),
        ("id,truth,scores", [(1, "a", "a"), (2, "b", "a")], "holds the predictions"),
        (
            "id,truth,tuned,tuned_probability",
            [(1, "a", "a", 0.5), (2, "b", "a", 1.5)],
            "no probabilities in tuned_probability of 1 rows (2)",
        ),
        (
            "id,truth,tuned,tuned:a,tuned:b",
            [(1, "a", "a", 0.5, 0.2), (2, "b", "a", 0.5, 0.5)],
            "of 1 rows (1)",
        ),
        ("id,truth,tuned", [(i, i * 1.37, i * 1.4) for i in range(40)], "--task"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(
    tmp_path: Path, header: str, rows: list[tuple[object, ...]], what: str
) -> None:
    path = write(tmp_path / "a.csv", rows, header)
    found = refused(tmp_path, path)
    assert what in found
    assert len(found.splitlines()) == 1


def test_equal_models_and_single_rows_never_ship(tmp_path: Path) -> None:
    rows = [(i, "ab"[i % 2], "ab"[i % 2], "ab"[i % 2]) for i in range(200)]
    same = write(tmp_path / "same.csv", rows, "id,truth,base,tuned")
    run, _ = judged(tmp_path, same)
    assert verdict(run)["decision"] != "ship"
    few = write(
        tmp_path / "few.csv", [(1, "a", "b", "a"), (2, "b", "a", "b")], "id,truth,base,tuned"
    )
    run, _ = judged(tmp_path, few)
    assert verdict(run)["decision"] != "ship"


def test_the_command_and_python_give_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_probabilities(tmp_path)
    aim = tmp_path / "aim.toml"
    aim.write_text('metric = "recall"\npositive = "yes"\nat_least = 0.999\n')
    command = ["judge", path, "--runs-dir", str(tmp_path / "a"), "--objective", str(aim), "--gate"]
    assert cli.main([*command, "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"]["decision"] == "hold"
    frame = pl.read_csv(path)
    objective = {"metric": "recall", "positive": "yes", "at_least": 0.999}
    for given in (frame, frame.to_pandas() if _has("pandas") else frame):
        run = ftev.judge(given, runs_dir=tmp_path / "b", objective=objective)
        found = run.metrics("test")["tuned"]
        assert (
            found["recall"]["value"]
            == report["results"]["test"]["tuned"]["metrics"]["recall"]["value"]
        )
        assert run.verdict.decision == "hold"
    aim.write_text('metric = "recal"\n')
    assert cli.main(command) == 2
    assert "recall" in capsys.readouterr().err


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None and find_spec("pyarrow") is not None


LIGHT = """
import sys
AWAY = {"torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft", "sklearn"}
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *more):
        return None if name.partition(".")[0] in AWAY else self.finder.find_spec(name, *more)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from ftev.tui import cli
runs = ["--runs-dir", sys.argv[2]]
codes = [cli.main(["judge", sys.argv[1], *runs])]
report = "report latest --format md,html,json,csv"
for command in ("list", "status latest", "verify latest", "flips latest", report):
    codes.append(cli.main([*command.split(), *runs]))
codes.append(cli.main(["demo", "--headless", *runs]))
assert not AWAY & {name.partition(".")[0] for name in sys.modules}
print(codes)
"""


def test_nothing_of_it_needs_torch_and_what_does_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, with_probabilities(tmp_path), str(tmp_path / "runs")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=patience(120),
        check=False,
    )
    assert done.stdout.strip().endswith("[0, 0, 0, 0, 0, 0, 2]"), done.stdout[-900:] + done.stderr
    assert "torch: is not installed here" in done.stderr
    assert len(list((tmp_path / "runs").glob("*demo*"))) <= 1  # its data, and no run


def test_light_requirements_are_a_part_of_all() -> None:
    whole = (ROOT / "pyproject.toml").read_text()
    lines = (ROOT / "requirements" / "light.txt").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            assert f'"{line.replace(chr(34), chr(39))}"' in whole, line
    assert not any("torch" in line for line in lines)
