import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.models import logits as projection
from ftev.core.engine.models.load import load
from ftev.core.engine.models.logits import ScoredPositions
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.classification import SCORER as CLASSIFICATION
from ftev.core.engine.scoring.evaluate import score_positions, score_tokens
from ftev.core.engine.scoring.rows import TokenRows, classification_rows, completion_rows, text_rows
from ftev.core.engine.scoring.token_scores import (
    TextScore,
    _summary,
    rolling_windows,
    score_text,
)
from ftev.core.engine.training.batches import Layout, collate
from hypothesis import given
from hypothesis import strategies as st
from scoring import (
    causal_model,
    classifier_model,
    made_texts,
    rows_of_labels,
    rows_of_texts,
)
from scoring import scores as scores_in
from tensors import Seen
from tokenizers import processors
from transformers import LlamaConfig, LlamaForSequenceClassification

TEXTS = [
    "the kettle boils",
    "a cold day makes a warm cup welcome and the tea was bad",
    "tea",
    "what a good day for a good cup of tea, ’tis true",
    "this kettle is broken and i want it gone",
]


@pytest.fixture(scope="module")
def causal(causal_folder: Path) -> Loaded:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    return load(config, str(causal_folder))


@pytest.fixture(scope="module")
def classifier(encoder_folder: Path) -> Loaded:
    torch.manual_seed(1)
    config = RunConfig(task="classification", model=ModelConfig(base=str(encoder_folder)))
    return load(config, str(encoder_folder), ("good", "bad"))


def rows_of(causal: Loaded, texts: list[str]) -> TokenRows:
    frame = pl.DataFrame({"row_id": range(len(texts)), "text": texts})
    *_, rows = text_rows(frame, causal)
    assert isinstance(rows, TokenRows)
    return rows


def scores(causal: Loaded, rows: TokenRows, budget: int) -> pl.DataFrame:
    *_, frame = score_tokens(causal, rows, "float32", budget)
    assert isinstance(frame, pl.DataFrame)
    return frame


def plain_nll(causal: Loaded, ids: np.ndarray) -> float:
    """The definition, one row at a time, no padding, in float64."""
    tensor = torch.tensor(ids.astype(np.int64))[None]
    with torch.no_grad():
        logits = causal.model(input_ids=tensor).logits[0].double()
    return float(-logits[:-1].log_softmax(-1).gather(1, tensor[0, 1:, None]).sum())


def test_L1_loss_is_one_division_of_sums(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS)
    frame = scores(causal, rows, 10_000)
    expected = sum(plain_nll(causal, ids) for ids in rows.ids)
    tokens = sum(len(ids) - 1 for ids in rows.ids)
    assert frame["tokens"].sum() == tokens
    assert frame["nll"].sum() / frame["tokens"].sum() == pytest.approx(expected / tokens, abs=1e-5)


def test_L2_the_first_token_is_never_a_target(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS)
    assert rows.scored is not None
    assert not any(scored[0] for scored in rows.scored)


@pytest.mark.parametrize("budget", [1, 40, 100, 10_000])
def test_L5_the_same_rows_in_any_batches_give_the_same_loss(causal: Loaded, budget: int) -> None:
    rows = rows_of(causal, TEXTS)
    one, many = scores(causal, rows, budget), scores(causal, rows, 64)
    assert np.allclose(one["nll"], many["nll"], atol=1e-4)
    assert one["correct"].to_list() == many["correct"].to_list()
    assert one["row_id"].to_list() == [0, 1, 2, 3, 4]


def test_L6_rows_with_nothing_to_score_count_nothing(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS[:2])
    assert rows.scored is not None
    rows.scored[0][:] = False
    frame = scores(causal, rows, 1000)
    assert frame["tokens"].to_list()[0] == 0
    assert frame["nll"].to_list()[0] == 0.0
    assert frame["nll"].to_list()[1] > 0


