"""What the engine tells before a run: lengths, masks and size, without weights."""

from __future__ import annotations

import json
from pathlib import Path

from ftev.core.engine.preview import Question, preview


def test_lengths_masks_and_size_of_pairs(tmp_path: Path, causal_folder: Path) -> None:
    rows = [{"prompt": "what is tea", "completion": "a cup " * (i % 5 + 1)} for i in range(30)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {
        "task": "generation",
        "model": {"base": str(causal_folder)},
        "data": {"train": "train.jsonl", "validation": 0},
        "folder": str(tmp_path),
    }
    told = preview(Question(config=config))
    train = told["splits"]["train"]
    assert sum(count for _, _, count in train["histogram"]) == train["rows"] == 30
    low, high, _ = train["histogram"][-1]
    assert low <= train["longest"] <= high
    assert len(train["rows_shown"]) == 3
    shown = train["rows_shown"][0]
    assert not shown[0][1]
    assert shown[-1][1]
    assert told["layers"] > 0
    assert told["hidden"] > 0
    assert told["vocab"] > 0
