"""Records the real program on a sample run as an animated SVG: `make recording`.

The events of the run are told again, piece by piece, to the program in a pseudo-terminal; keys are
pressed as a person would. Each line of the picture is stored once for as long as it stands.
"""

# ruff: noqa: E402 - the tests lend their terminal

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "tui")]

import pyte
from ftev.core.run.runs import Run
from made_runs import live_worker
from pseudo_terminal import Terminal

COLUMNS, ROWS = 150, 38
CELL_WIDTH, LINE_HEIGHT = 8.4, 18
PAPER, INK = "#0f1318", "#d3dae3"
PIECES = 11  # in which training is told
LARGEST = 500_000  # bytes
OPEN = "import sys; from ftev.tui.cli import main; sys.exit(main(sys.argv[1:]))"

Cell = tuple[str, str, str, bool]  # character, colour, ground, bold
Row = tuple[Cell, ...]


@dataclass
class Recording:
    frames: list[tuple[float, list[Row]]] = field(default_factory=list)  # seconds it stands, rows

    def take(self, terminal: Terminal, seconds: float) -> None:
        terminal.read(0.6)
        self.frames.append((seconds, [_row(terminal.screen, y) for y in range(ROWS)]))


def _row(screen: pyte.Screen, y: int) -> Row:
    return tuple(_cell(screen.buffer[y][x]) for x in range(COLUMNS))


def _cell(char: pyte.screens.Char) -> Cell:
    colour, ground = (_hex(char.fg, INK), _hex(char.bg, PAPER))
    if char.reverse:
        colour, ground = ground, colour
    return char.data or " ", colour, ground, char.bold


def _hex(colour: str, default: str) -> str:
    return f"#{colour}" if len(colour) == 6 and colour != "default" else default


def record() -> Recording:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "runs" / "demo-reviews")
        shutil.copytree(ROOT / "sample_runs" / "classification", run.path)
        lines = run.events_path.read_bytes().splitlines(keepends=True)
        steps = [i for i, line in enumerate(lines) if b'"kind":"StepDone"' in line]
        run.events_path.write_bytes(b"".join(lines[: steps[2]]))
        worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
        live_worker(run, worker.pid)
        os.environ["XDG_STATE_HOME"] = folder
        command = [sys.executable, "-c", OPEN, "--runs-dir", str(run.path.parent), "open"]
        terminal = Terminal([*command, run.id], COLUMNS, ROWS)
        try:
            return _tell(terminal, run, lines, steps)
        finally:
            terminal.close()
            worker.kill()
            worker.wait()


def _tell(terminal: Terminal, run: Run, lines: list[bytes], steps: list[int]) -> Recording:
    recording = Recording()
    terminal.wait_for("fine-tuning")
    recording.take(terminal, 1.2)
    ends = [steps[len(steps) * n // PIECES] for n in range(1, PIECES)] + [len(lines)]
    result = steps[2]
    for end in ends:
        with run.events_path.open("ab") as file:
            file.write(b"".join(lines[result:end]))
        result = end
        recording.take(terminal, 0.45)
    terminal.wait_for("finished")
    recording.take(terminal, 2.5)
    for keys, seconds in (
        ("3", 0.6),
        ("\x1b[B", 0.4),
        ("\x1b[B", 0.4),
        ("\r", 3.5),  # the receipt of a metric
        ("q", 0.6),
        ("4", 0.6),
        ("\r", 0.8),  # the chart over the whole screen
        *((("\x1b[1;2D"), 0.35) for _ in range(4)),
        ("s", 1.6),
        ("\x1b", 0.3),
        ("\x1b", 0.6),
        ("v", 2.6),  # the evaluation
        ("2", 2.2),
        ("4", 1.6),
        *((("\x1b[D"), 0.4) for _ in range(4)),  # the threshold moves
        ("6", 2.2),
        ("\x1b", 0.4),
        ("r", 2.0),
        ("\r", 3.0),  # a row, whole
    ):
        terminal.press(keys)
        recording.take(terminal, seconds)
    return recording


def to_svg(recording: Recording) -> str:
    whole = sum(seconds for seconds, _ in recording.frames)
    starts = [0.0]
    for seconds, _ in recording.frames:
        starts.append(starts[-1] + seconds)
    width, height = COLUMNS * CELL_WIDTH + 24, ROWS * LINE_HEIGHT + 24
    colours: dict[str, str] = {}
    shown: list[str] = []
    spans: dict[tuple[int, int], str] = {}
    for y in range(ROWS):
        first = 0
        for n in range(1, len(recording.frames) + 1):
            row = recording.frames[first][1][y]
            if n < len(recording.frames) and recording.frames[n][1][y] == row:
                continue
            name = spans.setdefault((first, n), f"f{len(spans)}")
            shown.append(f'<g class="{name}">{_row_svg(row, y, colours)}</g>')
            first = n
    style = [f".{name}{{fill:{colour}}}" for colour, name in colours.items()]
    for (first, end), name in spans.items():
        if (first, end) != (0, len(recording.frames)):
            style.append(_shown_between(name, starts[first] / whole, starts[end] / whole, whole))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" role="img" aria-label="A run is followed live, '
        'then a metric is opened and the loss is read at its cursor">'
        f"<style>text{{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        f"white-space:pre}}.b{{font-weight:700}}{''.join(style)}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>{"".join(shown)}</svg>\n'
    )


