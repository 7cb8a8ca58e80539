"""Servers that play vLLM, SGLang, llama.cpp and Ollama: answers in their shapes, from a toy model
of words whose every likelihood can be computed by hand.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = re.compile(r"\s*\S+|\s+$")
MODELS = ("base", "tuned")


def pieces(text: str) -> list[str]:
    """The tokens of the toy: words with the white space before them."""
    return WORDS.findall(text)


def log_likelihood(model: str, before: str, piece: str) -> float:
    """Of a word after another one, at most -0.1 nats; the tuned model is surer by half."""
    cost = 0.1 + zlib.crc32(f"{before}|{piece}".encode()) % 400 / 100
    return -cost if model == "base" else -cost / 2


def is_first(before: str, piece: str) -> bool:
    """Whether it is the model's first choice."""
    return zlib.crc32(f"{before}{piece}".encode()) % 3 == 0


def reply_to(model: str, prompt: str) -> str:
    """What it writes: nothing that depends on when it is asked."""
    word = pieces(prompt)[-1].strip()
    return f" {word} it is" if model == "tuned" else f" not {word}"


@dataclass
class Played:
    """One server at work. `fails`: how often each prompt is refused before it is answered."""

    kind: str
    fails: int = 0
    status: int = 503
    key: str = ""
    broken: tuple[str, ...] = ()  # prompts that are never answered
    slow: tuple[str, ...] = ()  # prompts that are answered last
    asked: Counter[str] = field(default_factory=Counter)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def played(kind: str, **settings: Any) -> Iterator[Played]:
    """A server of that kind on a port of its own."""
    play = Played(kind, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            listed = {"object": "list", "data": [{"id": m, "object": "model"} for m in MODELS]}
            self.answer(200 if self.path == "/v1/models" else 404, listed)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.answer(*respond(play, self.path, asked, self.headers.get("authorization", "")))

        def answer(self, status: int, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if status in (429, 503):
                self.send_header("retry-after", "0.01")
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    play.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield play
    finally:
        server.shutdown()
        server.server_close()


def respond(play: Played, path: str, asked: dict[str, Any], key: str) -> tuple[int, object]:
    if play.key and key != f"Bearer {play.key}":
        return 401, {"error": {"message": "Incorrect API key provided"}}
    prompt = asked.get("prompt") or asked.get("text") or ""
    if "messages" in asked:
        prompt = asked["messages"][-1]["content"]
    play.asked[prompt] += 1
    if prompt in play.broken:
        return 400, {"error": {"message": "this prompt is too long for the model"}}
    if play.asked[prompt] <= play.fails:
        return play.status, {"error": {"message": "busy"}}
    if prompt in play.slow:
        time.sleep(0.05)
    model = asked.get("model", "base")
    if path == "/generate" and play.kind == "sglang":
        return 200, generated(prompt)
    if path == "/v1/chat/completions":
        text = reply_to(model, prompt).strip()
        message = {"role": "assistant", "content": text}
        return 200, wrapped(asked, {"message": message, "finish_reason": "stop"}, text)
    if path == "/v1/completions" and play.kind != "chats":
        return completed(play, model, prompt, asked)
    return 404, {"detail": "Not Found"}


def completed(play: Played, model: str, prompt: str, asked: dict[str, Any]) -> tuple[int, object]:
    if asked.get("echo") and play.kind == "llama.cpp":
        return 500, {"error": {"code": 500, "message": "Only no echo is supported"}}
    text = reply_to(model, prompt)
    kept = "".join(pieces(text)[: asked.get("max_tokens", 16)])
    choice: dict[str, Any] = {
        "text": kept,
        "finish_reason": "stop" if kept == text else "length",
        "logprobs": None,
    }
    if play.kind == "vllm" and asked.get("echo"):
        choice["text"] = prompt + kept
        choice["logprobs"] = echoed(model, prompt + kept)
    if play.kind == "vllm without echo" and asked.get("prompt_logprobs"):
        choice["prompt_logprobs"] = prompt_logprobs(model, prompt)
    return 200, wrapped(asked, choice, kept)


def wrapped(asked: dict[str, Any], choice: dict[str, Any], text: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 1, "completion_tokens": len(pieces(text)), "total_tokens": 9}
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "model": asked.get("model"),
        "choices": [{"index": 0, **choice}],
        "usage": usage,
    }


def scored(model: str, text: str) -> Iterator[tuple[str, str, float | None]]:
    before = ""
    for i, piece in enumerate(pieces(text)):
        yield before, piece, log_likelihood(model, before, piece) if i else None
        before = piece


def echoed(model: str, text: str) -> dict[str, Any]:
    tokens, values, tops, offsets, place = [], [], [], [], 0
    for before, piece, value in scored(model, text):
        first = is_first(before, piece)
        top = None if value is None else {piece: value} if first else {"other": -0.01, piece: value}
        tokens.append(piece)
        values.append(value)
        tops.append(top)
        offsets.append(place)
        place += len(piece)
    return {
        "tokens": tokens,
        "token_logprobs": values,
        "top_logprobs": tops,
        "text_offset": offsets,
    }


def prompt_logprobs(model: str, text: str) -> list[dict[str, Any] | None]:
    found: list[dict[str, Any] | None] = []
    for number, (before, piece, value) in enumerate(scored(model, text)):
        if value is None:
            found.append(None)
            continue
        first = is_first(before, piece)
        own = {"logprob": value, "rank": 1 if first else 7, "decoded_token": piece}
        other = {"logprob": -0.01, "rank": 1, "decoded_token": " other"}
        found.append({str(number): own} if first else {str(number): own, "999": other})
    return found


def generated(text: str) -> dict[str, Any]:
    tokens, tops = [], []
    for number, (before, piece, value) in enumerate(scored("base", text)):
        tokens.append([value, number, piece])
        best = number if is_first(before, piece) else 999
        tops.append(None if value is None else [[-0.01, best, "best"]])
    meta = {
        "prompt_tokens": len(tokens),
        "input_token_logprobs": tokens,
        "input_top_logprobs": tops,
    }
    return {"text": " more", "meta_info": meta}
