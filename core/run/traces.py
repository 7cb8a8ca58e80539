"""What becomes of one input inside a model: facts that a worker computes and a screen shows."""

from __future__ import annotations

import msgspec

Share = tuple[str, float]  # a label or token, with its probability or its raw logit


class TracedLayer(msgspec.Struct, frozen=True):
    """The hidden state after a layer, at the traced place; layer 0 is the embedding.

    `top`: what the model would answer if it stopped here, most probable first; empty where no head
    can be put on this state. `distance`: |tuned - base| / |base| of the two hidden states.
    """

    index: int
    norm: float | None
    change: float | None = None  # |h - h before| / |h before|
    cosine: float | None = None  # with the layer before
    top: list[Share] = []
    distance: float | None = None
    distance_cosine: float | None = None


class ModelTrace(msgspec.Struct, frozen=True):
    """One model on one input, stage by stage."""

    model: str  # "base" or "tuned"
    name: str  # what answers: "base", "tuned", "base (linear probe)"
    architecture: str
    tokens: list[tuple[str, int]]  # text and id, in order
    place: str  # in words: whose hidden state is followed
    place_index: int | None  # the token it stands at; none: the mean of all
    layers: list[TracedLayer]
    lens: str  # in words: how a layer's state is made an answer
    logits: list[Share]  # the highest raw ones
    probabilities: list[Share]  # the same after the softmax
    final: str
    entropy: float | None = None  # of the last softmax, nats
    lens_error: float | None = None  # most that the last layer's lens and the model's logits differ
    cut_tokens: int = 0  # left out, as the model reads no more
    notes: list[str] = []
