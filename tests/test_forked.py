"""A forked process is a process of its own, and whoever started it cannot see the difference."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import forked
import pytest

pytestmark = pytest.mark.skipif(forked.ADDRESS not in os.environ, reason="forks on Linux only")
TOOL = "json.tool"  # waits for its stdin, prints what it reads


def fork(*arguments: str, **how: object) -> forked.Forked:
    process = forked.fork(TOOL, *arguments, stdin=subprocess.PIPE, **how)  # type: ignore[arg-type]
    assert process is not None
    return process


def test_it_reads_and_writes_and_ends_with_its_code(tmp_path: Path) -> None:
    with fork("--compact", stdout=subprocess.PIPE) as process:
        assert process.poll() is None
        process.stdin.write(b'{"a": 1}')
        process.stdin.close()
        assert json.load(process.stdout) == {"a": 1}
    assert process.returncode == 0
    with (tmp_path / "log").open("wb") as log, fork(stderr=log) as process:
        process.stdin.write(b"no JSON")
    assert process.poll() == process.wait() == 1
    assert b"Expecting value" in (tmp_path / "log").read_bytes()


def test_a_command_is_done_and_what_it_printed_is_told(tmp_path: Path) -> None:
    done = forked.completed("ftev.tui.cli", "list", "--runs-dir", str(tmp_path), "--json")
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [], "")
    done = forked.completed(TOOL, input="no JSON")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Expecting value" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_killed_for_real(number: signal.Signals) -> None:
    with fork(start_new_session=True) as process:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
    assert process.returncode == -number
    process.kill()  # nothing is there any more, and nothing happens
    assert not Path(f"/proc/{process.pid}").exists()


def test_folder_and_environment_are_its_own(tmp_path: Path) -> None:
    environment = {**os.environ, "FTEV_RUNS": "elsewhere"}
    with fork(cwd=tmp_path, env=environment) as process:
        assert Path(f"/proc/{process.pid}/cwd").readlink() == tmp_path
    assert "FTEV_RUNS" not in os.environ


def test_what_imports_would_have_read_otherwise_is_started_for_real() -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "7"}
    assert forked.fork(TOOL, env=environment) is None
    with forked.start_module(
        TOOL, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert isinstance(process, subprocess.Popen)
        out, _ = process.communicate(b"[]")
    assert (process.returncode, json.loads(out)) == (0, [])
