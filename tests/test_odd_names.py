"""Names that no file can have are the names of no file, wherever one is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_files import faults
from ftev.core.data.demo import SHIPPED, find_model
from ftev.core.errors import ConfigError
from ftev.core.files.reading import read_adapter
from ftev.core.run.runs import Run, checkpoints_of, open_run

NAMES = ["a" * 300, "a/" * 3_000 + "b", "a\0b"]


@pytest.mark.parametrize("name", NAMES, ids=["long", "deep", "NUL"])
def test_a_name_that_no_file_can_have_is_no_file(tmp_path: Path, name: str) -> None:
    assert read_adapter(name) is None
    assert find_model(SHIPPED + name) == SHIPPED + name
    for given in (name, [name], name + "*.csv"):
        assert faults(tmp_path, train=given)
    with pytest.raises(ConfigError, match="no such run"):
        open_run(name, tmp_path)


def test_a_checkpoint_whose_step_is_no_number_is_none(tmp_path: Path) -> None:
    for name in ("step_²", "step_x", "step_000010"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "training_state.json").write_bytes(b"{}")
    assert [path.name for path in checkpoints_of(Run(tmp_path))] == ["step_000010"]
