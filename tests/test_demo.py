"""The embedded default: generated data and the models that ship with it."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import pytest
from ftev.core.data.demo import MODELS, TASKS, find_model, reviews, texts, write_demo

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def splits() -> tuple[list[reviews.Review], list[reviews.Review]]:
    return reviews.make_splits(1_000, 200, seed=7)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_reviews_have_the_promised_shape(tmp_path: Path) -> None:
    write_demo("classification", tmp_path)
    train, test = read_csv(tmp_path / "train.csv"), read_csv(tmp_path / "test.csv")
    assert (len(train), len(test)) == (1_000, 200)
    assert tuple(train[0]) == tuple(test[0]) == reviews.COLUMNS
    assert len(reviews.COLUMNS) == 10
    assert {row["sentiment"] for row in train + test} == set(reviews.LABELS)
    assert len({row["review_id"] for row in train + test}) == 1_200


def test_verse_has_the_promised_shape(tmp_path: Path) -> None:
    write_demo("generation", tmp_path)
    train, test = read_texts(tmp_path / "train.jsonl"), read_texts(tmp_path / "test.jsonl")
    assert not set(train) & set(test)
    assert len(set(train)) == len(train) >= 300
    assert len(set(test)) == len(test) == 100
    for stanza in train + test:
        lines = stanza.split("\n")
        assert len(lines) in (4, 6)
        assert all(line[0].isupper() or line[0] == "'" for line in lines)
        assert lines[-1][-1] in ".?!"


def test_the_old_words_are_in_the_verse_and_not_in_the_prose() -> None:
    old = {"thou", "thee", "thy", "doth", "hath"}
    prose_words = {w for text in texts.make_prose(500, seed=1) for w in texts.words_of(text)}
    verse_words = {w for text in texts.make_stanzas(100, seed=1) for w in texts.words_of(text)}
    assert old <= verse_words
    assert not old & prose_words


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_writes_the_same_files(task: str, tmp_path: Path) -> None:
    def contents(name: str, seed: int) -> list[bytes]:
        folder = write_demo(task, tmp_path / name, seed).parent
        return [p.read_bytes() for p in sorted(folder.iterdir()) if p.name != "run.toml"]

    assert contents("a", 3) == contents("b", 3)
    assert contents("a", 3) != contents("c", 4)


@pytest.mark.parametrize("task", TASKS)
def test_run_toml_names_the_files_and_the_shipped_model(task: str, tmp_path: Path) -> None:
    config = tomllib.loads(write_demo(task, tmp_path / 'a "b"').read_text(encoding="utf-8"))
    assert config["task"] == task
    assert Path(find_model(config["model"]["base"])).parent == MODELS
    for split in ("train", "test"):
        assert (tmp_path / 'a "b"' / config["data"][split]).is_file()
    assert config["train"]["epochs"] == 5
    assert len(config["evaluate"]["prompts"]) == 3
    assert {"at_least", "at_most"} & set(config["objective"])


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="classification, generation"):
        write_demo("translation", tmp_path)


def test_no_text_is_repeated_nor_nearly_so(
    splits: tuple[list[reviews.Review], list[reviews.Review]],
) -> None:
    train, test = splits
    whole = [" ".join(texts.words_of(review.text)) for review in train + test]
    assert len(set(whole)) == 1_200
    seen = {run for text in whole[:1_000] for run in runs_of_words(text, 13)}
    assert not any(run in seen for text in whole[1_000:] for run in runs_of_words(text, 13))
    grams = [frozenset(text[i : i + 5] for i in range(len(text) - 4)) for text in whole]
    for later in grams[1_000:]:
        close = [g for g in grams[:1_000] if 0.8 <= len(g) / len(later) <= 1.25]
        assert all(len(later & g) / len(later | g) < 0.8 for g in close)


def runs_of_words(text: str, size: int) -> list[str]:
    words = text.split()
    return [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]


def test_eight_percent_of_the_labels_are_wrong(
    splits: tuple[list[reviews.Review], list[reviews.Review]],
) -> None:
    for rows in splits:
        wrong = sum(review.sentiment != review.clean_sentiment for review in rows)
        assert wrong == round(0.08 * len(rows))
    assert "clean_sentiment" not in splits[0][0].row


@pytest.mark.parametrize("seed", range(5))
def test_neither_label_is_a_safe_guess(seed: int) -> None:
    for rows in reviews.make_splits(1_000, 200, seed):
        positive = sum(review.sentiment == "positive" for review in rows) / len(rows)
        assert 0.4 < positive < 0.6


def test_no_other_column_tells_the_label(
    splits: tuple[list[reviews.Review], list[reviews.Review]],
) -> None:
    train = splits[0]
    for column in ("country", "product", "category", "verified", "helpful_votes"):
        values: dict[str, list[bool]] = {}
        for review in train:
            values.setdefault(review.row[column], []).append(review.sentiment == "positive")
        often = [labels for labels in values.values() if len(labels) >= 100]
        assert all(0.35 < sum(labels) / len(labels) < 0.65 for labels in often)


def test_reviews_deny_concede_and_mock() -> None:
    text = " ".join(review.text for review in reviews.make_reviews(1_000, seed=1))
    for cue in (" is not ", "far from", ", but ", "Although", "Just what", "My only complaint"):
        assert cue in text
    assert "{" not in text
    assert "[" not in text
    assert "  " not in text


@pytest.mark.parametrize(
    ("phrase", "base"),
    [
        ("leaks from the base", "leak from the base"),
        ("goes dark", "go dark"),
        ("dries out", "dry out"),
        ("dies within a week", "die within a week"),
        ("switches itself off", "switch itself off"),
        ("buzzes all night", "buzz all night"),
        ("loses ten minutes", "lose ten minutes"),
    ],
)
def test_base_form(phrase: str, base: str) -> None:
    assert texts.base_form(phrase) == base


def test_tidy_writes_sentences() -> None:
    assert texts.tidy("a  old hour . it is a useful one") == "An old hour. It is a useful one"


def test_a_text_with_one_word_changed_is_not_new() -> None:
    unseen = texts.Unseen()
    first = "the lid is lovely but it leaks from the base and smells of plastic"
    assert unseen.take(first)
    assert not unseen.take(first.upper() + "!")
    assert not unseen.take(first.replace("lovely", "great"))
    assert unseen.take("nothing in this sentence was said before")


def test_shipped_models_are_small() -> None:
    sizes = [path.stat().st_size for path in MODELS.rglob("*") if path.is_file()]
    assert 1 * MEGABYTE < sum(sizes) < 8 * MEGABYTE
    assert not list(MODELS.rglob("*.bin"))


def test_the_encoder_loads_as_a_classifier() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = MODELS / "encoder"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    assert model.dtype == torch.float32
    coded = tokenizer(["Not bad at all!", "Grüße, naïve café: 100 %"], padding=True)
    assert tokenizer.unk_token_id not in coded.input_ids[0] + coded.input_ids[1]
    assert coded.input_ids[0][0] == tokenizer.cls_token_id
    assert tokenizer.sep_token_id in coded.input_ids[0]
    with torch.inference_mode():
        assert model(**coded.convert_to_tensors("pt")).logits.shape == (2, 2)


def test_the_causal_model_writes_modern_prose() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = MODELS / "causal"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    ids = tokenizer("“Grüße” 🙂", return_tensors="pt").input_ids
    assert ids[0, 0] == tokenizer.bos_token_id != tokenizer.eos_token_id != tokenizer.pad_token_id
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == "“Grüße” 🙂"
    prompt = tokenizer("The market on", return_tensors="pt")
    with torch.inference_mode():
        out = model.generate(**prompt, max_new_tokens=20, do_sample=False)
    words = texts.words_of(tokenizer.decode(out[0], skip_special_tokens=True))
    known = {w for text in texts.make_prose(2_000, seed=1) for w in texts.words_of(text)}
    assert sum(word in known for word in words) >= 0.9 * len(words)


def test_base_models_prefer_prose_to_verse() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = MODELS / "causal"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)

    def loss(texts: list[str]) -> float:
        total, count = 0.0, 0
        with torch.inference_mode():
            for text in texts:
                ids = tokenizer(text, return_tensors="pt").input_ids
                total += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
                count += ids.shape[1] - 1
        return total / count

    assert loss(texts.make_prose(20, seed=99)) + 2 < loss(texts.make_stanzas(20, seed=99))