def test_L3_the_short_way_gives_the_models_own_logits(causal: Loaded) -> None:
    head = ScoredPositions(causal.model)
    assert head.short_way
    head.short_way = False
    ids = torch.tensor([[1, 40, 41, 42]])
    full = head.logits(head.hidden(ids, torch.ones_like(ids)))
    head.short_way = True
    short = head.logits(head.hidden(ids, torch.ones_like(ids)))
    assert torch.allclose(full, short, atol=1e-5)


def test_a_head_that_scales_its_logits_is_not_taken_the_short_way(causal_folder: Path) -> None:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    loaded = load(config, str(causal_folder))
    forward = loaded.model.forward

    def scaled(*args: object, **kwargs: object) -> object:
        out = forward(*args, **kwargs)
        out.logits = out.logits * 0.5
        return out

    loaded.model.forward = scaled
    assert not ScoredPositions(loaded.model).short_way
    rows = rows_of(loaded, TEXTS)
    expected = sum(plain_nll(loaded, ids) for ids in rows.ids)
    assert scores(loaded, rows, 100)["nll"].sum() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (1, [(-1, 0, 4), (3, 4, 8), (5, 8, 10)]),
        (3, [(-1, 0, 4), (1, 4, 6), (3, 6, 8), (5, 8, 10)]),
    ],
)
def test_K3_each_token_is_scored_in_exactly_one_window(
    context: int, expected: list[tuple[int, int, int]]
) -> None:
    assert list(rolling_windows(10, 4, context)) == expected


def test_K3_a_text_within_one_window_has_one(causal: Loaded) -> None:
    assert list(rolling_windows(4, 4, 1)) == [(-1, 0, 4)]
    assert list(rolling_windows(0, 4, 1)) == []


def test_K1_a_text_is_scored_after_one_prefix_token(causal: Loaded) -> None:
    text = "the kettle boils and the tea"
    *_, score = score_text(causal, text)
    assert isinstance(score, TextScore)
    ids = causal.tokenizer(text, add_special_tokens=False).input_ids
    expected = plain_nll(causal, np.array([causal.tokenizer.bos_token_id, *ids]))
    assert score.total == pytest.approx(-expected, abs=1e-4)
    assert score.prefix == "<s>"
    assert len(score.tokens) == len(ids)
    assert score.bytes == len(text.encode())


def test_K3_a_long_text_scores_every_token_once(causal: Loaded) -> None:
    text = " ".join(TEXTS * 12)
    *_, score = score_text(causal, text)
    assert isinstance(score, TextScore)
    n = len(causal.tokenizer(text, add_special_tokens=False).input_ids)
    assert n > 3 * causal.max_length
    assert len(score.log_likelihoods) == len(score.ranks) == n
    assert all(math.isfinite(v) and v <= 0 for v in score.log_likelihoods)


def test_M1_only_the_completion_and_its_eos_are_scored(causal: Loaded) -> None:
    frame = pl.DataFrame({"row_id": [0], "prompt": ["a cold day"], "completion": ["warm cup"]})
    *_, rows = completion_rows(frame, causal)
    assert isinstance(rows, TokenRows)
    assert rows.scored is not None
    said = rows.ids[0][rows.scored[0]].tolist()
    assert causal.tokenizer.decode(said[:-1]) == "warm cup"
    assert said[-1] == causal.tokenizer.eos_token_id == causal.tokenizer.pad_token_id


def test_classes_are_scored_the_same_in_any_batches(classifier: Loaded) -> None:
    labels = ["good", "bad", "good", "bad", "good"]
    frame = pl.DataFrame({"row_id": [3, 1, 4, 0, 2], "text": TEXTS, "label": labels})
    *_, rows = classification_rows(frame, classifier)
    assert isinstance(rows, TokenRows)
    *_, one = CLASSIFICATION.score(classifier, rows, "float32", 1)
    *_, many = CLASSIFICATION.score(classifier, rows, "float32", 1000)
    assert isinstance(one, pl.DataFrame)
    assert isinstance(many, pl.DataFrame)
    assert one["row_id"].to_list() == [3, 1, 4, 0, 2]
    assert one["label"].to_list() == labels
    assert np.allclose(one["nll"], many["nll"], atol=1e-5)
    total = one["probabilities"].list.sum()
    assert np.allclose(total, 1.0)
    best = [("good", "bad")[int(np.argmax(p))] for p in one["probabilities"].to_list()]
    assert one["predicted"].to_list() == best


