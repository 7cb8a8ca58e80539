"""A model behind an OpenAI-compatible server: what it can do, answers, likelihoods of texts.

`URL#MODEL` names one. What a server can do is found by asking it with two words, and never assumed.
Whatever it answers is untrusted: bounded, decoded into structs, and kept as text. A key comes from
the environment, goes into the header of requests, and is written nowhere.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import httpx2
import msgspec

from ..errors import ConfigError, Fault, ModelError

KEYS = ("FTEV_API_KEY", "OPENAI_API_KEY")
ATTEMPTS = 5  # of one request, where the server is busy or cannot be reached
WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second attempt, doubled each time; at most
SECONDS = 300.0  # that one answer may take
MOST = 16 << 20  # bytes of one answer
BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 529}
SHOWN = 300  # characters of what a server says
PROBE = "two words"
Way = Literal["", "echo", "prompt_logprobs", "generate"]
Asked = TypeVar("Asked")
Found = TypeVar("Found")


class EndpointError(ModelError):
    """A row that a server has not answered, or a server that cannot be used."""


@dataclass(frozen=True)
class Address:
    """A server's base URL, and the name of one of its models."""

    url: str  # without a slash at its end
    model: str

    @classmethod
    def of(cls, given: str) -> Address:
        """Raises ConfigError for what is not `URL#MODEL`."""
        url, _, model = given.partition("#")
        if not is_endpoint(given) or not model:
            what = "names no model of a server"
            remedy = "Write URL#MODEL, for instance http://localhost:8000/v1#tuned"
            raise ConfigError(Fault(given, what, remedy))
        return cls(url.rstrip("/"), model)

    def __str__(self) -> str:
        return f"{self.url}#{self.model}"


def is_endpoint(name: str) -> bool:
    """Whether a model is named by where it is served."""
    return name.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Abilities:
    """What a server has shown that it can do."""

    completes: bool  # texts, as they stand
    chats: bool  # through its own template
    likelihoods: Way  # of given texts, and how to ask for them

    def __str__(self) -> str:
        can = [
            name for name, has in (("completions", self.completes), ("chats", self.chats)) if has
        ]
        ways = {"echo": "echo", "prompt_logprobs": "prompt_logprobs", "generate": "/generate"}
        how = ways.get(self.likelihoods, "")
        can.append(
            f"likelihoods of given texts by {how}" if how else "no likelihoods of given texts"
        )
        return ", ".join(can)


@dataclass(frozen=True)
class Answer:
    """What a model wrote."""

    text: str
    tokens: int | None  # as the server counts them
    ended: bool  # by itself, before the limit


@dataclass(frozen=True)
class Likelihood:
    """Of a given text after its context."""

    nll: float  # nats, over its tokens
    tokens: int
    correct: int  # tokens that were the model's first choice


class _Usage(msgspec.Struct):
    completion_tokens: int | None = None


class _Message(msgspec.Struct):
    content: str | None = None


