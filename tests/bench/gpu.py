"""What only a GPU can show, part by part, into RESULTS-gpu.md.

    python tests/bench/gpu.py [--part NAME …] [--rehearse] [--results FILE]

Each part is a process of its own with a time limit. A figure is written down as soon as it is
there, so a part that is lost loses nothing that it had found; the others run all the same. Models
are made from configs by seed. What a part lacks, a package or a device, it says in one sentence.
`--rehearse` runs the same lines in tiny sizes on the CPU, where it can on the device of
`tests/engine/pretended_gpu.py`, and writes nothing unless --results names a file: its figures mean
nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from all import replaced
from measure import section, table

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS-gpu.md"
PACKAGES = ("torch", "transformers", "accelerate", "peft")
REHEARSED = 4  # times as long: a rehearsal shares its processor with others
TITLE = "# What a GPU showed\n\nBy `make gpu`; each part may be run alone.\n"


@dataclass(frozen=True)
class Part:
    """Under 9 minutes each and 25 in all, so that a machine lent for a while is enough."""

    seconds: int
    about: str
    needs: tuple[str, ...] = ()  # modules
    pretended: bool = False  # rehearsed on the pretended device

    def limit(self, rehearse: bool) -> float:
        """Seconds that it may take."""
        return self.seconds * (REHEARSED if rehearse else 1)


PARTS = {
    "tests": Part(240, "the tests marked `gpu`"),
    "classifier": Part(180, "an encoder fine-tuned, against Trainer's best flags"),
    "causal-0.1b": Part(150, "0.1 B parameters, against SFTTrainer, packing", ("trl", "datasets")),
    "causal-1b": Part(330, "1 B parameters, against SFTTrainer, packing", ("trl", "datasets")),
    "scoring": Part(240, "log-likelihoods, against lm-eval", ("lm_eval",)),
    "answers": Part(100, "base and tuned asked together, against `generate` twice", (), True),
    "qlora": Part(90, "LoRA on a base in 4 bits", ("bitsandbytes",)),
    "nccl": Part(60, "NCCL, and weights sharded, on one device"),
    "memory": Part(60, "memory of training, against the estimate", (), True),
}
assert sum(part.seconds for part in PARTS.values()) <= 25 * 60


@dataclass(frozen=True)
class Figure:
    """One row of a part's table; `met` is None where nothing was wanted."""

    what: str
    found: str
    wanted: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        met = {None: "", True: "met", False: "NOT MET"}[self.met]
        return self.what, self.found, self.wanted, met


def lacking(part: Part, rehearse: bool) -> str:
    """Why a part cannot run here, in one sentence; empty where it can."""
    for name in part.needs:
        if importlib.util.find_spec(name) is None:
            package = name.replace("_", "-")
            return f"Not measured: {package} is not installed (pip install {package})."
    if not rehearse:
        import torch

        if not torch.cuda.is_available():
            return "Not measured: torch sees no CUDA device here (--rehearse runs it on the CPU)."
    return ""


def figures(name: str, rehearse: bool) -> Iterator[Figure | str]:
    """What a part prints, as it is there; a sentence where it ends otherwise than it should."""
    part = PARTS[name]
    command = [sys.executable, "-W", "ignore", __file__, "--part", name, "--inside"]
    command += ["--rehearse"] if rehearse else []
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if rehearse else {}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **hidden}
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True,
        start_new_session=True,
    ) as child:  # fmt: skip
        late = threading.Event()

        def end() -> None:
            late.set()
            os.killpg(child.pid, signal.SIGKILL)  # and the sides that it started

        limit = part.limit(rehearse)
        timer = threading.Timer(limit, end)
        timer.start()
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith('{"what"'):
                yield Figure(**json.loads(line))
        child.wait()
        timer.cancel()
        if late.is_set():
            yield f"Its {limit:g} s were up: what is missing above was not measured."
        elif child.returncode:
            log.seek(0)
            last = log.read().strip().splitlines()[-1:] or ["no word"]
            yield f"It ended with {child.returncode} before it was through: {last[0][:300]}"


def measure(name: str, rehearse: bool, results: Path | None) -> bool:
    """Run a part and write its section after each figure; whether all that was wanted is met."""
    part, found, words = PARTS[name], list[Figure](), list[str]()
    started, lacks = time.monotonic(), lacking(part, rehearse)

    def write() -> None:
        command = f"python tests/bench/gpu.py --part {name}" + (" --rehearse" * rehearse)
        rows = [figure.cells() for figure in found]
        parts = [table(("", "found", "wanted", ""), rows)] if rows else []
        took = f"{time.monotonic() - started:.0f} s of at most {part.limit(rehearse):g}."
        page = section(f"{name}: {part.about}", command, PACKAGES, driver(), *parts, *words, took)
        if results is not None:
            before = results.read_text() if results.is_file() else TITLE
            results.write_text(replaced(before, page))

    if lacks:
        words.append(lacks)
    for one in [] if lacks else figures(name, rehearse):
        if isinstance(one, Figure):
            found.append(one)
        else:
            words.append(one)
        print("  ", *(one.cells() if isinstance(one, Figure) else [one]), sep="  ", flush=True)
        write()
    if lacks:
        print("  ", lacks, flush=True)
    write()
    return bool(found) and not words and all(figure.met is not False for figure in found)


def driver() -> str:
    """The device, its memory and its driver, in a sentence."""
    import torch

    if not torch.cuda.is_available():
        return "No GPU: a rehearsal, whose figures mean nothing."
    import pynvml

    pynvml.nvmlInit()
    properties = torch.cuda.get_device_properties(0)
    return (
        f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, compute capability "
        f"{properties.major}.{properties.minor}, driver {pynvml.nvmlSystemGetDriverVersion()}, "
        f"CUDA {torch.version.cuda}."
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        from gpu_parts import inside

        for figure in inside(args.part[0], args.rehearse, PARTS[args.part[0]].pretended):
            print(json.dumps(figure), flush=True)
        return 0
    results = args.results or (None if args.rehearse else RESULTS)
    missed = []
    for name in args.part:
        print(f"{name}: {PARTS[name].about}", flush=True)
        if not measure(name, args.rehearse, results):
            missed.append(name)
    if missed:
        print(f"not measured, or short of what is wanted: {', '.join(missed)}", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
