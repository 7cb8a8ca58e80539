"""Chat templates come with a model and are programs: what one may take in time, memory and access.

jinja2's sandbox keeps a template from attributes and modules, and lets it loop and grow. So the
first chat is rendered in a child process, which the system bounds; the later ones, which the same
program renders, in this process, which looks now and then at its time and memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from jinja2.exceptions import SecurityError

from ...errors import Fault, ModelError

RENDER_SECONDS = 10.0  # of one chat; a real template takes milliseconds
RENDER_BYTES = 512 << 20  # more than this process has when it begins
LOOK_SECONDS = 0.001
LOOK_INSIDE_SECONDS = 0.02
REMEDY = "Look at its chat_template, or use a model with another one"
_FINE, _NO_MEMORY = 0, 3
_tried: set[tuple[str, str]] = set()  # template and name of the tokenizer


def apply_template(tokenizer: Any, chat: list[dict[str, Any]], **options: Any) -> Any:
    """`tokenizer.apply_chat_template`. Raises ModelError for a template that takes too much."""
    name = str(tokenizer.name_or_path) or "the tokenizer"
    known = (str(tokenizer.get_chat_template()), name)
    if known not in _tried:
        _try_in_child(tokenizer, chat, name)
        _tried.add(known)
    try:
        with _bounded(name):
            return tokenizer.apply_chat_template(chat, **options)
    except SecurityError as error:
        raise _refused(name, f"reaches for what no template may: {error}") from None
    except RecursionError:
        raise _refused(name, "calls itself without an end") from None
    except MemoryError:
        raise _too_large(name) from None


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
    except BaseException:  # rendered again outside, it is told there
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
