"""A real program in a real pseudo-terminal: its bytes with times, its screen through pyte."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence

import pyte
from waiting import patience

# What pyte prints as text instead of obeying it: private modes of newer terminals.
_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$[a-z]")


class Terminal:
    def __init__(self, command: Sequence[str], columns: int, rows: int, **environment: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.output: list[tuple[float, bytes]] = []  # seconds since the start, what came
        self.status: int | None = None
        self._began = time.perf_counter()
        values = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "LC_ALL", "LC_CTYPE"):
            values.pop(name, None)
        values["LANG"] = "C.UTF-8"
        values.update(environment)
        self.pid, self.line = pty.fork()
        if self.pid == 0:
            _set_size(1, columns, rows)
            os.execvpe(command[0], list(command), values)
        _set_size(self.line, columns, rows)

    def read(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Take what comes for so long, or until something holds; whether it did."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if until is not None and until():
                return True
            ready, _, _ = select.select([self.line], [], [], 0.02)
            if not ready:
                continue
            try:
                block = os.read(self.line, 65_536)
            except OSError:  # the other end is closed
                break
            self.output.append((time.perf_counter() - self._began, block))
            self._answer(block)
            self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", block))
        return until is not None and until()

    def _answer(self, block: bytes) -> None:
        """As xterm does: it knows synchronised output."""
        if b"\x1b[?2026$p" in block:
            os.write(self.line, b"\x1b[?2026;2$y")

    def wait_for(self, text: str, seconds: float = patience(30.0)) -> float:
        """Seconds since the start at which a text was on the screen."""
        assert self.read(seconds, lambda: text in self.text()), self.text()
        return self.output[-1][0]

    def text(self) -> str:
        rows, columns = self.screen.lines, self.screen.columns
        cells = self.screen.buffer
        return "\n".join("".join(cells[y][x].data for x in range(columns)) for y in range(rows))

    @property
    def bytes_read(self) -> int:
        return sum(len(block) for _, block in self.output)

    def press(self, keys: str) -> None:
        os.write(self.line, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        _set_size(self.line, columns, rows)
        os.kill(self.pid, signal.SIGWINCH)
        for child in children_of(self.pid):
            os.kill(child, signal.SIGWINCH)

    def hang_up(self) -> None:
        os.close(self.line)

    def wait(self, seconds: float = patience(30.0)) -> int:
        """The exit status of the program."""
        end = time.perf_counter() + seconds
        while self.status is None and time.perf_counter() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                break
            with contextlib.suppress(OSError, ValueError):
                self.read(0.05)
        with contextlib.suppress(OSError, ValueError):  # what it wrote last
            self.read(0.05)
        assert self.status is not None, "the program goes on"
        return self.status

    def close(self) -> None:
        for pid in (*children_of(self.pid), self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.close(self.line)
        if self.status is None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


def _set_size(line: int, columns: int, rows: int) -> None:
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def children_of(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []
