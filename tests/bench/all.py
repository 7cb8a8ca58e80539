"""Runs the benchmarks, one process each, and puts what they print into RESULTS.md.

    python tests/bench/all.py [NAME …]

A benchmark prints one section; it takes the place of the section with the same title. One that
fails, or whose peer is not installed, leaves its section as it was and is named at the end.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
BENCHMARKS = (
    "classifier",
    "causal",
    "scoring",
    "answers",
    "resampling",
    "streaming",
    "reading",
    "start",
    "growth",
    "means",
    "verdicts",
    "no_gain",
)


def main(names: list[str]) -> int:
    failed = []
    for name in names or BENCHMARKS:
        print(f"{name} …", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py")]
        ran = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if ran.returncode or not ran.stdout.startswith(b"## "):
            failed.append(name)
            continue
        section = ran.stdout.decode()
        print(section, flush=True)
        RESULTS.write_text(replaced(RESULTS.read_text(), section))
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def replaced(page: str, section: str) -> str:
    """The page with a section in the place of the one of its title, or at the end."""
    title = section.partition("\n")[0]
    head, *sections = page.split("\n## ")
    lines = ["## " + s.strip() for s in sections]
    places = [i for i, s in enumerate(lines) if s.partition("\n")[0] == title]
    if places:
        lines[places[0]] = section.strip()
    else:
        lines.append(section.strip())
    return "\n\n".join([head.strip(), *lines]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
