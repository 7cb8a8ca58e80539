"""Real files with their real traps."""

from __future__ import annotations

import csv
import time

import pytest
from data_files import REAL, needs_real_data, read
from ftev.core.data.leakage import find_leakage
from waiting import patience

pytestmark = [pytest.mark.realdata, needs_real_data]


def test_banking77_lines_are_physical() -> None:
    dataset = read(REAL, train="banking77/train.csv", test="banking77/test.csv", validation=0.1)
    assert len(dataset.labels) == 77
    assert {n: s.frame.height for n, s in dataset.splits.items()} == {
        "train": 9003,
        "validation": 1000,
        "test": 3080,
    }
    assert set(dataset.splits["test"].label_counts().values()) == {40}
    for name in ("train", "test"):
        with (REAL / f"banking77/{name}.csv").open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            expected = []
            line = reader.line_num + 1
            for text, label in reader:
                expected.append((line, text, label))
                line = reader.line_num + 1
        split = read(REAL, train=f"banking77/{name}.csv").splits["train"].frame
        assert split.select("line", "text", "label").rows() == expected


def test_D1_banking77_leakage() -> None:
    dataset = read(REAL, train="banking77/train.csv", test="banking77/test.csv")
    started = time.monotonic()
    found = find_leakage(dataset.splits)
    assert time.monotonic() - started < patience(20)
    # The same as comparing every row with every other one, without hashes.
    assert found.crossing == {"exact": 7, "near": 96, "ngram": 19}


def test_D3_sms_spam_duplicates_stay_together() -> None:
    dataset = read(REAL, train="sms_spam/SMSSpamCollection", validation=0.1, test=0.2)
    assert dataset.columns.sources == {"text": "column_2", "label": "column_1"}
    assert {n: s.label_counts() for n, s in dataset.splits.items()} == {
        "train": {"ham": 3378, "spam": 524},
        "validation": {"ham": 483, "spam": 74},
        "test": {"ham": 966, "spam": 149},
    }
    assert find_leakage(dataset.splits, near=False).crossing["exact"] == 0
    whole = read(REAL, train="sms_spam/SMSSpamCollection").splits["train"].frame
    raw = [line for line in (REAL / "sms_spam/SMSSpamCollection").read_text().split("\n") if line]
    assert [f"{r['label']}\t{r['text']}" for r in whole.to_dicts()] == raw
    assert whole.height - whole.select("label", "text").n_unique() == 403


def test_gsm8k_pair_is_found() -> None:
    dataset = read(REAL, "generation", train="gsm8k/train.jsonl", validation=0.1)
    assert dataset.columns.sources == {"prompt": "question", "completion": "answer"}
    assert dataset.splits["train"].frame.height + dataset.splits["validation"].frame.height == 7473


def test_documents_are_cut_by_lines() -> None:
    for path in ("tinyshakespeare/input.txt", "gutenberg/emma.txt"):
        dataset = read(REAL, "generation", train=path, validation=0.1)
        frames = [split.frame for split in dataset.splits.values()]
        text = (REAL / path).read_bytes().decode("utf-8-sig")
        assert "".join(frame["text"][0] for frame in frames) == text
        lines = text.count("\n") + (not text.endswith("\n"))
        assert frames[1]["line"][0] == lines - round(0.1 * lines) + 1
