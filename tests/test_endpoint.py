"""Models behind servers: what each can do is found, answers and likelihoods are the model's own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from ftev.core.compare import endpoint
from ftev.core.compare.endpoint import (
    Address,
    Endpoint,
    EndpointError,
    Likelihood,
    Way,
    ask_all,
)
from ftev.core.errors import ConfigError
from played_servers import Played, is_first, log_likelihood, pieces, played, reply_to

CONTEXT, TEXT = "the tea was", " warm in the morning"


OPENED: list[Endpoint] = []


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(endpoint, "WAIT", 0.001)
    yield
    while OPENED:
        OPENED.pop().close()


def asking(play: Played, model: str = "base", **environment: str) -> Endpoint:
    OPENED.append(Endpoint(Address.of(f"{play.url}#{model}"), environment))
    return OPENED[-1]


def by_hand(model: str) -> Likelihood:
    every = pieces(CONTEXT + TEXT)
    start = len(pieces(CONTEXT))
    pairs = [(every[i - 1], every[i]) for i in range(start, len(every))]
    return Likelihood(
        -sum(log_likelihood(model, *pair) for pair in pairs),
        len(pairs),
        sum(is_first(*pair) for pair in pairs),
    )


@pytest.mark.parametrize(
    ("kind", "completes", "way"),
    [
        ("vllm", True, "echo"),
        ("vllm without echo", True, "prompt_logprobs"),
        ("sglang", True, "generate"),
        ("llama.cpp", True, ""),
        ("ollama", True, ""),
        ("chats", False, ""),
    ],
)
def test_what_a_server_can_do_is_found_by_asking_it(kind: str, completes: bool, way: Way) -> None:
    with played(kind) as play:
        asked = asking(play)
        found = asked.abilities()
        assert (found.completes, found.chats, found.likelihoods) == (completes, True, way)
        assert ("no likelihoods" in str(found)) == (not way)
        if way:
            likelihood = asked.likelihood(CONTEXT, TEXT, way)
            expected = by_hand("base")
            assert likelihood.nll == pytest.approx(expected.nll)
            assert (likelihood.tokens, likelihood.correct) == (expected.tokens, expected.correct)


def test_two_models_of_one_server() -> None:
    with played("vllm") as play:
        found = [asking(play, m).likelihood(CONTEXT, TEXT, "echo").nll for m in ("base", "tuned")]
        assert found == pytest.approx([by_hand("base").nll, by_hand("base").nll / 2])
        answers = [asking(play, m).complete(CONTEXT, 9) for m in ("base", "tuned")]
        assert [a.text for a in answers] == [reply_to(m, CONTEXT) for m in ("base", "tuned")]
        assert all(a.ended for a in answers)
        cut = asking(play).complete(CONTEXT, 1)
        assert (cut.text, cut.tokens, cut.ended) == (" not", 1, False)


def test_a_token_across_the_join_belongs_to_the_text() -> None:
    with played("vllm") as play:
        whole = asking(play).likelihood("the t", "ea", "echo")
        assert whole.tokens == 1
        assert whole.nll == pytest.approx(-log_likelihood("base", "the", " tea"))


def test_likelihoods_of_another_text_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that puts the text into a template scores something else."""
    with played("vllm") as play:
        original = Endpoint._post

        def wrapped(self: Endpoint, path: str, asked: dict[str, object], kind: type) -> object:
            return original(self, path, {**asked, "prompt": f"<user> {asked.get('prompt')}"}, kind)

        monkeypatch.setattr(Endpoint, "_post", wrapped)
        with pytest.raises(EndpointError, match="not of the text"):
            asking(play).likelihood(CONTEXT, TEXT, "echo")
        assert asking(play).abilities().likelihoods == ""


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_and_not_for_ever(status: int) -> None:
    with played("vllm", fails=endpoint.ATTEMPTS - 1, status=status) as play:
        assert asking(play).complete(CONTEXT, 9).text == reply_to("base", CONTEXT)
        assert play.asked[CONTEXT] == endpoint.ATTEMPTS
    with played("vllm", fails=99, status=status) as play:
        with pytest.raises(EndpointError, match=str(status)):
            asking(play).complete(CONTEXT, 9)
        assert play.asked[CONTEXT] == endpoint.ATTEMPTS


def test_a_row_that_fails_is_kept_apart_and_order_does_not_matter() -> None:
    prompts = [f"cup number {i}" for i in range(30)]
    with played("vllm", broken=(prompts[7],), slow=tuple(prompts[:4])) as play:
        asked = asking(play)
        found = list(ask_all(lambda p: asked.complete(p, 9), prompts, workers=8))
    assert sorted(place for place, _ in found) == list(range(30))
    assert [place for place, _ in found] != list(range(30))
    for place, answer in found:
        if place == 7:
            assert isinstance(answer, EndpointError)
            assert "too long" in str(answer)
        else:
            assert not isinstance(answer, EndpointError)
            assert answer.text == reply_to("base", prompts[place])
    assert play.asked[prompts[7]] == 1  # asking again does not help


def test_a_key_goes_into_requests_and_nowhere_else() -> None:
    with played("vllm", key="sk-secret") as play:
        with pytest.raises(EndpointError, match="Set FTEV_API_KEY") as caught:
            asking(play).abilities()
        assert "sk-secret" not in str(caught.value)
        for name in endpoint.KEYS:
            asked = asking(play, **{name: "sk-secret"})
            assert asked.abilities().completes
            assert "sk-secret" not in f"{asked.address} {asked.__dict__.get('address')}"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("http://here/v1", "names no model"),
        ("tuned#x", "names no model"),
        ("http://here#", "names"),
    ],
)
def test_an_address_names_server_and_model(given: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Address.of(given)


def test_a_model_that_is_not_served_and_a_server_that_is_not_there() -> None:
    with played("vllm") as play, pytest.raises(EndpointError, match="Its models: base, tuned"):
        asking(play, "other").abilities()
    with pytest.raises(EndpointError, match="cannot be reached"):
        asking(play).abilities()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"choices": 3}',
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b"\xff\xfe",
        b"null",
    ],
)
def test_an_answer_that_makes_no_sense_is_one_error(body: bytes) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body))
    asked = Endpoint(Address.of("http://here/v1#m"), {}, transport)
    for ask in (lambda: asked.complete("a", 1), lambda: asked.likelihood("a", " b", "echo")):
        with pytest.raises(EndpointError):
            ask()


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MOST", 1000)
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=b" " * 5000))
    with pytest.raises(EndpointError, match="too long"):
        Endpoint(Address.of("http://here/v1#m"), {}, transport).complete("a", 1)
