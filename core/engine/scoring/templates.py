"""Chat templates: programs that come with a model, and what they make of a chat.

jinja2's sandbox keeps a template from attributes and modules, and lets it loop and grow. So the
first chat is rendered in a child process, whose time and memory the system bounds; the later ones,
which the same program renders, in this process, which checks its time and memory now and then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from jinja2.exceptions import SecurityError, TemplateError

from ...errors import Fault, ModelError

Message = dict[str, Any]
RENDER_SECONDS = 10.0  # of one chat; a real template takes milliseconds
RENDER_BYTES = 512 << 20  # more than this process has when it begins
LOOK_SECONDS = 0.001
LOOK_INSIDE_SECONDS = 0.02
REMEDY = "Look at its chat_template, or use a model with another one"
ANOTHER = 'use a template that renders it: chat_template = "FILE" under [model]'
UNFIT = (TypeError, KeyError, AttributeError, IndexError)  # a template's own slips
_FINE, _NO_MEMORY = 0, 3
_tried: set[tuple[str, str]] = set()  # template and name of the tokenizer


def as_template_reads(chat: list[Message], *, texts: bool = False) -> list[Message]:
    """Messages without what they do not have, tool calls as objects.

    The arguments of a call are an object, as most templates want them; with `texts` they are JSON.
    """
    return [_as_read(message, texts) for message in chat]


def _as_read(message: Message, texts: bool) -> Message:
    kept = {k: v for k, v in message.items() if v is not None and k != "weight"}
    if isinstance(calls := kept.get("tool_calls"), str):
        calls = json.loads(calls)
        kept["tool_calls"] = [_call(call, texts) for call in calls]
    return kept


def _call(call: Any, texts: bool) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "arguments" not in function:
        return call
    given = function["arguments"]
    if texts and not isinstance(given, str):
        given = json.dumps(given, ensure_ascii=False)
    elif not texts and isinstance(given, str):
        with contextlib.suppress(ValueError):
            given = json.loads(given)
    return call | {"function": function | {"arguments": given}}


def apply_template(
    tokenizer: Any, chat: list[Message], tools: str | None = None, **options: Any
) -> Any:
    """`tokenizer.apply_chat_template`; `tools`: what the chat may call, as JSON.

    Raises ModelError for a template that takes too much, ValueError for one that this chat does not
    fit, and what the template itself raises (jinja2.TemplateError).
    """
    name = str(tokenizer.name_or_path) or "the tokenizer"
    options["tools"] = json.loads(tools) if tools else None

    def render(messages: list[Message]) -> Any:
        with _bounded(name):
            return tokenizer.apply_chat_template(messages, **options)

    known = (str(tokenizer.get_chat_template()), name)
    if known not in _tried:
        _try_in_child(tokenizer, as_template_reads(chat), name)
        _tried.add(known)
    try:
        try:
            return render(as_template_reads(chat))
        except UNFIT as error:
            if not any(message.get("tool_calls") for message in chat):
                raise
            with contextlib.suppress(*UNFIT):
                return render(as_template_reads(chat, texts=True))
            raise error
    except UNFIT as error:
        raise ValueError(f"the chat template cannot render it: {error}") from None
    except SecurityError as error:
        raise _refused(name, f"reaches for what no template may: {error}") from None
    except RecursionError:
        raise _refused(name, "calls itself without an end") from None
    except MemoryError:
        raise _too_large(name) from None


# Why a template refuses a chat


def find_cure(chat: list[Message], tokenizer: Any, tools: str | None) -> str:
    """What to do about a chat that a template refuses: the first change with which it renders."""
    for change, words in _CHANGES:
        changed = change(chat)
        if changed == chat:
            continue
        with contextlib.suppress(ValueError, TemplateError):
            apply_template(tokenizer, changed, tools, tokenize=False)
            return f"{words}, or {ANOTHER}"
    return ANOTHER[0].upper() + ANOTHER[1:]


def _without(*roles: str) -> Callable[[list[Message]], list[Message]]:
    return lambda chat: [message for message in chat if message["role"] not in roles]


def _from_user(chat: list[Message]) -> list[Message]:
    roles = [message["role"] for message in chat]
    first = roles.index("user") if "user" in roles else 0
    return [m for i, m in enumerate(chat) if i >= first or m["role"] in ("system", "developer")]


def _merged(chat: list[Message]) -> list[Message]:
    out: list[Message] = []
    for message in chat:
        if out and out[-1]["role"] == message["role"]:
            out[-1] = out[-1] | {"content": f"{out[-1]['content']}\n\n{message['content']}"}
        else:
            out.append(message)
    return out


def _with_system_role(chat: list[Message]) -> list[Message]:
    developer = {"role": "system"}
    return [m | developer if m["role"] == "developer" else m for m in chat]


_CHANGES: tuple[tuple[Callable[[list[Message]], list[Message]], str], ...] = (
    (_with_system_role, 'The template has no role "developer": call it "system"'),
    (
        _without("system", "developer"),
        "The template has no system message: write its text into the first message of the user",
    ),
    (_from_user, "The template wants the user first: take out the answers before that"),
    (_merged, "The template wants user and assistant in turn: join messages of one role"),
    (_without("tool"), "The template has no tools: take the messages of tools out"),
)


# Templates are bounded


def _try_in_child(tokenizer: Any, chat: list[dict[str, Any]], name: str) -> None:
    """Raises ModelError where the bound of memory or time is passed; other faults show later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child renders, and starts nothing
        child = os.fork()
    if not child:
        _render_and_exit(tokenizer, chat)
    until = time.monotonic() + RENDER_SECONDS
    try:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise _too_long(name)
            time.sleep(LOOK_SECONDS)
    except ChildProcessError:  # somebody else reaps the children of this process
        return
    if os.waitstatus_to_exitcode(status) in (_NO_MEMORY, -signal.SIGKILL, -signal.SIGSEGV):
        raise _too_large(name)


def _render_and_exit(tokenizer: Any, chat: list[dict[str, Any]]) -> NoReturn:
    code = _FINE
    try:
        _bound_memory()
        tokenizer.apply_chat_template(chat, tokenize=False)
    except MemoryError:
        code = _NO_MEMORY
    except BaseException:  # rendered again outside, it shows there
        code = _FINE
    finally:
        os._exit(code)


def _bound_memory() -> None:
    import resource

    with contextlib.suppress(OSError, ValueError):
        if mapped := _memory(0):
            most = mapped + RENDER_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _memory(column: int) -> int:
    """Bytes of this process, mapped (0) or resident (1); 0 where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[column])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


@contextlib.contextmanager
def _bounded(name: str) -> Iterator[None]:
    """Interrupts what runs in it; in the main thread alone, which is where models work."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    until, most = time.monotonic() + RENDER_SECONDS, _memory(1) + RENDER_BYTES

    def look(*_: object) -> None:
        if time.monotonic() > until:
            raise _too_long(name)
        if _memory(1) > most:
            raise _too_large(name)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_INSIDE_SECONDS, LOOK_INSIDE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_long(name: str) -> ModelError:
    return _refused(name, f"was stopped: one chat took longer than {RENDER_SECONDS:g} s")


def _too_large(name: str) -> ModelError:
    return _refused(name, f"was stopped: one chat took more than {RENDER_BYTES >> 20} MiB")


def _refused(name: str, what: str) -> ModelError:
    return ModelError(Fault(name, f"its chat template {what}", REMEDY))
