"""The terminal around the screen: what it speaks, what may reach it, how it is left on failure.

`core.wording.text.visible` makes control characters visible where text comes in. `SanitizeFilter`
takes what is left of them, and links, out of every line that goes out, whichever widget drew it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from ...core.wording.text import CONTROL

HUNG_UP = 128 + signal.SIGHUP  # as a shell reports it
FEW_ABILITIES = ("linux", "ansi", "vt100", "vt220")
LINE_CHECK_SECONDS = 0.5
# Leave synchronised output, mouse, focus reports, bracketed paste and the keyboard protocol; then
# wrapping, plain style, the normal screen and a cursor.
_RESTORE = (
    b"\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l"
    b"\x1b[?2004l\x1b[<u\x1b[?7h\x1b[0m\x1b[?1049l\x1b[?25h"
)


def speaks_unicode(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the locale can carry more than ASCII. Where none is named, the stream is asked."""
    everything, characters, language = (
        environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")
    )
    if characters == "C.UTF-8":  # Python itself puts this there in a C locale
        characters = ""
    if (everything or characters or language) in ("C", "POSIX"):
        return False
    encoding = getattr(sys.__stdout__, "encoding", "") or ""
    return "utf" in encoding.lower()


def supervised(draw: Callable[[], int]) -> int:
    """Run `draw` in a child process, and put the terminal right if the child is killed.

    Returns what `draw` returns, or 128 + the signal that killed it.
    """
    try:
        saved = termios.tcgetattr(0)
    except termios.error:
        return draw()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os._exit(_drawn(draw))
    _pass_signals_on(child)
    status = os.waitstatus_to_exitcode(_wait(child))
    if status == 0:
        return status
    _restore(saved)  # after a hang-up too: it may have been a signal, and the line still there
    if status > 0:
        return status
    with contextlib.suppress(OSError):
        os.write(
            2, b"ftev-tui: the screen was killed by signal %d; runs go on without it\n" % -status
        )
    return 128 - status


def _drawn(draw: Callable[[], int]) -> int:
    try:
        code = draw()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70  # EX_SOFTWARE
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _wait(child: int) -> int:
    while True:
        with contextlib.suppress(InterruptedError):
            return os.waitpid(child, 0)[1]


def _pass_signals_on(child: int) -> None:
    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, pass_on)


def _restore(saved: list[object]) -> None:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError, termios.error):
        os.write(2, _RESTORE)
        termios.tcsetattr(0, termios.TCSANOW, saved)  # type: ignore[arg-type]


def leave_when_the_line_drops() -> None:
    """From now on a hang-up ends this process at once, asked or not.

    A hang-up comes with SIGCONT, which would start Textual's terminal mode a second time; and where
    a shell has SIGHUP ignored no signal comes at all, so the terminal is looked at as well.
    """
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, lambda number, frame: os._exit(HUNG_UP))
    threading.Thread(target=_watch_line, name="line", daemon=True).start()


def _watch_line() -> None:
    while True:
        time.sleep(LINE_CHECK_SECONDS)
        try:
            termios.tcgetattr(0)
        except termios.error:
            os._exit(HUNG_UP)


_BEYOND = re.compile(  # modes and questions of newer terminals: an old one may print them
    r"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$[a-z]|\x1b\[\?(?!(?:25|1049|7)[hl])[0-9;]*[hl]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
)


def within(term: str, text: str) -> str:
    """What is written to a terminal of few abilities, without what it does not know."""
    return _BEYOND.sub("", text) if term in FEW_ABILITIES else text


_IN_ASCII = str.maketrans(
    {
        **dict.fromkeys("─━╌╍┄┅┈┉╴╶╸╺═▁▂▔▀▄–—−", "-"),
        **dict.fromkeys("│┃┆┇┊┋╎╏║▏▎▍▌▐▕▊▋▉", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬", "+"),
        **dict.fromkeys("█▇▆▅▓▒░▃◆", "#"),
        **dict.fromkeys("●◉■▪•⬤", "*"),
        **dict.fromkeys("○◌□◯◇", "o"),
        **dict.fromkeys("▶▸►→›", ">"),
        **dict.fromkeys("◀◂←‹", "<"),
        **dict.fromkeys("▼▾↓", "v"),
        **dict.fromkeys("▲△▴↑", "^"),
        **dict.fromkeys("✓✔", "+"),
        **dict.fromkeys("✗✘✕×", "x"),
        **dict.fromkeys("…·", "."),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("“”", '"'),
        "÷": "/",
        "≡": "=",
        "★": "*",
        "≠": "!",
        "≥": ">",
        "↵": "/",
        "‖": "=",
        "Δ": "d",
        "²": "2",
        "\u00a0": " ",
        "\u202f": " ",
    }
)
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")


def to_ascii(text: str) -> str:
    """The text in ASCII, of the same width: every cell stays where it was."""
    return _NOT_ASCII.sub(_stand_in, text.translate(_IN_ASCII))


def _stand_in(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0x2800 <= code < 0x2900:
        dots = (code & 0xFF).bit_count()
        return " .:#"[(dots > 0) + (dots > 2) + (dots > 5)]
    return "?" * cell_len(match.group())


class AsciiFilter(LineFilter):
    """The whole screen in ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            s if s.text.isascii() else Segment(to_ascii(s.text), s.style, s.control)
            for s in segments
        ]


class SanitizeFilter(LineFilter):
    """No control character and no link passes."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if not any(_is_unsafe(segment) for segment in segments):
            return segments
        return [_make_safe(segment) for segment in segments if not segment.control]


def _is_unsafe(segment: Segment) -> bool:
    text, style, control = segment
    linked = style is not None and style.link is not None
    return bool(control) or linked or CONTROL.search(text) is not None


def _make_safe(segment: Segment) -> Segment:
    style = segment.style
    if style is not None and style.link is not None:
        style = style.update_link(None)
    return Segment(CONTROL.sub("", segment.text), style)
