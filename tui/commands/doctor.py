"""`ftev-tui doctor`: what works here, and the command that mends what does not."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import TypedDict

from ...core.errors import FtevError
from ...core.run.launch import ask_engine
from ..drawing.format import SMALLEST
from .show import is_terminal, print_json, print_table

NEEDED = {
    "the screen": ("textual", "rich"),
    "data and files": ("msgspec", "polars", "tomli-w", "datasketch", "jinja2"),
    "numbers": ("numpy", "scipy", "scikit-learn"),
    "models": ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft"),
    "GPU telemetry": ("nvidia-ml-py",),
}
OPTIONAL = {
    "BLEU and chrF": "sacrebleu",
    "ROUGE": "rouge-score",
    "screen in a browser": "textual-serve",
    "4-bit models": "bitsandbytes",
}
LEAST_PYTHON = (3, 11)  # tomllib and Self
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # what bfloat16 is fast with


class Cpu(TypedDict):
    """The processor, and how many of its cores this process may use."""

    name: str
    cores: int | None
    flags: list[str]  # of those that speed models up


class Gpu(TypedDict):
    """A device of NVIDIA's driver. `memory`: bytes; -1 where it cannot be read."""

    name: str
    memory: int
    driver: str


class Kernel(TypedDict):
    """A kernel or copy that a run here uses or not, and why."""

    name: str
    on: bool
    why: str


class Terminal(TypedDict):
    """What the terminal says of itself."""

    is_terminal: bool
    columns: int
    lines: int
    term: str
    colours: int
    utf8: bool
    over_ssh: bool
    inside: str


class Missing(TypedDict):
    """Something that stands in the way, and what mends it."""

    what: str
    remedy: str


class Found(TypedDict):
    """The document of `doctor --json`. A package that is not installed has no version."""

    ftev: str | None
    python: str
    executable: str
    system: str
    packages: dict[str, str | None]
    optional: dict[str, str | None]
    cpu: Cpu
    gpus: list[Gpu]
    kernels: list[Kernel]
    terminal: Terminal
    missing: list[Missing]


def run(options: argparse.Namespace) -> int:
    """Always 0: what is missing is printed with what mends it."""
    found = examine()
    if options.json:
        print_json(found)
    else:
        show_page(found)
    return 0


def examine() -> Found:
    """What is installed here, and what is not."""
    packages = {name: version_of(name) for names in NEEDED.values() for name in names}
    terminal = describe_terminal()
    return {
        "ftev": version_of("ftev"),
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "packages": packages,
        "optional": {name: version_of(name) for name in OPTIONAL.values()},
        "cpu": describe_cpu(),
        "gpus": find_gpus(),
        "kernels": find_kernels(),
        "terminal": terminal,
        "missing": find_missing(packages, terminal),
    }


def version_of(package: str) -> str | None:
    """The installed version of a distribution; None without one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def describe_cpu() -> Cpu:
    """By /proc/cpuinfo where there is one, else by what Python knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            pairs = [line.partition(":") for line in file]
    except OSError:
        pairs = []
    lines = {key.strip(): value.strip() for key, _, value in pairs}
    flags = set(lines.get("flags", lines.get("Features", "")).split())  # Features on ARM
    # In a container or under taskset fewer than the machine has; macOS cannot say.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "name": lines.get("model name") or platform.processor() or platform.machine(),
        "cores": usable,
        "flags": [flag for flag in CPU_FLAGS if flag in flags],
    }