def test_L1_unequal_batches_weigh_by_their_tokens(causal: Loaded) -> None:
    """Long rows are harder here, so a mean of batch means would be another number."""
    rows = rows_of(causal, ["tea", "cup", "a", *made_texts(6, longest=40, seed=1)])
    expected = sum(plain_nll(causal, ids) for ids in rows.ids)
    tokens = int(rows.targets.sum())
    means = []
    for size in (1, 2, 4, 7):
        frame = scores_in(causal, rows, layout=Layout(rows=size, seed=size))
        assert frame["nll"].sum() / frame["tokens"].sum() == pytest.approx(
            expected / tokens, abs=1e-5
        )
        parts = Layout(rows=size, seed=size).batches(rows.lengths, 1)
        each = [frame[p]["nll"].sum() / frame[p]["tokens"].sum() for p in parts]
        means.append(float(np.mean(each)))
    assert max(abs(mean - expected / tokens) for mean in means) > 1e-3
    assert frame.schema["nll"] == pl.Float64
    assert frame.schema["tokens"] == frame.schema["correct"] == pl.Int64


def test_L2_targets_are_the_scored_positions_shifted_by_one(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS)
    assert rows.scored is not None
    for scored in rows.scored:
        scored[1::2] = False
    frame = scores(causal, rows, 100)
    for i, (ids, scored) in enumerate(zip(rows.ids, rows.scored, strict=True)):
        tensor = torch.tensor(ids.astype(np.int64))[None]
        with torch.no_grad():
            likelihood = causal.model(input_ids=tensor).logits[0].double().log_softmax(-1)
        wanted = [-float(likelihood[t - 1, ids[t]]) for t in range(1, len(ids)) if scored[t]]
        assert frame["tokens"][i] == len(wanted)
        assert frame["nll"][i] == pytest.approx(sum(wanted), abs=1e-4)


def test_L3_the_log_softmax_is_float32_though_the_model_is_bfloat16(causal_folder: Path) -> None:
    loaded = causal_model(causal_folder)
    rows = rows_of(loaded, [" ".join(made_texts(30, seed=3))])
    loaded.model.bfloat16()
    head = ScoredPositions(loaded.model)
    exact = rounded = 0.0
    for ids in rows.ids:
        tensor = torch.tensor(ids.astype(np.int64))[None]
        with torch.no_grad():
            states = head.hidden(tensor, torch.ones_like(tensor))[0, :-1]
            assert states.dtype == torch.bfloat16
            assert head.logits(states).dtype == torch.float32
            logits = head.logits(states)
        targets = tensor[0, 1:, None]
        exact -= float(logits.double().log_softmax(-1).gather(1, targets).sum())
        rounded -= float(logits.bfloat16().log_softmax(-1).gather(1, targets).sum())
    frame = scores(loaded, rows, 1)
    assert frame["nll"].sum() == pytest.approx(exact, abs=1e-3)
    assert abs(rounded - exact) > 0.5  # nats: what a log-softmax in bfloat16 would have cost


def test_L3_a_certain_wrong_answer_is_finite_because_no_softmax_is_taken(causal: Loaded) -> None:
    logits = torch.tensor([[200.0, 0.0]])

    class Certain:
        chunk = 10

        def room(self, states: torch.Tensor) -> None:
            return None

        def projected(self, states: torch.Tensor, room: None) -> torch.Tensor:
            return logits

    found, first, _ = score_positions(Certain(), logits, torch.tensor([1]))  # type: ignore[arg-type]
    assert found.tolist() == [-200.0]
    assert first.tolist() == [False]
    assert logits.softmax(-1)[0, 1].log() == -math.inf


