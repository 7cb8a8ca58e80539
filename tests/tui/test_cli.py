"""The program as a person or a script meets it: real processes, their output and exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
import story
from ftev.core.run.events import RunFinished
from ftev.tui.cli import build_parser, main
from ftev.tui.commands.prompt import show_result
from ftev.tui.commands.train import task_of
from waiting import patience

PROGRAM = [sys.executable, "-m", "ftev.tui.cli"]
ESCAPE = "\x1b"


def ftev(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return forked.completed("ftev.tui.cli", *arguments, cwd=cwd, env=env)


def on_terminal(*arguments: str, **env: str) -> str:
    """What the program writes to a terminal of its own."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **env},
    ) as process:
        os.close(child)
        text = b""
        while True:
            try:
                block = os.read(parent, 65536)
            except OSError:
                break
            if not block:
                break
            text += block
        process.wait(patience(60))
    os.close(parent)
    return text.decode()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs: finished, died, failed."""
    folder = tmp_path / "runs"
    story.write_story(folder / "2026-01-01_whole")
    story.write_story(folder / "2026-01-02_half", [*story.beginning(), *story.epoch(1)])
    failed = RunFinished(status="failed", error="the device ran out of memory", exit_code=1)
    story.write_story(folder / "2026-01-03_failed", [*story.beginning(), failed])
    return folder


def document(*arguments: str) -> Any:
    done = ftev(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["train"],
        ["train", "x.toml", "--headless", "--detach"],
        ["prompt", "latest"],
        ["prompt", "latest", "--text", "x", "--top-p", "2"],
        ["prompt", "latest", "--text", "x", "--max-new-tokens", "0"],
        ["demo", "--task", "poetry"],
        ["likelihood", "--model", "m"],
    ],
)
def test_bad_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_every_command_is_there_with_its_help() -> None:
    printed = ftev("--help").stdout
    commands = "demo train eval open list status stop resume pause checkpoint check prompt"
    for command in [*commands.split(), "likelihood", "report", "doctor"]:
        assert re.search(rf"^    {command} ", printed, re.MULTILINE), command


def test_flags_may_stand_before_and_after_the_command() -> None:
    parser = build_parser()
    for arguments in (["--runs-dir", "x", "--json", "list"], ["list", "--runs-dir", "x", "--json"]):
        options = parser.parse_args(arguments)
        assert (options.runs_dir, options.json, options.theme) == ("x", True, "auto")


def test_the_version() -> None:
    assert re.fullmatch(r"ftev \d+\.\d+\.\d+\n", ftev("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status", "nope"], "ftev: nope: no such run in"),
        (["report", "latest"], "no runs here yet"),
        (["train", "nope.toml", "--headless"], "ftev: nope.toml: there is no such file"),
        (["eval", "--base", "m"], "ftev: --tuned, --data: must be given"),
        (["eval", "--base", "m", "--tuned", "m", "--data", "x"], "ftev: --task: m does not say"),
        (["eval", "x.toml", "--base", "m"], "ftev: --base: cannot be given beside RUN.toml"),
        (["likelihood", "--model", "m", "--file", "nope"], "ftev: nope: cannot be read"),
        (["likelihood", "--model", "m", "--text", " "], "ftev: --text: is empty"),
    ],
)
def test_what_cannot_be_used_exits_with_2(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    result = ftev(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()


def test_every_fault_of_a_configuration_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('task = "poetry"\n[train]\nepoch = 3\n')
    result = ftev("train", "run.toml", "--set", "train.seed=x", "--detach", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    lines = [
        line for line in result.stderr.splitlines() if line.startswith("ftev: ") and "…" not in line
    ]
    assert len(lines) == 4
    assert "ftev: run.toml:3 train.epoch: unknown setting. Did you mean train.epochs?" in lines


def test_bad_rows_stop_before_a_run_exists(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'task = "classification"\n[model]\nbase = "m"\n[data]\ntrain = "t.csv"\n'
    )
    (tmp_path / "t.csv").write_text("text,label\ngood,a\n,b\nbad,\nfine,b\n")
    for command in (["train", "run.toml", "--headless"], ["check", "run.toml"]):
        result = ftev(*command, cwd=tmp_path)
        assert result.returncode == 2
        assert "t.csv:3" in result.stderr
        assert "t.csv:4" in result.stderr
    assert not (tmp_path / "runs").exists()
    done = ftev("check", "run.toml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert [f["where"].split()[0] for f in json.loads(done.stdout)["faults"]] == [
        "t.csv:3",
        "t.csv:4",
    ]


# Looking


def test_list_and_status_as_promised(runs: Path) -> None:
    values = document("list", "--json", "--runs-dir", str(runs))
    assert [(e["id"], e["status"]) for e in values] == [
        ("2026-01-03_failed", "failed"),
        ("2026-01-02_half", "died"),
        ("2026-01-01_whole", "finished"),
    ]
    keys = ["id", "name", "task", "status", "created", "step", "max_steps", "headline"]
    keys += ["shown_name", "tags", "note", "worker_memory"]
    assert all(list(entry) == keys for entry in values)
    assert values[2]["headline"]["text"] == "macro F1 probe 74.9 % → 90.0 % (test)"
    status = document("status", "2026-01-03", "--json", "--runs-dir", str(runs))
    assert {*keys, "stage", "epoch", "eta_seconds", "metrics", "worker", "error"} <= set(status)
    assert status["error"] == "the device ran out of memory"


def test_a_second_list_reads_only_the_runs_that_changed(runs: Path) -> None:
    ask = ("list", "--json", "--runs-dir", str(runs))
    first = document(*ask)
    assert document(*ask) == first
    whole = runs / "2026-01-01_whole"
    (whole / "notes.json").write_text('{"name": "kept", "tags": ["best"]}')
    kept = (whole / "events.jsonl").read_bytes()
    seen = (whole / "events.jsonl").stat()
    (whole / "events.jsonl").write_bytes(b"x" * len(kept))  # never read: size and time say the same
    os.utime(whole / "events.jsonl", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    second = document(*ask)
    assert second[2] == first[2] | {"shown_name": "kept", "tags": ["best"]}
    (whole / "events.jsonl").write_bytes(kept[: kept.index(b"\n") + 1])
    assert document(*ask)[2]["status"] == "died"


def test_an_empty_folder_is_an_empty_list(tmp_path: Path) -> None:
    assert document("list", "--json", "--runs-dir", str(tmp_path)) == []
    assert ftev("list", env={"FTEV_RUNS": str(tmp_path)}).returncode == 0


def test_plain_lines_have_no_escape_codes(runs: Path) -> None:
    for command in (["list"], ["status", "latest"], ["report", "2026-01-01"], ["doctor"], []):
        done = ftev(*command, env={"FTEV_RUNS": str(runs), "TERM": "xterm-256color"})
        assert done.returncode == 0, done.stderr
        assert ESCAPE not in done.stdout + done.stderr
    assert (
        "2026-01-01_whole   classification  finished  12/12"
        in ftev("list", env={"FTEV_RUNS": str(runs)}).stdout
    )


def test_a_terminal_gets_a_drawn_table_and_dumb_ones_do_not(runs: Path) -> None:
    assert ESCAPE in on_terminal("list", FTEV_RUNS=str(runs))
    assert ESCAPE not in on_terminal("list", FTEV_RUNS=str(runs), TERM="dumb")
    without = on_terminal("list", FTEV_RUNS=str(runs), NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", without)


def test_escape_codes_of_a_run_do_not_reach_the_terminal(tmp_path: Path) -> None:
    from dataclasses import replace

    nasty = replace(story.config(), name="\x1b]0;pwned\x07name")
    story.write_story(tmp_path / "run", story.beginning()[1:], nasty)
    for command in ("list", "status", "report"):
        arguments = [command] if command == "list" else [command, "latest"]
        printed = ftev(*arguments, env={"FTEV_RUNS": str(tmp_path)}).stdout
        assert ESCAPE not in printed
        assert "\x07" not in printed
    assert "\x1b]0" not in on_terminal("status", "latest", FTEV_RUNS=str(tmp_path))


def test_open_without_a_terminal_tells_the_story(runs: Path) -> None:
    done = ftev("open", "2026-01-01", "--runs-dir", str(runs))
    assert done.returncode == 0
    assert "epoch 3: training loss 0.225, validation loss 0.450, accuracy 85.0 %" in done.stdout
    assert "overfitting begins" in done.stdout
    assert "verdict: ship" in done.stdout


def test_report_prints_writes_and_gates(runs: Path, tmp_path: Path) -> None:
    where = ("--runs-dir", str(runs))
    printed = ftev("report", "2026-01-01", *where)
    assert printed.stdout.startswith("# story\n\n## Verdict: ship")
    names = ["report.html", "report.json", "report.md"]
    assert sorted(path.name for path in runs.glob("*_whole/report.*")) == names
    assert "report.md, report.html, report.json of 2026-01-01_whole were missing" in printed.stderr
    assert ftev("report", "2026-01-01", *where).stderr == ""
    assert ftev("report", "2026-01-02", *where).stderr == ""
    assert not list(runs.glob("*_half/report.*"))
    assert document("report", "2026-01-01", "--json", *where)["schema"] == "ftev.report/1"
    out = tmp_path / "out"
    done = ftev("report", "2026-01-01", "--format", "json", "--out", str(out), *where)
    assert done.stdout == f"{out / 'report.json'}\n"
    assert ftev("report", "2026-01-01", "--gate", *where).returncode == 0
    assert ftev("report", "2026-01-02", "--gate", *where).returncode == 3
    refused = ftev("report", "2026-01-01", "--format", "pdf", *where)
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_closed_pipe_is_no_fault(runs: Path) -> None:
    ftev("report", "2026-01-01", "--format", "md,html,json", "--runs-dir", str(runs))
    command = f"{' '.join(PROGRAM)} report 2026-01-01 | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        env={**os.environ, "FTEV_RUNS": str(runs)},
        check=False,
        timeout=patience(60),
    )
    assert done.stderr == ""
    assert done.stdout == "# story\n"


def test_output_that_is_not_utf8_is_spelled_not_crashed(runs: Path) -> None:
    done = ftev("list", env={"FTEV_RUNS": str(runs), "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\u2192" in done.stdout


# Steering runs that nobody works on


@pytest.mark.parametrize("command", ["stop", "pause", "checkpoint"])
def test_a_run_without_a_worker_cannot_be_steered(runs: Path, command: str) -> None:
    done = ftev(command, "2026-01-02", "--runs-dir", str(runs))
    assert done.returncode == 1
    assert done.stderr == "ftev: 2026-01-02_half: no worker is running\n"


def test_a_finished_run_is_not_resumed(runs: Path) -> None:
    done = ftev("resume", "2026-01-01", "--runs-dir", str(runs))
    assert done.returncode == 1
    assert "is finished" in done.stderr


def test_a_run_without_weights_cannot_answer(runs: Path) -> None:
    done = ftev("prompt", "2026-01-01", "--text", "hello", "--runs-dir", str(runs))
    assert done.returncode == 1
    assert "no tuned model was saved" in done.stderr


# Log-likelihood


def scored(model: str, tokens: int, total: float) -> dict[str, Any]:
    return {
        "model": model,
        "scored_tokens": tokens,
        "bytes": 40,
        "total_log_likelihood": total,
        "average_log_likelihood": total / tokens,
        "bits_per_byte": -total / (40 * 0.6931471805599453),
        "prefix": "<s>",
        "window": 512,
        "stride": 512,
        "per_token": [],
    }


def token_change(position: int, token: str, before: float, after: float) -> dict[str, Any]:
    return {
        "position": position,
        "token": token,
        "from": before,
        "to": after,
        "difference": after - before,
        "rank_from": 9,
        "rank_to": 2,
    }


def two_models() -> dict[str, Any]:
    """12 tokens: 11 became likelier, by 0.1, 0.2 and so on, the last one less likely."""
    a, b = scored("a", 12, -40.0), scored("b", 12, -27.0)
    a["per_token"] = [[f"t{i}", -5.0, 9] for i in range(12)]
    b["per_token"] = [[f"t{i}", -5.0 + (i + 1) / 10, 2] for i in range(11)] + [["t11", -8.0, 2]]
    tokens = [token_change(i, f"t{i}", -5.0, b["per_token"][i][1]) for i in range(12)]
    change = {"from": "a", "to": "b", "bits_per_byte": -0.469, "average_log_likelihood": 1.3}
    change |= {"gained": tokens[10::-1], "lost": tokens[11:]}
    return {"models": [a, b], "differences": [change]}


def test_K4_models_that_count_other_tokens_are_compared_in_bits_per_byte_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = two_models()
    found["models"].append(scored("c", 12, -27.0))  # as many tokens, but others
    found["differences"].append({"from": "a", "to": "c", "bits_per_byte": -0.469})
    show_result(found)
    shown = capsys.readouterr().out
    assert "a          12                  -3.333" in shown
    assert "a → b: +1.300 nats per token, -0.469 bits per byte (less is better)" in shown
    assert "a → c: -0.469 bits per byte (less is better). The two cut the text into" in shown
    assert "different tokens" in shown


def test_the_ten_tokens_that_gained_and_lost_most_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_result(two_models())
    shown = capsys.readouterr().out
    assert "11 tokens became likelier, the 10 with the greatest change:" in shown
    assert "1 token became less likely:" in shown
    assert shown.index("'t10'") < shown.index("'t9'") < shown.index("'t1'")
    assert "'t0'" not in shown
    assert "-8.000      -3.000  9 → 2" in shown


def test_every_token_is_told_in_its_order_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_result(two_models(), every_token=True)
    shown = capsys.readouterr().out
    places = [shown.index(f"'t{i}'") for i in range(12)]
    assert places == sorted(places)
    assert "became likelier" not in shown


# The machine


def test_doctor_says_what_is_there() -> None:
    values = document("doctor", "--json")
    assert values["packages"]["textual"]
    assert values["python"] == sys.version.split()[0]
    assert isinstance(values["gpus"], list)
    kernels = {kernel["name"]: kernel for kernel in values["kernels"]}
    assert kernels["fused AdamW"]["on"]
    assert all(kernel["why"] for kernel in kernels.values())
    assert {"is_terminal", "columns", "colours", "utf8"} <= set(values["terminal"])


def test_output_that_goes_nowhere_is_one_line(runs: Path) -> None:
    command = f"{sys.executable} -m ftev.tui.cli list --runs-dir {runs}"
    for where in (">&-", ">/dev/full"):
        done = subprocess.run(
            ["bash", "-c", f"{command} {where}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_an_unreadable_run_is_listed_as_such(runs: Path) -> None:
    closed = runs / "2026-01-01_00-00-00_closed"
    (closed / "events.jsonl").mkdir(parents=True)
    values = {
        entry["id"]: entry["status"]
        for entry in document("list", "--json", "--runs-dir", str(runs))
    }
    assert values.pop(closed.name) == "unreadable"
    assert values


@pytest.mark.parametrize(
    "arguments", [["verify", ""], ["open", " "], ["report", "--out", "", "latest"]]
)
def test_an_empty_name_is_bad_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "config", "task"),
    [
        ("config.json", {"architectures": ["BertForSequenceClassification"]}, "classification"),
        ("config.json", {"architectures": ["LlamaForCausalLM"]}, "generation"),
        ("config.json", {"architectures": ["GPT2LMHeadModel"]}, "generation"),
        ("adapter_config.json", {"task_type": "SEQ_CLS"}, "classification"),
        ("adapter_config.json", {"task_type": "CAUSAL_LM"}, "generation"),
    ],
)
def test_the_task_of_a_model_is_read_from_its_config(
    name: str, config: dict[str, object], task: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(config))
    assert task_of(str(tmp_path)) == task


def test_numbers_are_printed_though_no_token_streams(capsys: pytest.CaptureFixture[str]) -> None:
    from ftev.core.run.control import Completed
    from ftev.tui.commands.prompt import Stream

    whole = [
        Completed(model=m, text=f"score {n}", tokens=0, seconds=0.1, ended_by_eos=True)
        for m, n in (("base", "1,566.71"), ("tuned", "1,564.32"))
    ]
    Stream().show(iter(whole))
    assert capsys.readouterr().out == "base:\nscore 1,566.71\n\ntuned:\nscore 1,564.32\n\n"