class _LogProbs(msgspec.Struct):
    """Of a completion with `echo`: an entry per token, the first without a likelihood."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class _PromptToken(msgspec.Struct):
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None = None  # of chats


class _Meta(msgspec.Struct):
    input_token_logprobs: list[tuple[float | None, int, str | None]] = []
    input_top_logprobs: list[list[tuple[float | None, int, str | None]] | None] = []


class _Generated(msgspec.Struct):
    meta_info: _Meta


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] = []


Token = tuple[str, float | None, bool]  # its text, its log-likelihood, whether it was the first


class Endpoint:
    """One model of one server. May be asked from several threads."""

    def __init__(
        self,
        address: Address,
        environment: Mapping[str, str] = os.environ,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        key = next((environment[name] for name in KEYS if environment.get(name)), None)
        self.address = address
        self.stopped = threading.Event()
        self._attempts = ATTEMPTS
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(SECONDS, connect=10.0),
            transport=transport,
        )

    def close(self) -> None:
        self.stopped.set()
        self._client.close()

    def abilities(self) -> Abilities:
        """Ask with two words what the server can do. Raises EndpointError where it can nothing."""
        self._check_model()
        completes = self._can(lambda: self.complete(PROBE, 1))
        chats = self._can(lambda: self.chat([{"role": "user", "content": PROBE}], 1))
        if not completes and not chats:
            self.chat([{"role": "user", "content": PROBE}], 1)  # raises, with the reason
        ways: tuple[Way, ...] = ("echo", "prompt_logprobs", "generate")
        found: Iterator[Way] = (way for way in ways if self._scores(way))
        return Abilities(completes, chats, next(found, ""))

    def _check_model(self) -> None:
        """Some hosts list no models, or not all of them: then the first question shows it."""
        self._attempts = 1
        try:
            listed = self._ask("GET", f"{self.address.url}/models", None, _Models).data
        except _RefusedError as error:
            if error.status in (401, 403):
                raise
            return
        finally:
            self._attempts = ATTEMPTS
        names = [model.id for model in listed]
        if names and self.address.model not in names:
            shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
            what = f"has no model {self.address.model!r}"
            raise EndpointError(Fault(self.address.url, what, f"Its models: {shown}"))

    def _can(self, ask: Callable[[], object]) -> bool:
        try:
            ask()
        except _RefusedError as error:
            if error.status in (401, 403):
                raise
            return False
        return True

    def _scores(self, way: Way) -> bool:
        """Both words must have a likelihood: some servers take the question and leave them out."""
        first, second = PROBE.split()
        self._attempts = 1  # what a server cannot do it calls an error of its own
        try:
            return self.likelihood(first, f" {second}", way).tokens > 0
        except EndpointError:
            return False
        finally:
            self._attempts = ATTEMPTS

    def complete(self, prompt: str, limit: int) -> Answer:
        """What the model writes after a text, greedily, `limit` tokens at most."""
        asked = {"prompt": prompt, "max_tokens": limit, "temperature": 0}
        return _answer(self._post("/completions", asked, _Reply), chat=False)

    def chat(self, messages: Sequence[Mapping[str, Any]], limit: int) -> Answer:
        """What the model answers to a chat, through the server's template."""
        asked = {"messages": list(messages), "max_tokens": limit, "temperature": 0}
        return _answer(self._post("/chat/completions", asked, _Reply), chat=True)

    def likelihood(self, context: str, text: str, way: Way) -> Likelihood:
        """Of a text after its context. A token across the join belongs to the text."""
        tokens = getattr(self, f"_tokens_by_{way}")(context + text)
        place, nll, count, correct = 0, 0.0, 0, 0
        for piece, log_likelihood, first in tokens:
            place += len(piece)
            if place <= len(context) or not piece:
                continue
            if log_likelihood is None:
                raise EndpointError("the server gives no likelihood of a token that is scored")
            nll, count, correct = nll - log_likelihood, count + 1, correct + first
        return Likelihood(nll, count, correct)

    def _tokens_by_echo(self, text: str) -> list[Token]:
        """Completions with `echo`, and the one token that they make left out."""
        asked = {"prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        reply = self._post("/completions", asked, _Reply)
        given = reply.choices[0].logprobs if reply.choices else None
        try:
            found = msgspec.convert(given, _LogProbs)
        except msgspec.ValidationError:
            found = _LogProbs()
        top = found.top_logprobs or [None] * len(found.tokens)
        tokens = [
            (piece, value, _is_first(value, best))
            for piece, value, best in zip(found.tokens, found.token_logprobs, top, strict=False)
        ]
        return self._whole(text, tokens)

    def _tokens_by_prompt_logprobs(self, text: str) -> list[Token]:
        """An extension of vLLM. Beside a token that was not the first choice stands the first."""
        asked = {"prompt": text, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 1}
        reply = self._post("/completions", asked, _Reply)
        entries = reply.choices[0].prompt_logprobs if reply.choices else None
        tokens: list[Token] = []
        for entry in entries or []:
            if not entry:  # the first has no likelihood, and so no text
                tokens.append(("", None, False))
                continue
            own = max(entry.values(), key=lambda token: token.rank or 1)
            tokens.append((own.decoded_token or "", own.logprob, own.rank == 1))
        if tokens:
            rest = "".join(piece for piece, *_ in tokens)
            tokens[0] = (text[: len(text) - len(rest)], None, False)
        return self._whole(text, tokens)

    def _tokens_by_generate(self, text: str) -> list[Token]:
        """SGLang's own question."""
        asked = {
            "text": text,
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": 0,
            "top_logprobs_num": 1,
            "return_text_in_logprobs": True,
        }
        root = self.address.url.removesuffix("/v1")
        meta = self._ask("POST", f"{root}/generate", asked, _Generated).meta_info
        tops = meta.input_top_logprobs or [None] * len(meta.input_token_logprobs)
        tokens = [
            (piece or "", value, bool(top and top[0][1] == number))
            for (value, number, piece), top in zip(meta.input_token_logprobs, tops, strict=False)
        ]
        return self._whole(text, tokens)

    def _whole(self, text: str, tokens: list[Token]) -> list[Token]:
        """The tokens of the text: what was made after it is left out. Raises EndpointError where
        they are not the text, as a server that applies a template gives them.
        """
        kept, made = [], ""
        for token in tokens:
            if len(made) >= len(text):
                break
            kept.append(token)
            made += token[0]
        if made != text:
            what = f"the likelihoods are of {made[:SHOWN]!r}, not of the text that was sent"
            raise EndpointError(what)
        return kept

    def _post(self, path: str, asked: dict[str, Any], kind: type[Found]) -> Found:
        asked = {"model": self.address.model, **asked}
        return self._ask("POST", self.address.url + path, asked, kind)

    def _ask(self, method: str, url: str, asked: Any, kind: type[Found]) -> Found:
        """One question, asked again while the server is busy. Raises EndpointError."""
        for attempt in range(self._attempts):
            wait = min(LONGEST_WAIT, WAIT * 2**attempt)
            try:
                status, headers, body = self._send(method, url, asked)
            except httpx2.TransportError as error:
                problem: EndpointError = _RefusedError(f"{url}: cannot be reached: {error}", 0)
            else:
                if status < 300:
                    return _decoded(body, kind, url)
                problem = _refused(url, status, body)
                if status not in BUSY:
                    raise problem
                wait = _asked_wait(headers, wait)
            if attempt + 1 == self._attempts or self.stopped.wait(wait):
                raise problem
        raise AssertionError

    def _send(self, method: str, url: str, asked: Any) -> tuple[int, httpx2.Headers, bytes]:
        body, ends = b"", time.monotonic() + SECONDS
        with self._client.stream(method, url, json=asked) as response:
            for part in response.iter_bytes():
                body += part
                if len(body) > MOST or time.monotonic() > ends:
                    raise EndpointError(f"{url}: the answer is too long, or takes too long")
            return response.status_code, response.headers, body


class _RefusedError(EndpointError):
    """The server answers, and will not do what was asked; status 0 where it does not answer."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def _refused(url: str, status: int, body: bytes) -> _RefusedError:
    said = " ".join(body.decode(errors="replace").split())[:SHOWN]
    remedy = f". Set {KEYS[0]}" if status in (401, 403) else ""
    return _RefusedError(f"{url}: {status} {said}{remedy}", status)


def _is_first(value: float | None, best: dict[str, float] | None) -> bool:
    return value is not None and bool(best) and value >= max((best or {}).values())


def _asked_wait(headers: httpx2.Headers, wait: float) -> float:
    try:
        return min(LONGEST_WAIT, max(0.0, float(headers["retry-after"])))
    except (KeyError, ValueError):
        return wait


def _decoded(body: bytes, kind: type[Found], url: str) -> Found:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _RefusedError(f"{url}: the answer cannot be read: {error}", 200) from None


def _answer(reply: _Reply, *, chat: bool) -> Answer:
    if not reply.choices:
        raise _RefusedError("the answer holds no choice", 200)
    first = reply.choices[0]
    text = (first.message.content if first.message else None) if chat else first.text
    if text is None:
        raise _RefusedError("the answer holds no text", 200)
    tokens = reply.usage.completion_tokens if reply.usage else None
    return Answer(text, tokens, first.finish_reason != "length")


def ask_all(
    ask: Callable[[Asked], Found], asked: Sequence[Asked], workers: int
) -> Iterator[tuple[int, Found | EndpointError]]:
    """Ask many questions at once; yields the place of each with its answer, or why there is none,
    as they come. Where each answer belongs does not depend on their order.
    """
    with ThreadPoolExecutor(workers) as pool:
        places = {pool.submit(ask, one): i for i, one in enumerate(asked)}
        try:
            for done in as_completed(places):
                error = done.exception()
                if error is not None and not isinstance(error, EndpointError):
                    raise error
                yield places[done], error if isinstance(error, EndpointError) else done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