def _shown_between(name: str, start: float, end: float, whole: float) -> str:
    """Steps, not fades: hidden, shown, hidden."""
    marks = [(0.0, start <= 0)]
    if start > 0:
        marks.append((start, True))
    if end < 1:
        marks.append((end, False))
    text = "".join(
        f"{at * 100:.2f}%{{visibility:{'visible' if on else 'hidden'}}}" for at, on in marks
    )
    last = "visible" if marks[-1][1] else "hidden"
    return (
        f".{name}{{animation:{name} {whole:.2f}s step-end infinite}}"
        f"@keyframes {name}{{{text}100%{{visibility:{last}}}}}"
    )


def _row_svg(row: Row, y: int, colours: dict[str, str]) -> str:
    grounds, texts = [], []
    for start, end in _alike(row, lambda cell: cell[2]):
        if row[start][2] != PAPER:
            grounds.append(
                f'<rect x="{_x(start)}" y="{12 + y * LINE_HEIGHT}" '
                f'width="{(end - start) * CELL_WIDTH:.1f}" height="{LINE_HEIGHT}" '
                f'class="{_name(row[start][2], colours)}"/>'
            )
    inked = _inked(row)
    for start, end in _alike(inked, lambda cell: (cell[1], cell[3])):
        text = "".join(cell[0] for cell in row[start:end])
        end -= len(text) - len(text.rstrip())
        start += len(text) - len(text.lstrip())
        if text := text.strip():
            bold = " b" if row[start][3] else ""
            texts.append(
                f'<tspan x="{_x(start)}" textLength="{(end - start) * CELL_WIDTH:.1f}" '
                f'class="{_name(row[start][1], colours)}{bold}">{escape(text)}</tspan>'
            )
    line = f'<text y="{12 + y * LINE_HEIGHT + 13}">{"".join(texts)}</text>' if texts else ""
    return "".join(grounds) + line


def _inked(row: Row) -> Row:
    """Spaces in the colour of what stands before them: words of a colour stay together."""
    cells: list[Cell] = []
    for cell in row:
        before = cells[-1] if cells else cell
        cells.append((" ", before[1], cell[2], before[3]) if cell[0] == " " else cell)
    return tuple(cells)


def _x(column: int) -> str:
    return f"{12 + column * CELL_WIDTH:.1f}"


def _name(colour: str, colours: dict[str, str]) -> str:
    return colours.setdefault(colour, f"c{len(colours)}")


def _alike(row: Row, of: Callable[[Cell], object]) -> list[tuple[int, int]]:
    """The ranges of cells that have the same `of`."""
    ranges: list[tuple[int, int]] = []
    for x in range(len(row)):
        if ranges and of(row[x]) == of(row[ranges[-1][0]]):
            ranges[-1] = ranges[-1][0], x + 1
        else:
            ranges.append((x, x + 1))
    return ranges


def main() -> None:
    svg = to_svg(record())
    assert len(svg.encode()) < LARGEST, f"{len(svg.encode()):,} bytes are too many for a page"
    target = ROOT / "sample_runs" / "recording.svg"
    target.write_text(svg, encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {len(svg.encode()):,} bytes")


if __name__ == "__main__":
    main()
