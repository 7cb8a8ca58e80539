"""Runs the benchmarks, one process each, and puts what they print into RESULTS.md.

    python tests/bench/all.py [NAME …]
    python tests/bench/all.py --readme

A benchmark prints one section; it takes the place of the section with the same title. One that
fails, or whose peer is not installed, leaves its section as it was and is named at the end. The
table of ratios in README.md is made from the sections, also where nothing is measured (--readme).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
README = HERE.parents[1] / "README.md"
BENCHMARKS = (
    "whole_job",
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
# What README.md shows: the work and its peer, a section, and where its ratios by CPU time stand.
RATIO = r"(\d+(?:\.\d+)?)"
STEPS = rf"^\| {{}}.*? \| Trainer, best flags \| [\d,]+ \| {RATIO} \|"
CLASSIFIER, LANGUAGE = "Fine-tuning a classifier", "Fine-tuning a language model"
LIKELIHOODS = "Log-likelihood against lm-eval"
ANSWERS = "Two answers at once, and many"
SCORED = rf"^\| {{}}, \w+ .*\| {RATIO} × \|"
FIGURES = (
    (
        "a classifier's steps, lengths very unlike: Trainer with its best flags",
        CLASSIFIER,
        STEPS.format("made"),
    ),
    ("the same, short questions alike", CLASSIFIER, STEPS.format("banking77")),
    ("the same, pieces of a novel alike", CLASSIFIER, STEPS.format("a novel")),
    (
        "a classifier to the end, no metric behind: Trainer with its best flags",
        CLASSIFIER,
        rf"^\| ftev, less Trainer, best .*\| {RATIO} × \|$",
    ),
    (
        "a language model's steps, losses equal: TRL's `SFTTrainer` with packing",
        LANGUAGE,
        rf"^\| .*, ftev, the same steps \| [\d,]+ \| {RATIO} \|",
    ),
    (
        "log-likelihoods of documents: lm-eval at its best batch size",
        LIKELIHOODS,
        SCORED.format("documents"),
    ),
    ("the same, completions", LIKELIHOODS, SCORED.format("completions")),
    ("the same, contexts that choices share", LIKELIHOODS, SCORED.format("shared contexts")),
    (
        "answers to 200 prompts: `generate` in file order",
        ANSWERS,
        rf"^\| ftev, (?:about|its default).*\| {RATIO} × \|$",
    ),
    (
        "base and adapter streamed together: `generate` twice",
        ANSWERS,
        rf"^Streamed together: {RATIO} ×",
    ),
    (
        "1,000,000 events opened: TensorBoard's reader",
        "Opening a million events, and following",
        rf"^\| TensorBoard: EventAccumulator.*\| {RATIO} × \|$",
    ),
)
BEGIN, END = "| the same work | ftev is |\n|---|--:|\n", "\n\n"


def main(names: list[str]) -> int:
    failed = []
    for name in () if names == ["--readme"] else names or BENCHMARKS:
        print(f"{name} …", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py")]
        ran = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if ran.returncode or not ran.stdout.startswith(b"## "):
            failed.append(name)
            continue
        section = ran.stdout.decode()
        print(section, flush=True)
        RESULTS.write_text(replaced(RESULTS.read_text(), section))
    README.write_text(with_figures(README.read_text(), RESULTS.read_text()))
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


def with_figures(readme: str, results: str) -> str:
    """The README with the ratios of the results: least to most where there are several."""
    sections = dict(part.split("\n", 1) for part in results.split("\n## ")[1:])
    lines = []
    for work, title, pattern in FIGURES:
        found = sorted(map(float, re.findall(pattern, sections[title], re.MULTILINE)))
        if not found:
            continue
        shown = " to ".join(dict.fromkeys(f"{x:.3g}" for x in (found[0], found[-1])))
        lines.append(f"| {work} | {shown} × |")
    head, begin, rest = readme.partition(BEGIN)
    return head + begin + "\n".join(lines) + END + rest.partition(END)[2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
