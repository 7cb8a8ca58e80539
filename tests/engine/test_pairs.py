"""Two texts a row, from the file to the prompt: as the tokenizer makes a pair, in its segments."""

from __future__ import annotations

import json
from pathlib import Path

import forked
import numpy as np
import polars as pl
import pytest
import torch
from backports import zstd
from ftev.core.data import demo
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.classification import SCORER as CLASSIFICATION
from ftev.core.engine.scoring.rows import TokenRows, asked_row, classification_rows
from ftev.core.engine.training.packing import way_of_packing
from ftev.core.errors import ModelError
from ftev.core.run.history import read_history
from ftev.core.run.runs import open_run
from scoring import WORDS, causal_model, classifier_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from waiting import patience

ENCODER = Path(demo.__file__).parent / "models" / "encoder"


@pytest.fixture(scope="module")
def paired_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's encoder whose tokenizer gives segments, as those of most BERTs do."""
    folder = tmp_path_factory.mktemp("paired")
    for file in ENCODER.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": names}))
    return folder


def pairs(count: int, longest: int = 12) -> list[tuple[str, str]]:
    random = np.random.default_rng(3)

    def text() -> str:
        return " ".join(random.choice(WORDS, 1 + int(random.integers(longest))))

    return [(text(), text()) for _ in range(count)]


def rows_of(loaded: Loaded, given: list[tuple[str, str]]) -> TokenRows:
    frame = pl.DataFrame(
        {
            "row_id": range(len(given)),
            "text": [a for a, _ in given],
            "text_pair": [b for _, b in given],
            "label": [loaded.labels[0]] * len(given),
        }
    )
    *_, rows = classification_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def scored(loaded: Loaded, rows: TokenRows) -> list[list[float]]:
    *_, frame = CLASSIFICATION.score(loaded, rows, "float32", 512)
    assert isinstance(frame, pl.DataFrame)
    found: list[list[float]] = frame["probabilities"].to_list()
    return found


def by_transformers(loaded: Loaded, pair: tuple[str, str]) -> list[float]:
    inputs = loaded.tokenizer(
        *pair, return_tensors="pt", truncation=True, max_length=loaded.max_length
    )
    with torch.no_grad():
        probabilities = loaded.model.eval()(**inputs).logits[0].softmax(-1)
    return [float(p) for p in probabilities]


def test_a_pair_is_scored_as_transformers_scores_it(paired_folder: Path) -> None:
    loaded = classifier_model(paired_folder)
    with torch.no_grad():  # it never saw a second segment
        loaded.model.bert.embeddings.token_type_embeddings.weight[1] += 1
    given = [*pairs(12), ("cup " * 300, "tea"), ("warm tea", "day " * 300)]
    rows = rows_of(loaded, given)
    assert rows.segments is not None
    assert {int(kind.max()) for kind in rows.segments} == {1}
    assert rows.truncated_rows == 2
    assert max(map(len, rows.ids)) == loaded.max_length
    found = scored(loaded, rows)
    for pair, probabilities in zip(given, found, strict=True):
        assert probabilities == pytest.approx(by_transformers(loaded, pair), abs=1e-5)
    rows.segments = None
    without = np.array(scored(loaded, rows))
    assert np.abs(without - np.array(found)).max() > 1e-3, "segments make a difference here"


def test_pairs_are_packed_with_their_segments(paired_folder: Path) -> None:
    loaded = classifier_model(paired_folder)
    way = way_of_packing(loaded, None, rows_of(loaded, pairs(8)), "float32")
    assert way is not None, "what a model makes of a packed pair is the pair's own"


def test_a_tokenizer_without_pairs_gets_two_lines(causal_folder: Path) -> None:
    loaded = causal_model(causal_folder)
    loaded.labels = ("a", "b")
    rows = rows_of(loaded, [("a cup", "of tea")])
    assert rows.segments is None
    assert loaded.tokenizer.decode(rows.ids[0]) == "a cup\nof tea"


def test_a_prompt_of_a_run_on_pairs_needs_both(paired_folder: Path) -> None:
    loaded = classifier_model(paired_folder)
    both = asked_row(loaded, "a cup\nof tea", paired=True)
    assert both.ids[0].tolist() == loaded.tokenizer("a cup", "of tea").input_ids
    with pytest.raises(ModelError, match="two texts"):
        asked_row(loaded, "a cup", paired=True)


def test_pairs_of_a_packed_file_are_trained_on_and_asked_about(
    tmp_path: Path, paired_folder: Path
) -> None:
    """The test file calls its columns otherwise; the answer lies in the second text."""
    random = np.random.default_rng(1)

    def row(i: int, names: tuple[str, str, str]) -> dict[str, str]:
        first = " ".join(random.choice(WORDS[:8], 4)) + f" {i}"
        good = i % 2 == 0
        second = " ".join(["warm" if good else "bad", *random.choice(WORDS[:6], 2)])
        return dict(zip(names, (first, second, "yes" if good else "no"), strict=True))

    def lines(start: int, count: int, *names: str) -> str:
        a, b, c = names
        return "".join(json.dumps(row(start + i, (a, b, c))) + "\n" for i in range(count))

    train = lines(0, 96, "premise", "hypothesis", "label")
    (tmp_path / "train.jsonl.zst").write_bytes(zstd.compress(train.encode()))
    (tmp_path / "test.jsonl").write_text(lines(200, 40, "claim", "about", "verdict"))
    (tmp_path / "run.toml").write_text(
        f'task = "classification"\nname = "pairs"\n[model]\nbase = "{paired_folder}"\n'
        '[data]\ntrain = "train.jsonl.zst"\ntest = "test.jsonl"\nvalidation = 0.2\n'
        "near_duplicates = false\n"
        'columns = { test = { text = "claim", text_pair = "about", label = "verdict" } }\n'
        "[train]\nepochs = 6\nbatch_size = 16\nlearning_rate = 1e-3\ndevices = 'cpu'\n"
        "[evaluate]\nserve_minutes = 0\n"
    )

    def command(*arguments: str) -> str:
        done = forked.completed("ftev.tui.cli", *arguments, cwd=tmp_path, timeout=patience(200.0))
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = command("check", "run.toml")
    assert "every row is a pair of texts and its label" in shown
    assert "  text_pair: column 'hypothesis'" in shown
    assert "train.jsonl.zst: unpacked (zstandard)" in shown
    assert "columns taken: 'claim' for 'premise', 'about' for 'hypothesis'" in shown
    command("train", "run.toml", "--headless")
    run = open_run("latest", tmp_path / "runs")
    history = read_history(run)
    assert history.results["test"]["tuned"].metrics["accuracy"].value > 0.9
    for name in ("parity", "self_test"):
        assert history.analyses["test"][name]["tuned"].passed
    asked = ("--text", "the kettle boils", "--text-pair", "bad day", "--json")
    answer = json.loads(command("prompt", "pairs", "--model", "tuned", *asked))["answers"][0]
    folder = run.model_path
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(
        "the kettle boils", "bad day", return_tensors="pt"
    )
    with torch.no_grad():
        wanted = model(**inputs).logits[0].softmax(-1).tolist()
    found = [answer["probabilities"][model.config.id2label[i]] for i in range(2)]
    assert found == pytest.approx(wanted, abs=1e-4)
    assert answer["probabilities"]["no"] > 0.9
