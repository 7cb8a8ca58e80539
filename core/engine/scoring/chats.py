"""Chats through a model's own template: what the assistant must write of them, and where it ends.

Of each assistant turn that counts, what follows its header is scored up to the end token: not the
header, which stands in the prompt, and not the white space that a template puts after the end.

Chat templates come with a model and are programs. jinja2's sandbox keeps a template from attributes
and modules, and lets it loop and grow. So the first chat is rendered in a child process, whose time
and memory the system bounds; the later ones, which the same program renders, in this process, which
checks its time and memory now and then.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NoReturn

from jinja2.exceptions import SecurityError

from ...errors import Fault, ModelError
from ...metrics.answer_text import answer_part

GENERATION_MARKER = re.compile(r"\{%-?\s*generation\b")
REASONING = "<think"  # how the tags begin with which templates open reasoning
PROBES = ("the", "one")  # two answers without a first token in common
Message = dict[str, Any]
Span = tuple[int, int]  # token positions: first, one past the last
RENDER_SECONDS = 10.0  # of one chat; a real template takes milliseconds
RENDER_BYTES = 512 << 20  # more than this process has when it begins
LOOK_SECONDS = 0.001
LOOK_INSIDE_SECONDS = 0.02
REMEDY = "Look at its chat_template, or use a model with another one"
_FINE, _NO_MEMORY = 0, 3
_tried: set[tuple[str, str]] = set()  # template and name of the tokenizer


def render_chat(
    chat: list[Message], tokenizer: Any, stop: AbstractSet[int] | None = None
) -> tuple[list[int], list[bool]]:
    """Ids of a chat and which of them an assistant must write, end of turn included.

    By the template's generation markers where it has them, else by prefix difference, verified:
    raises ValueError where what an assistant wrote cannot be located. Turns of weight 0 are
    context. `stop`: the tokens that end a turn, by default the tokenizer's EOS.
    """
    ends = {tokenizer.eos_token_id} if stop is None else stop
    marked = GENERATION_MARKER.search(tokenizer.get_chat_template())
    ids, spans = _marked(chat, tokenizer) if marked else _by_prefix(chat, tokenizer, ends)
    scored = [False] * len(ids)
    for start, end in spans:
        end = _end_of_turn(ids, (start, end), tokenizer, ends)
        scored[start:end] = [True] * (end - start)
    return ids, [False, *scored[1:]]  # nothing stands before the first token (L2)


def counts(message: Message) -> bool:
    """Whether a message is scored: an assistant's, unless its weight is 0."""
    return message["role"] == "assistant" and message.get("weight") != 0


def render_messages(
    chat: list[Message], tokenizer: Any, *, add_generation_prompt: bool = False
) -> list[int]:
    """Token ids of a chat through the tokenizer's template."""
    coded = apply_template(
        tokenizer, chat, return_dict=True, add_generation_prompt=add_generation_prompt
    )
    return list(coded["input_ids"])


def render_prompt(chat: list[Message], tokenizer: Any) -> list[int]:
    """What a model reads before it answers: the turns so far and the header of an assistant's turn.

    A template that writes no header when asked for one, or has no turn to write it after, shows it
    before two answers that have nothing in common.
    """
    if chat and "add_generation_prompt" in tokenizer.get_chat_template():
        return render_messages(chat, tokenizer, add_generation_prompt=True)
    probes = ([*chat, {"role": "assistant", "content": text}] for text in PROBES)
    one, other = (render_messages(probe, tokenizer) for probe in probes)
    return one[: _in_common(one, other)]


def scored_text(
    chat: list[Message], tokenizer: Any, ids: Sequence[int], scored: Sequence[bool]
) -> str:
    """The text of the scored tokens of a rendered chat, which may be truncated; special ones at the
    ends of a turn left out.
    """
    text = apply_template(tokenizer, chat, tokenize=False)
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    special, places = set(tokenizer.all_special_ids), coded["offset_mapping"]
    said = []
    for start, end in runs(scored):
        written = [i for i in range(start, end) if ids[i] not in special]
        if written:
            said.append(text[places[written[0]][0] : places[written[-1]][1]])
    return "".join(said)


