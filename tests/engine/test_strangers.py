"""What another user of the machine reaches of a worker: nothing but the files that umask shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import story
from ftev.core.engine.worker.listen import Listener
from ftev.core.run.runs import Run
from strangers import as_nobody, may_be_nobody, tried_by_nobody


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that anybody may look into, as /tmp and most homes are."""
    if not may_be_nobody():
        pytest.skip("only root can be another user")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


def test_another_user_reaches_no_worker(place: Path) -> None:
    run: Run = story.write_story(place / "run", story.beginning())
    run.path.chmod(0o755)
    shown = as_nobody(lambda: {"events": str(len(run.events_path.read_bytes()))})
    assert int(shown["events"]) > 100  # what is tried below is not refused by a closed folder
    with Listener(run):
        info = run.worker()
        assert info is not None
        tried = tried_by_nobody(run, info)
    assert "done" not in tried.values(), tried
    assert tried["connects to its socket"] == "PermissionError"
