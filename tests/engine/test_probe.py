"""C6: the honest base of a classifier is a linear probe on the frozen base."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ftev.core.engine.training.probe import STRENGTHS, Probe, features, fit_probe, load_probe
from scoring import causal_model, classifier_model, made_texts, rows_of_labels
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

LABELS = ("a", "b", "c")


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    x = random.normal(size=(n, 6)) * 3 + 5
    x[:, :3] += 2.0 * np.eye(3)[labels]
    return x.astype(np.float32), labels


def fitted(train: tuple[np.ndarray, np.ndarray], validation: object = None) -> Probe:
    *_, probe = fit_probe(train, validation, LABELS)  # type: ignore[arg-type]
    assert isinstance(probe, Probe)
    return probe


def test_C6_the_probe_is_a_logistic_regression_on_standardised_features() -> None:
    (x, y), (held_out, _) = drawn(200, 0), drawn(50, 1)
    scale = x.std(0) + 1e-6
    expected = LogisticRegression(C=1.0, max_iter=300, tol=1e-3).fit((x - x.mean(0)) / scale, y)
    p = expected.predict_proba((held_out - x.mean(0)) / scale)
    assert np.allclose(fitted((x, y)).probabilities(held_out), p, atol=1e-5)


def test_C6_its_regularisation_is_chosen_on_validation() -> None:
    (x, y), (vx, vy) = drawn(25, 2), drawn(400, 3)
    scale = x.std(0) + 1e-6
    losses = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
        model.fit((x - x.mean(0)) / scale, y)
        losses[strength] = log_loss(vy, model.predict_proba((vx - x.mean(0)) / scale))
    assert fitted((x, y), (vx, vy)).strength == min(losses, key=lambda s: losses[s])
    assert len(set(losses.values())) > 1


def test_C6_two_labels_and_a_label_that_train_lacks(tmp_path: Path) -> None:
    x, y = drawn(90, 4)
    seen = y < 2
    probe = fitted((x[seen], y[seen]))
    p = probe.probabilities(x)
    assert np.all(p[:, 2] == 0)
    assert np.allclose(p.sum(1), 1)
    assert (p.argmax(1) == y)[seen].mean() > 0.6
    probe.save(tmp_path / "probe.safetensors")
    again = load_probe(tmp_path / "probe.safetensors", LABELS)
    assert np.array_equal(again.probabilities(x), p)


def test_C6_the_base_is_frozen_and_padding_is_not_averaged(encoder_folder: Path) -> None:
    loaded = classifier_model(encoder_folder)
    before = {k: v.clone() for k, v in loaded.model.state_dict().items()}
    rows = rows_of_labels(loaded, made_texts(12))
    *_, together = features(loaded, rows, "float32", 512)
    *_, alone = features(loaded, rows, "float32", 1)
    assert np.allclose(together, alone, atol=1e-5)
    ids = torch.tensor(rows.ids[3].astype(np.int64))[None]
    with torch.no_grad():
        states = loaded.model.eval().bert(input_ids=ids)[0]
    assert np.allclose(together[3], states[0].mean(0).numpy(), atol=1e-5)
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_C6_the_probe_does_not_read_the_new_head(encoder_folder: Path) -> None:
    loaded = classifier_model(encoder_folder)
    rows = rows_of_labels(loaded, made_texts(5))
    *_, first = features(loaded, rows, "float32", 512)
    with torch.no_grad():
        loaded.model.classifier.weight.fill_(9.0)
    *_, second = features(loaded, rows, "float32", 512)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("budget", [1, 64])
def test_features_of_a_decoder_keep_no_cache(causal_folder: Path, budget: int) -> None:
    loaded = causal_model(causal_folder)
    loaded.labels = ("good", "bad")
    lines = []
    loaded.model.model.register_forward_hook(lambda m, a, out: lines.append(out.past_key_values))
    rows = rows_of_labels(loaded, made_texts(4))
    *_, found = features(loaded, rows, "float32", budget)
    assert isinstance(found, np.ndarray)
    assert found.shape == (4, 32)
    assert lines
    assert all(cache is None for cache in lines)
