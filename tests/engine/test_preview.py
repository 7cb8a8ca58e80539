"""What the engine tells before a run: lengths, masks and size, without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftev.core.engine.scoring.preview import Preview, preview
from ftev.core.errors import ModelError


def test_lengths_masks_and_size_of_pairs(tmp_path: Path, causal_folder: Path) -> None:
    rows = [{"prompt": "what is tea", "completion": "a cup " * (i % 5 + 1)} for i in range(30)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {
        "task": "generation",
        "model": {"base": str(causal_folder)},
        "data": {"train": "train.jsonl", "validation": 0},
        "folder": str(tmp_path),
    }
    found = preview(Preview(config=config))
    train = found["splits"]["train"]
    assert sum(count for _, _, count in train["histogram"]) == train["rows"] == 30
    low, high, _ = train["histogram"][-1]
    assert low <= train["longest"] <= high
    assert len(train["rows_shown"]) == 3
    shown = train["rows_shown"][0]
    assert not shown[0][1]
    assert shown[-1][1]
    assert found["layers"] > 0
    assert found["hidden"] > 0
    assert found["vocab"] > 0


def test_check_says_where_no_layer_takes_an_adapter(encoder_folder: Path, tmp_path: Path) -> None:
    """Case 12: it came out after the worker had started."""
    (tmp_path / "train.csv").write_text("text,label\n" + "a warm cup,good\na cold day,bad\n" * 20)

    def asked(targets: Any) -> Preview:
        lora = {"target_modules": targets}
        model = {"base": str(encoder_folder), "adapter": "lora", "lora": lora}
        data = {"train": str(tmp_path / "train.csv"), "validation": 0}
        return Preview(config={"task": "classification", "model": model, "data": data})

    with pytest.raises(
        ModelError, match=r"no layer q_proj. Its linear layers are classifier, dense"
    ):
        preview(asked(["q_proj"]))
    assert preview(asked(["query"]))["parameters"] == preview(asked("auto"))["parameters"]