def test_L4_every_chunk_of_logits_stands_in_the_same_memory(
    causal: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "CPU_CHUNK_ELEMENTS", 10 * causal.model.config.vocab_size)
    found = []
    project = ScoredPositions.projected

    def projected(
        self: ScoredPositions, states: torch.Tensor, room: torch.Tensor | None = None
    ) -> torch.Tensor:
        found.append((logits := project(self, states, room)).data_ptr())
        return logits

    rows = rows_of(causal, made_texts(30))
    result = scores(causal, rows, 1)
    monkeypatch.setattr(ScoredPositions, "projected", projected)
    kept = scores(causal, rows, 1)
    assert len(found) > 10
    assert len(set(found[1:])) == 1  # the first asks whether the short way is right
    monkeypatch.setattr(ScoredPositions, "room", lambda self, states: None)
    monkeypatch.setattr(ScoredPositions, "projected", lambda self, s, room=None: project(self, s))
    assert scores(causal, rows, 1)["nll"].to_list() == pytest.approx(result["nll"].to_list())
    assert kept.equals(result)


def test_L4_logits_of_a_whole_batch_are_never_held(
    causal: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = causal.model.config.vocab_size
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", 10 * vocabulary)
    rows = rows_of(causal, made_texts(30))
    expected = scores(causal, rows, 1)
    with Seen() as seen:
        frame = scores(causal, rows, 400)
    assert np.allclose(frame["nll"], expected["nll"], atol=1e-4)
    wide = [s for s in seen.wide(vocabulary) if s != (1, 8, vocabulary)]  # the look at the head
    assert wide
    assert all(len(s) == 2 and s[0] <= 10 for s in wide if s[0] != 32), wide  # 32: the weights


def test_L4_where_the_whole_forward_is_needed_batches_are_cut(
    causal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = causal_model(causal_folder)
    monkeypatch.setattr(ScoredPositions, "_agrees", lambda self: False)
    vocabulary = loaded.model.config.vocab_size
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", 50 * vocabulary)
    rows = rows_of(loaded, made_texts(30))
    with Seen() as seen:
        scores(loaded, rows, 4000)
    whole = [s for s in seen.wide(vocabulary) if len(s) == 3]
    assert whole
    assert all(s[0] == 1 or s[0] * s[1] <= 50 for s in whole), whole


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_L4_peak_memory_does_not_grow_with_the_rows(
    task: str, causal: Loaded, classifier: Loaded
) -> None:
    loaded, rows_made = {
        "generation": (causal, rows_of_texts),
        "classification": (classifier, rows_of_labels),
    }[task]
    peaks = []
    for count in (200, 2000):
        rows = rows_made(loaded, made_texts(200, longest=8) * (count // 200))
        assert len(rows) == count
        with Seen() as seen:
            scores_in(loaded, rows, budget=1024)
        peaks.append(seen.peak)
    assert peaks[0] > 100_000  # bytes of tensors alive at once
    assert peaks[1] < 1.2 * peaks[0]  # ten times the rows; batches are a little fuller


def test_L8_dropout_is_off_no_gradient_is_kept_and_no_cache(causal_folder: Path) -> None:
    loaded = causal_model(causal_folder)
    loaded.model.config.attention_dropout = 0.5
    for layer in loaded.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    rows = rows_of(loaded, TEXTS)
    lines = []

    def look(module: torch.nn.Module, args: object, kwargs: dict[str, object], out: object) -> None:
        lines.append((module.training, torch.is_inference_mode_enabled(), kwargs["use_cache"]))
        assert out.past_key_values is None  # type: ignore[attr-defined]

    loaded.model.model.register_forward_hook(look, with_kwargs=True)
    loaded.model.train()
    first, second = scores(loaded, rows, 64), scores(loaded, rows, 64)
    assert first.equals(second)
    assert first["nll"].sum() == pytest.approx(
        sum(plain_nll(causal_model(causal_folder), ids) for ids in rows.ids), abs=1e-3
    )
    seen = [t for t in lines if t[1]]
    assert seen
    assert all(t == (False, True, False) for t in seen)
    assert loaded.model.training  # as it was found


def test_L8_a_classifier_that_could_keep_a_cache_is_told_not_to(causal: Loaded) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(causal.tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=causal.tokenizer.pad_token_id,
    )
    model = LlamaForSequenceClassification(config)
    loaded = Loaded(model, causal.tokenizer, 64, ("good", "bad"))
    lines = []
    model.model.register_forward_hook(lambda m, a, out: lines.append(out.past_key_values))
    scores_in(loaded, rows_of_labels(loaded, TEXTS))
    assert lines
    assert all(cache is None for cache in lines)


def test_L8_label_smoothing_stays_out_of_a_reported_loss(encoder_folder: Path) -> None:
    loaded = classifier_model(encoder_folder)
    loaded.model.config.label_smoothing = 0.3
    frame = scores_in(loaded, rows_of_labels(loaded, TEXTS))
    places = [loaded.labels.index(label) for label in frame["label"]]
    chosen = [p[i] for p, i in zip(frame["probabilities"], places, strict=True)]
    assert frame["nll"].to_list() == pytest.approx([-math.log(p) for p in chosen], abs=1e-9)


def test_M5_evaluation_is_unpacked(causal: Loaded) -> None:
    """One row a line of a batch, each from its own first position; what else is in it is unseen."""
    rows = rows_of(causal, TEXTS)
    batch = collate(rows.ids, np.arange(5), causal.tokenizer.pad_token_id, causal.device)
    assert batch.ids.shape[0] == 5
    for line, mask, ids in zip(batch.ids, batch.mask, rows.ids, strict=True):
        assert line[: len(ids)].tolist() == ids.tolist()
        assert mask.tolist() == [1] * len(ids) + [0] * (len(line) - len(ids))
    others = rows_of(causal, [TEXTS[0], *["cup cup cup and more of it"] * 4])
    one, other = scores(causal, rows, 10_000), scores(causal, others, 10_000)
    assert one["nll"][0] == pytest.approx(other["nll"][0], abs=1e-5)


def with_bos_of_its_own(loaded: Loaded) -> Loaded:
    """The same model with a tokenizer that puts <s> before every text unless told otherwise."""
    tokenizer = copy.deepcopy(loaded.tokenizer)
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bos)]
    )
    assert tokenizer("tea").input_ids[0] == bos
    return replace(loaded, tokenizer=tokenizer)


def test_K1_a_tokenizer_that_adds_the_prefix_itself_does_not_double_it(causal: Loaded) -> None:
    loaded, bos = with_bos_of_its_own(causal), causal.tokenizer.bos_token_id
    for ids in rows_of(loaded, TEXTS).ids:
        assert ids[0] == bos
        assert (ids == bos).sum() == 1
    frame = pl.DataFrame({"row_id": [0], "prompt": ["a cold day"], "completion": ["warm cup"]})
    *_, rows = completion_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    assert (rows.ids[0] == bos).sum() == 1
    scored = [list(score_text(model, TEXTS[1]))[-1] for model in (causal, loaded)]
    assert isinstance(scored[0], TextScore)
    assert scored[0] == scored[1]


def test_K1_a_model_without_bos_takes_its_eos(causal: Loaded) -> None:
    tokenizer = copy.deepcopy(causal.tokenizer)
    tokenizer.bos_token = None
    loaded = replace(causal, tokenizer=tokenizer)
    *_, score = score_text(loaded, "the kettle")
    assert isinstance(score, TextScore)
    assert score.prefix == "</s>"
    ids = tokenizer("the kettle", add_special_tokens=False).input_ids
    expected = plain_nll(causal, np.array([tokenizer.eos_token_id, *ids]))
    assert score.total == pytest.approx(-expected, abs=1e-4)
    assert len(score.tokens) == len(ids)  # the prefix is context and not scored


def test_K3_windows_read_what_the_rule_says() -> None:
    """Tokens 0..9, window 4; B is the prefix at place -1."""

    def told(context: int) -> list[tuple[list[str], list[int]]]:
        return [
            (
                ["B" if i < 0 else str(i) for i in range(first, end - 1)],
                list(range(start, end)),
            )
            for first, start, end in rolling_windows(10, 4, context)
        ]

    assert [scored for _, scored in told(1)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [scored for _, scored in told(3)] == [[0, 1, 2, 3], [4, 5], [6, 7], [8, 9]]
    inputs = ["B 0 1 2", "1 2 3 4", "3 4 5 6", "5 6 7 8"]
    assert [" ".join(read) for read, _ in told(3)] == inputs


@given(st.integers(0, 60), st.integers(2, 12), st.integers(1, 12))
def test_K3_any_windows_score_each_token_once(n: int, window: int, context: int) -> None:
    context = min(context, window)
    scored = []
    for first, start, end in rolling_windows(n, window, context):
        assert first < start < end
        assert end - 1 - first <= window  # inputs
        assert start - first >= (context if first >= 0 else 1)  # context of the first one scored
        scored += range(start, end)
    assert scored == list(range(n))


def test_K4_every_normalisation_is_named(causal: Loaded) -> None:
    text = "the kettle boils ’tis\ntrue"
    *_, score = score_text(causal, text)
    assert isinstance(score, TextScore)
    found = _summary("tiny", [score, score])
    assert found["total_log_likelihood"] == pytest.approx(2 * score.total)
    assert (found["scored_tokens"], found["bytes"], found["words"]) == (
        2 * len(score.tokens),
        2 * len(text.encode()),
        10,
    )
    assert found["average_log_likelihood"] == pytest.approx(score.total / len(score.tokens))
    assert found["log_likelihood_per_word"] == pytest.approx(score.total / 5)
    bits = -score.total / (math.log(2) * len(text.encode()))
    assert found["bits_per_byte"] == pytest.approx(bits)


def test_V7_the_end_token_is_scored_by_itself(causal: Loaded) -> None:
    """Also where a context that rows share is read once, and of rows that lost their end."""
    context = "what a good day for a good cup of tea"
    pairs = [(context, "a cup"), (context, "it is warm"), ("tea", "yes"), ("cup", "warm " * 99)]
    frame = pl.DataFrame(
        {"row_id": range(4), "prompt": [p for p, _ in pairs], "completion": [c for _, c in pairs]}
    )
    *_, rows = completion_rows(frame, causal)
    assert isinstance(rows, TokenRows)
    *_, found = score_tokens(causal, rows, "float32", 64)
    *_, alone = score_tokens(causal, rows, "float32", 64, Layout(rows=1))
    assert isinstance(found, pl.DataFrame)
    assert isinstance(alone, pl.DataFrame)
    for scored in (found, alone):
        assert scored["end_nll"].is_null().to_list() == [False, False, False, True]
        for i in range(3):
            ids = torch.from_numpy(rows.ids[i].astype(np.int64))[None]
            with torch.inference_mode():
                logits = causal.model(ids).logits[0, -2]
            expected = -float(logits.log_softmax(-1)[causal.tokenizer.eos_token_id])
            assert scored["end_nll"][i] == pytest.approx(expected, abs=1e-4)


def test_V7_of_a_document_the_last_window_has_the_end(causal: Loaded) -> None:
    rows = rows_of(causal, ["the tea was bad and the day was worse " * 20])
    *_, found = score_tokens(causal, rows, "float32", 4096)
    assert isinstance(found, pl.DataFrame)
    assert found["end_nll"].is_null().to_list() == [True] * (len(rows) - 1) + [False]


def test_rows_done_are_counted_up_to_all_of_them(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS)
    *done, frame = score_tokens(causal, rows, "float32", 40)
    assert isinstance(frame, pl.DataFrame)
    assert done[-1] == len(rows) == frame.height
    assert done == sorted(done)