def runs(scored: Sequence[bool]) -> Iterator[Span]:
    """The spans of neighbouring scored tokens."""
    start = None
    for i, one in enumerate([*scored, False]):
        if one and start is None:
            start = i
        elif not one and start is not None:
            yield start, i
            start = None


def _marked(chat: list[Message], tokenizer: Any) -> tuple[list[int], list[Span]]:
    """Spans by the template's own generation markers."""
    coded = apply_template(tokenizer, chat, return_dict=True, return_assistant_tokens_mask=True)
    spans = list(runs([bool(m) for m in coded["assistant_masks"]]))
    turns = [message for message in chat if message["role"] == "assistant"]
    if all(map(counts, turns)):
        return list(coded["input_ids"]), spans
    if len(spans) != len(turns):
        raise ValueError(
            f"the template marks {len(spans)} answers of {len(turns)}, "
            "so the turns of weight 0 cannot be located"
        )
    kept = [span for span, turn in zip(spans, turns, strict=True) if counts(turn)]
    return list(coded["input_ids"]), kept


def _by_prefix(
    chat: list[Message], tokenizer: Any, ends: AbstractSet[int]
) -> tuple[list[int], list[Span]]:
    ids = render_messages(chat, tokenizer)
    wanted = [k for k, message in enumerate(chat) if counts(message)]
    return ids, [_turn(chat, k, ids, tokenizer, ends) for k in wanted]


def _turn(
    chat: list[Message], k: int, ids: list[int], tokenizer: Any, ends: AbstractSet[int]
) -> Span:
    """Where turn k stands in the rendered chat, its header left out."""
    start = _after_header(chat, k, ids, tokenizer)
    after = render_messages(chat[: k + 1], tokenizer)
    if ids[: len(after)] == after and len(after) > start:
        return start, len(after)
    # a template that drops earlier reasoning renders this turn otherwise once others follow
    end = next((i + 1 for i in range(start, len(ids)) if ids[i] in ends), start)
    said = tokenizer.decode(ids[start:end], clean_up_tokenization_spaces=False)
    if _letters(answer_part(chat[k]["content"])) not in _letters(said):
        raise _changed()
    return start, end


def _after_header(chat: list[Message], k: int, ids: list[int], tokenizer: Any) -> int:
    before = render_prompt(chat[:k], tokenizer)
    common = _in_common(before, ids)
    if common == len(before):
        return common
    earlier = any(message["role"] == "assistant" for message in chat[k + 1 :])
    bare = render_messages(chat[:k], tokenizer) if k else []
    opened = tokenizer.decode(before[common:]).strip().startswith(REASONING)
    if opened and common > len(bare) and earlier:
        return common  # the prompt opens reasoning, which the template drops from earlier turns
    if opened and common > len(bare):
        raise ValueError(
            "the template's prompt opens reasoning, and this answer has none: "
            "give it reasoning_content, or the tokenizer a template that does not open it"
        )
    raise _changed()


def _changed() -> ValueError:
    return ValueError(
        "the template changes earlier turns when later ones are added, "
        "so what the assistant said cannot be located"
    )


def _end_of_turn(ids: list[int], span: Span, tokenizer: Any, ends: AbstractSet[int]) -> int:
    """One past the end token, where nothing but white space follows it; else the span's end."""
    start, end = span
    last = end - 1
    while last > start and ids[last] not in ends and not tokenizer.decode([ids[last]]).strip():
        last -= 1
    return last + 1 if last >= start and ids[last] in ends else end


def _in_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens with which both begin."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def _letters(text: str) -> str:
    return "".join(text.split())


# Templates are programs


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