def find_gpus() -> list[Gpu]:
    """NVIDIA devices as the driver sees them; an empty list without one."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        # Fails where the package is installed and the driver is not.
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [
            {
                "name": pynvml.nvmlDeviceGetName(handle),
                "memory": pynvml.nvmlDeviceGetMemoryInfo(handle).total,
                "driver": pynvml.nvmlSystemGetDriverVersion(),
            }
            for handle in handles
        ]
    except pynvml.NVMLError as error:
        return [{"name": f"not readable: {error}", "memory": -1, "driver": ""}]
    finally:
        pynvml.nvmlShutdown()


def find_kernels() -> list[Kernel]:
    """As the engine chooses them for the device here; an empty list where torch is missing."""
    try:
        found: list[Kernel] = ask_engine("kernels", {}, lambda _: None)["kernels"]
    except FtevError:
        return []
    return found


def describe_terminal() -> Terminal:
    """By the environment and the size of stdout."""
    size = shutil.get_terminal_size((0, 0))
    return {
        "is_terminal": is_terminal(),
        "columns": size.columns,
        "lines": size.lines,
        "term": os.environ.get("TERM", ""),
        "colours": colours(),
        "utf8": "utf" in (sys.stdout.encoding or "").lower(),
        "over_ssh": "SSH_CONNECTION" in os.environ,
        "inside": "tmux" if "TMUX" in os.environ else "screen" if "STY" in os.environ else "",
    }


def colours() -> int:
    """How many colours the terminal says it has."""
    if "NO_COLOR" in os.environ or not is_terminal():  # no-color.org: its presence counts
        return 0
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return 1 << 24  # three bytes
    return 256 if "256" in os.environ.get("TERM", "") else 16


def find_missing(packages: Mapping[str, str | None], terminal: Terminal) -> list[Missing]:
    """What stands in the way, each with what mends it."""
    missing: list[Missing] = [
        {"what": f"{name} is not installed", "remedy": f"pip install {name}"}
        for name, version in packages.items()
        if version is None
    ]
    if sys.version_info < LEAST_PYTHON:
        missing.append({"what": "Python is older than 3.11", "remedy": "install Python 3.11"})
    if terminal["is_terminal"]:
        if (terminal["columns"], terminal["lines"]) < SMALLEST or terminal["lines"] < SMALLEST[1]:
            missing.append({"what": "the terminal is small", "remedy": "make it 80×24 or larger"})
        if not terminal["utf8"]:
            remedy = "export LANG=C.UTF-8, or start with --ascii"
            missing.append({"what": "the terminal does not speak UTF-8", "remedy": remedy})
    return missing


def show_page(found: Found) -> None:
    """Everything as one table, and below it what is missing."""
    rows = [
        ["ftev", found["ftev"] or "not installed", ""],
        ["Python", found["python"], found["executable"]],
        ["system", found["system"], ""],
    ]
    for purpose, names in NEEDED.items():
        rows += [[name, found["packages"][name] or "missing", purpose] for name in names]
    rows += [
        [name, found["optional"][name] or "not installed", f"optional: {purpose}"]
        for purpose, name in OPTIONAL.items()
    ]
    cpu = found["cpu"]
    flags = ", ".join(cpu["flags"]) or "no vector flags found"
    rows.append(["CPU", f"{cpu['cores']} cores", f"{cpu['name']}; {flags}"])
    rows += [
        ["GPU", f"{gpu['memory'] / 2**30:.0f} GiB", f"{gpu['name']}, driver {gpu['driver']}"]
        for gpu in found["gpus"]
    ]
    if not found["gpus"]:
        rows.append(["GPU", "none", "training runs on the CPU"])
    rows += [[k["name"], "on" if k["on"] else "off", k["why"]] for k in found["kernels"]]
    rows.append(["terminal", *_terminal_words(found["terminal"])])
    print_table(("what", "found", "note"), rows, words=("what", "found", "note"))
    for entry in found["missing"]:
        print(f"{entry['what']}: {entry['remedy']}")
    if not found["missing"]:
        print("nothing that is needed is missing")


def _terminal_words(terminal: Terminal) -> tuple[str, str]:
    if not terminal["is_terminal"]:
        return "none", "commands print plain lines"
    size = f"{terminal['columns']}×{terminal['lines']}"
    speaks = "UTF-8" if terminal["utf8"] else "no UTF-8"
    where = [terminal["term"], f"{terminal['colours']:,} colours", speaks]
    where += ["over SSH"] if terminal["over_ssh"] else []
    where += [terminal["inside"]] if terminal["inside"] else []
    return size, ", ".join(where)
