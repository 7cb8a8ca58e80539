"""Models behind servers through `eval`: questions, answers, likelihoods, what a server lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftev.core.compare import endpoint
from ftev.core.report.verify.verify import verify
from ftev.core.run.history import History, read_history
from ftev.core.run.runs import list_runs
from ftev.tui import cli
from played_servers import Played, log_likelihood, pieces, played


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "WAIT", 0.001)


def rows(folder: Path, chats: bool = False) -> str:
    path, lines = folder / "test.jsonl", []
    for i in range(40):
        wanted = f" {i} it is" if i % 4 else " other"
        pair: dict[str, Any] = {"prompt": f"cup number {i}", "completion": wanted}
        if chats:
            roles = (("user", pair["prompt"]), ("assistant", wanted.strip()))
            pair = {"messages": [{"role": r, "content": c} for r, c in roles]}
        lines.append(json.dumps(pair))
    path.write_text("\n".join(lines))
    return str(path)


def evaluated(play: Played, folder: Path, data: str) -> tuple[int, History]:
    models = (f"--{m}={play.url}#{m}" for m in ("base", "tuned"))
    command = ["eval", *models, "--data", data, "--runs-dir", str(folder / "runs"), "--gate"]
    code = cli.main(command)
    [run] = list_runs(folder / "runs")
    assert all(check.ok for check in verify(run) if "not held" not in check.message)
    return code, read_history(run)


def test_answers_and_likelihoods_of_two_models_of_one_server(tmp_path: Path) -> None:
    with played("vllm", key="sk-secret") as play, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTEV_API_KEY", "sk-secret")
        code, history = evaluated(play, tmp_path, rows(tmp_path))
    assert code == 0
    assert history.task == "generation"
    results = history.results["test"]
    assert results["tuned"].metrics["exact_match"].value == 0.75
    words = [pieces(f"cup number {i}" + (f" {i} it is" if i % 4 else " other")) for i in range(40)]
    scored = [(w[j - 1], w[j]) for w in words for j in range(3, len(w))]
    expected = -sum(log_likelihood("base", *pair) for pair in scored) / len(scored)
    assert results["base"].metrics["loss"].value == pytest.approx(expected)
    assert results["tuned"].metrics["loss"].value == pytest.approx(expected / 2)
    written = "".join(
        p.read_text(errors="replace") for p in (tmp_path / "runs").rglob("*") if p.is_file()
    )
    assert "sk-secret" not in written
    assert any("likelihoods of given texts by echo" in note.text for note in history.notes)


def test_a_server_of_chats_alone_and_rows_that_it_refuses(tmp_path: Path) -> None:
    with played("chats", broken=("cup number 7",)) as play:
        code, history = evaluated(play, tmp_path, rows(tmp_path))
    assert code == 0
    assert history.task == "answers"
    tuned = history.results["test"]["tuned"]
    assert (tuned.n, tuned.unscored) == (39, [7])
    notes = " ".join(note.text for note in history.notes)
    assert "each prompt is sent as a user's message" in notes
    assert "tuned has not answered 1 of 40 rows" in notes
    assert "the same answer again to 16 of 16 prompts" in notes


def test_chats_are_asked_as_chats(tmp_path: Path) -> None:
    with played("ollama") as play:
        _, history = evaluated(play, tmp_path, rows(tmp_path, chats=True))
    assert history.results["test"]["tuned"].metrics["exact_match"].value == 0.75


@pytest.mark.parametrize(
    ("base", "tuned", "what"),
    [
        ("URL#base", "URL#gone", "has no model 'gone'"),
        ("URL", "URL#tuned", "names no model of a server"),
        ("URL#base", "/a/folder", "one model is behind a server"),
    ],
)
def test_what_is_no_pair_of_served_models(
    tmp_path: Path, base: str, tuned: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with played("vllm") as play:
        names = [name.replace("URL", play.url) for name in (base, tuned)]
        command = ["eval", "--base", names[0], "--tuned", names[1], "--task", "generation"]
        folder = ["--data", rows(tmp_path), "--runs-dir", str(tmp_path / "runs")]
        assert cli.main([*command, *folder]) in (1, 2)
    assert what in capsys.readouterr().err
    assert not list_runs(tmp_path / "runs")


def test_a_server_that_refuses_much_is_no_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = tuple(f"cup number {i}" for i in range(3))
    with played("ollama", broken=refused) as play:
        models = [f"--{m}={play.url}#{m}" for m in ("base", "tuned")]
        command = ["eval", *models, "--data", rows(tmp_path), "--runs-dir", str(tmp_path / "runs")]
        assert cli.main(command) == 1
    assert "has not answered 3 of 40 rows" in capsys.readouterr().err
