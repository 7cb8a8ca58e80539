"""Start a worker and wait for it, or put one question to the engine; the devices there are for it.

The engine is known by its modules' names only: nothing here imports it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..config.config import RunConfig
from ..errors import ConfigError, Fault, HeldError, LateError, ModelError, NoEngineError, RunError
from ..files.disk import parent_of, writing
from ..files.reading import decode_json
from .control import Accepted, AskStatus, AskStop, StatusReply, ask
from .lock import held, is_held, refuse_second_worker
from .runs import Run, refuse_foreign

WORKER = "ftev.core.engine"
# Threads that wait sleep. Spinning, a tiny model trains 1.4 times as fast on an idle machine, but
# two runs on the same cores slow each other down 24-fold (measured on 2 cores); asleep, 1.2-fold.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


def start_worker(
    run: Run, *arguments: str, gpu: str | None = None, devices: int | None = None
) -> subprocess.Popen[bytes]:
    """Start the run's worker in a session of its own: it outlives this process and its terminal.

    `arguments`: --resume continues from the last checkpoint, --serve answers prompts only,
    --serve-minutes N overrules how long it serves afterwards. `gpu` is the only one it sees.
    `devices`: another number than the run's own, as a resumed run may have. Raises ConfigError
    where there are not so many, HeldError where a worker has the run; where another one takes it
    at this moment, the process ends by itself, and `refuse_if_second` reports it.
    """
    refuse_foreign(run)
    require_engine()
    refuse_second_worker(run)
    alone = "--serve" in arguments or gpu is not None
    processes = 1 if alone else processes_of(run.config(), devices)
    environment = {**WAITING, **_threads(processes), **child_environment(), "PYTHONUNBUFFERED": "1"}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    with writing(run.log_path), run.log_path.open("ab") as log:
        return start_module(
            WORKER,
            str(run.path),
            *arguments,
            processes=processes,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def start_module(
    module: str, *arguments: str, processes: int = 1, **how: Any
) -> subprocess.Popen[bytes]:
    """Start a module of the engine; `how`: as Popen takes it. No other way leads to the engine."""
    return subprocess.Popen([*module_command(module, processes), *arguments], **how)


def module_command(module: str, processes: int) -> list[str]:
    """A process, or several under torchrun, which starts none of them again: a run is resumed."""
    if processes == 1:
        return python_command(module)
    torchrun = python_command("torch.distributed.run", "--standalone")
    return [*torchrun, f"--nproc-per-node={processes}", "--max-restarts=0", "-m", module]


def _threads(processes: int) -> dict[str, str]:
    """Several processes share the cores: with as many threads each they would slow each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"OMP_NUM_THREADS": str(max(1, (cores or 1) // processes))} if processes > 1 else {}


def wait_until_listening(
    run: Run, process: subprocess.Popen[bytes] | None = None, seconds: float = 60.0
) -> None:
    """Return when the worker answers. Raises RunError when it dies first or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(RunError):
            for _ in ask(run, AskStatus(), timeout=5.0):
                return
        if process is not None and process.poll() is not None and not is_held(run):
            raise RunError(f"{run.id}: the worker ended at once; see {run.log_path}")
        time.sleep(0.05)
    raise RunError(
        f"{run.id}: the worker does not answer after {seconds:.0f} s; see {run.log_path}"
    )


def wake_worker(run: Run, minutes: str) -> None:
    """Have a worker answer prompts of an ended run, until nobody has asked for so many minutes.

    One that somebody else is starting will do. Raises RunError where none comes.
    """
    process = None
    with contextlib.suppress(HeldError):
        process = start_worker(run, "--serve", "--serve-minutes", minutes)
        threading.Thread(target=process.wait, daemon=True).start()  # its end is taken note of
    wait_until_listening(run, process)


def refuse_if_second(run: Run, process: subprocess.Popen[bytes]) -> None:
    """Raises HeldError where a started process came second: another worker has the run."""
    worker = run.worker()
    if process.poll() == 0 or worker is None or not run.worker_alive():
        return
    elsewhere = worker.host != socket.gethostname()
    if elsewhere or process.pid not in (
        worker.pid,
        parent_of(worker.pid),
    ):  # torchrun's children are workers
        raise held(run)


def ask_to_stop(run: Run, seconds: float = 30.0) -> str:
    """Ask the worker to save and end. Returns what it says will happen; it is not waited for."""
    try:
        return " ".join(r.text for r in ask(run, AskStop(), seconds) if isinstance(r, Accepted))
    except LateError:
        return "asked to stop: the worker is busy, and stops when it hears of it"


def stop_worker(run: Run, seconds: float = 120.0) -> None:
    """Ask the worker to save and end, and wait until it is gone."""
    ask_to_stop(run)
    wait_until_gone(run, seconds)


def is_stopping(run: Run) -> bool:
    """Whether its worker was asked to end, or is ending."""
    try:
        return any(r.stopping for r in ask(run, AskStatus()) if isinstance(r, StatusReply))
    except RunError:
        return not run.worker_alive()


def resume_worker(run: Run) -> subprocess.Popen[bytes]:
    """Start a worker that goes on with an ended run; one that only answers prompts makes way."""
    make_way(run)
    return start_worker(run, "--resume")


def make_way(run: Run, seconds: float = 120.0) -> None:
    """Have the worker of an ended run end, where one is still there to answer prompts."""
    refuse_foreign(run)
    if run.worker_alive():
        with contextlib.suppress(RunError):  # it is ending by itself
            ask_to_stop(run)
        wait_until_gone(run, seconds)


def wait_until_gone(run: Run, seconds: float = 120.0) -> None:
    """Raises RunError where its worker lives after so many seconds."""
    deadline = time.monotonic() + seconds
    while run.worker_alive():
        if time.monotonic() > deadline:
            raise RunError(f"{run.id}: the worker is still saving after {seconds:.0f} s")
        time.sleep(0.05)


def ask_engine(
    kind: Literal["kernels", "likelihood", "merge", "preview", "row_tokens"],
    question: dict[str, Any],
    on_progress: Callable[[str], None],
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> dict[str, Any]:
    """Put one question to the engine in a process of its own: JSON in, JSON lines out.

    `on_progress` is called with each progress line; `started` gets the process, so that the
    caller can end it.
    Raises NoEngineError where there is none, ConfigError or ModelError with what it answers, and
    RunError where it ends without an answer.
    """
    require_engine()
    with tempfile.TemporaryFile() as log:
        engine = start_module(
            f"{WORKER}.ask",
            kind,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        with engine:
            if started is not None:
                started(engine)
            answer = _read_answer(engine, msgspec.json.encode(question), on_progress)
        if "result" in answer:
            result: dict[str, Any] = answer["result"]
            return result
        if "error" in answer:
            raise (ConfigError if engine.returncode == 2 else ModelError)(answer["error"])
        log.seek(0)
        last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
        raise RunError(f"the engine ended without an answer: {last or engine.returncode}")


def _read_answer(
    engine: subprocess.Popen[bytes], question: bytes, on_progress: Callable[[str], None]
) -> dict[str, Any]:
    """The last line that is no progress; empty where there is none."""
    assert engine.stdin is not None
    assert engine.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it ended before it listened
        engine.stdin.write(question)
        engine.stdin.close()
    answer: dict[str, Any] = {}
    for line in engine.stdout:
        message = decode_json(line, dict[str, Any])
        if "progress" in message:
            on_progress(message["progress"])
        else:
            answer = message
    return answer


def require_engine() -> None:
    """Raises NoEngineError where torch is not installed, before anything is made or started."""
    if find_spec("torch") is None:
        what = "is not installed here, and training, scoring and prompts need it"
        remedy = "`pip install ftev` brings it; watching, judging and reporting work without"
        raise NoEngineError(Fault("torch", what, remedy))


SAFE = {"PYTHONSAFEPATH": "1"}  # for processes that it starts in turn, as torchrun does


def python_command(module: str, *arguments: str) -> list[str]:
    """A module of ours, or torch's launcher, in this interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """This process's environment, without the working directory in any place of Python's path."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [place for place in named if place not in ("", os.curdir)]
    return {**os.environ, **SAFE, "PYTHONPATH": os.pathsep.join(kept)}


VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """What to write into CUDA_VISIBLE_DEVICES for each of them; empty without one."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    return [str(n) for n in range(_count_devices())]


def _count_devices() -> int:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or one without NVML: there is nothing to count
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
    finally:
        pynvml.nvmlShutdown()


def gpu_of(pid: int) -> str | None:
    """The GPU assigned to a process of ours; None where that is not known."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    name = f"{VISIBLE}=".encode()
    found = next((entry for entry in environment if entry.startswith(name)), None)
    return found.removeprefix(name).decode(errors="replace") if found is not None else None


def count_gpus() -> int:
    """NVIDIA devices that a worker started here would see; 0 without a driver."""
    return len(visible_gpus())


def processes_of(config: RunConfig, devices: int | None = None, gpus: int | None = None) -> int:
    """One process per device. Raises ConfigError where more GPUs are asked for than there are.

    A number on a machine without GPUs is that many processes on its CPU. `devices` overrules the
    config; `gpus`: how many there are, None looks.
    """
    asked = config.train.devices if devices is None else devices
    if isinstance(asked, int) and asked < 1:
        raise ConfigError(Fault("devices", f"must be at least 1, not {asked}", "", "train.devices"))
    if asked in ("cpu", 1):
        return 1
    found = count_gpus() if gpus is None else gpus
    if asked == "auto":
        return max(1, found)
    assert isinstance(asked, int)
    if 0 < found < asked:
        what = f"asks for {asked} devices, and this machine has {_gpus(found)}"
        remedy = f'Write {found} or "auto"; over several machines, see docs/several_devices.md'
        raise ConfigError(Fault.of("train.devices", what, remedy))
    return asked


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
