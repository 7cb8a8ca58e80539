"""Workers without their imports: real processes, forked from one that has imported everything.

Two thirds of a short worker's time are imports. Here one server process imports what the engine
and the commands need, runs nothing, and forks a child for each module that would be started:

    with forked.server():
        worker = launch.start_worker(run)  # a process of its own, with its own session and log
        done = forked.completed("ftev.tui.cli", "list")  # a command, and what it printed

    python tests/forked.py ftev.tui.cli train run.toml  # a command whose workers are forked too

    launch.start_worker(run)  # with os.environ[CHANGES] set: killed before a change of its files

The server ends with its starter, the children do not. torchrun and its ranks are forked as well.
What an environment has that an import would have read differently is started as it always is.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ftev.core.run import launch
from ftev.core.run.launch import child_environment

ADDRESS = "FTEV_FORKED"  # the environment variable with the server's socket
CHANGES = "FTEV_CHANGES"  # the one with the changes that a child writes down, or dies before
# Read by an import, or by a library as it is loaded: a fork is too late for another value.
READ_AT_IMPORT = ("CUDA_", "HF_", "KMP_", "LD_", "MKL_", "OMP_", "OPENBLAS_", "POLARS_", "PYTHON")
READ_AT_IMPORT += ("HOME", "LANG", "LC_", "RAYON_", "TOKENIZERS_", "TORCH")
READ_AT_IMPORT += ("TRANSFORMERS_", "XDG_CACHE")
AFTER_THE_FORK = ("OMP_NUM_THREADS", "PYTHONSAFEPATH", "PYTHONUNBUFFERED")
AFTER_THE_FORK += ("TORCHELASTIC_", "TORCH_NCCL_")  # torchrun's to its ranks
LAZY = (
    "datasketch",
    "ftev.core.report.report",
    "peft",
    "rouge_score.rouge_scorer",
    "sacrebleu.tokenizers.tokenizer_13a",
    "torch.distributed.run",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
)
TORCHRUN = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"
CHANGING = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
AT_START = dict(os.environ)
COMMAND = [sys.executable, "-P", __file__]  # and a module: it forks what it starts
started_for_real = launch.start_module


def bytes_of(number: int) -> bytes:
    """A process id or an exit code on its way."""
    return number.to_bytes(4, sys.byteorder, signed=True)


def number_of(text: bytes) -> int:
    return int.from_bytes(text, sys.byteorder, signed=True)


def read_at_import(environment: dict[str, str]) -> dict[str, str]:
    return {"PYTHONPATH": ""} | {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_IMPORT) and not name.startswith(AFTER_THE_FORK)
    }


# Who starts


class Forked:
    """A process that the server forked, used as a `subprocess.Popen`."""

    def __init__(self, args: list[str], line: socket.socket, pid: int) -> None:
        self.args, self.pid = args, pid
        self.stdin = self.stdout = None
        self.returncode: int | None = None
        self._line = line

    def __del__(self) -> None:
        self._line.close()

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal that ended it. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            message = self._line.recv(4, socket.MSG_PEEK)  # another thread may look as well
            assert message, f"the server that forked {self.pid} is gone"
            self.returncode = number_of(message)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.stdin, self.stdout):
            if file is not None:
                file.close()
        self.wait()


def start_module(module: str, *arguments: str, processes: int = 1, **how: Any) -> Any:
    """As `launch.start_module`, by a fork where that is the same."""
    return start([*launch.module_command(module, processes), *arguments], **how)


def start(args: Sequence[str], **how: Any) -> Any:
    """As `subprocess.Popen` with Python, some of its flags, -m, a module and its arguments."""
    at = list(args).index("-m") + 1
    return fork(*args[at:], **how) or subprocess.Popen(args, **how)


def completed(
    module: str,
    *arguments: str,
    input: str = "",
    cwd: str | os.PathLike[str] | None = None,
    env: dict[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """A module run to its end, as by `subprocess.run`: its exit code and what it printed.

    `env` comes on top of this process's environment. `timeout`: seconds, else a test's patience.
    """
    from waiting import PATIENCE  # the server has only this file

    with ExitStack() as opened:
        files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(input.encode())
        files[0].seek(0)
        process = opened.enter_context(
            start_module(
                module,
                *arguments,
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
                cwd=cwd,
                env={**child_environment(), **(env or {})},
            )
        )
        try:
            code = process.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        printed = []
        for file in files[1:]:
            file.seek(0)
            printed.append(file.read().decode())
    return subprocess.CompletedProcess([module, *arguments], code, *printed)


def fork(
    module: str,
    *arguments: str,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    cwd: str | os.PathLike[str] | None = None,
    env: dict[str, str] | None = None,
    start_new_session: bool = False,
) -> Forked | None:
    """A child that runs a module; None where the server's imports may not be those of `env`."""
    if ADDRESS not in os.environ:
        return None
    with ExitStack() as mine:
        files, ends = [], []
        for number, wanted in enumerate((stdin, stdout, stderr)):
            file, end = _file_for(number, wanted, mine)
            files.append(files[1] if wanted == subprocess.STDOUT else file)
            ends.append(end)
        files.append(os.open(cwd or ".", os.O_RDONLY | os.O_DIRECTORY))
        mine.callback(os.close, files[-1])
        line = socket.socket(socket.AF_UNIX)
        line.connect(os.environ[ADDRESS])
        request = {
            "module": module,
            "arguments": arguments,
            "environment": dict(os.environ if env is None else env),
            "session": start_new_session,
        }
        socket.send_fds(line, [json.dumps(request).encode() + b"\n"], files)
        pid = number_of(line.recv(4))
    if not pid:
        for opened in (line, *ends):
            if opened is not None:
                opened.close()
        return None
    process = Forked([module, *arguments], line, pid)
    process.stdin, process.stdout = ends[:2]
    return process


def _file_for(number: int, wanted: Any, closed_soon: ExitStack) -> tuple[int, Any]:
    """The child's descriptor, and this side's end of a pipe."""
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe()
        theirs, own = (reading, writing) if number == 0 else (writing, reading)
        closed_soon.callback(os.close, theirs)
        return theirs, os.fdopen(own, "wb" if number == 0 else "rb")
    if wanted == subprocess.DEVNULL:
        nothing = os.open(os.devnull, os.O_RDWR)
        closed_soon.callback(os.close, nothing)
        return nothing, None
    if wanted is None or wanted == subprocess.STDOUT:
        return number, None
    return wanted if isinstance(wanted, int) else wanted.fileno(), None


@contextmanager
def server() -> Iterator[None]:
    """From here to the end, what this process and those that it starts launch is forked."""
    with tempfile.TemporaryDirectory() as folder, closing(socket.socket(socket.AF_UNIX)) as door:
        os.environ[ADDRESS] = str(Path(folder) / "door")
        door.bind(os.environ[ADDRESS])
        door.listen()
        with subprocess.Popen(
            [sys.executable, "-P", __file__, str(door.fileno())],
            stdin=subprocess.PIPE,  # its end is the server's
            stdout=subprocess.DEVNULL,
            pass_fds=[door.fileno()],
            env={**launch.WAITING, **child_environment()},
        ):
            use()
            yield
            launch.start_module = started_for_real
            del os.environ[ADDRESS]


def use() -> None:
    """Fork in this process too, by the server that the environment names."""
    launch.start_module = start_module


# The server


class Request(NamedTuple):
    """What a child needs to be the process that was asked for."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    session: bool
    files: list[int]  # to be its stdin, stdout and stderr, and its folder
    line: socket.socket  # to who asked


def serve(door: socket.socket) -> Request | None:
    """Fork for whoever asks until stdin ends: None then, and in each child what it is to be."""
    asking: dict[int, socket.socket] = {}  # child by child
    woken, wake = socket.socketpair()
    with woken, wake:
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        while True:
            ready, *_ = select.select([door, woken, sys.stdin], [], [])
            if woken in ready:
                woken.recv(4096)
                report_ended(asking)
            if sys.stdin in ready:
                signal.set_wakeup_fd(-1)
                return None
            if door in ready:
                request = receive(door.accept()[0])
                pid = fork_for(request)
                if pid is None:
                    break
                for file in request.files:
                    os.close(file)
                if pid:
                    asking[pid] = request.line
                else:
                    request.line.sendall(bytes_of(0))
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for other in (*asking.values(), door):
        other.close()
    return request


def receive(line: socket.socket) -> Request:
    found, files, *_ = socket.recv_fds(line, 1 << 16, 4)
    while not found.endswith(b"\n"):
        found += line.recv(1 << 16)
    return Request(**json.loads(found), files=files, line=line)


def fork_for(request: Request) -> int | None:
    """The child's process id, 0 where it would have imported otherwise, None in the child."""
    import_everything()
    before, after = (read_at_import(e) for e in (AT_START, dict(os.environ)))
    wanted = read_at_import(request.environment)  # imports set some, for children of workers
    if not before.items() <= wanted.items() <= after.items():
        return 0
    return os.fork() or None


def report_ended(asking: dict[int, socket.socket]) -> None:
    while asking:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with asking.pop(pid) as line, suppress(OSError):  # who asked may be gone
            line.sendall(bytes_of(os.waitstatus_to_exitcode(status)))


@cache
def import_everything() -> None:
    """What workers and commands import, now or later. Nothing is run: its threads would not be
    in a child."""
    from ftev.core import engine
    from ftev.tui import commands

    use()
    names = [
        module.name
        for package in (engine, commands)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    for name in (*names, *LAZY):
        if not name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(name)
    launched = importlib.import_module(TORCHRUN)
    launched.Popen = start
    assert threading.enumerate() == [threading.main_thread()]
    gc.freeze()  # a collection in a child would write to, and so copy, every page


def become(request: Request) -> NoReturn:
    """From a copy of the server to the process that was asked for, and its end."""
    if request.session:
        os.setsid()
    *files, folder = request.files
    os.fchdir(folder)
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in request.files:
        os.close(file)
    os.environ.clear()
    os.environ.update(request.environment)
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # the old ones know other files
        old = getattr(sys, name)
        new = open(number, old.mode, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        if number:
            unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
            new.reconfigure(write_through=unbuffered, line_buffering=number == 2 or new.isatty())
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    with request.line as line:
        line.sendall(bytes_of(os.getpid()))
    sys.modules.pop(request.module, None)  # `python -m` has not imported it either
    if threads := os.environ.get("OMP_NUM_THREADS"):
        limit_threads(int(threads))
    code: Any = None
    if CHANGES in os.environ:
        watch_changes(**json.loads(os.environ[CHANGES]))
    try:
        run(request.module, request.arguments)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # as an interpreter does before it ends
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # the module has closed it
            stream.flush()
    os._exit(code or 0)  # half a second before its modules would be freed


def limit_threads(number: int) -> None:
    """As libraries do that find OMP_NUM_THREADS when they are loaded."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(number)
    threadpool_limits(number)


def watch_changes(folder: str, log: str, last: int = 0) -> None:
    """Write down each change that Python makes to files under a folder, before it is made.

    This process is killed in place of the change number `last`, counted from 1; 0: it is not.
    """
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count = 0

    def change(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in CHANGING or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        count += 1
        os.write(written, f"{event} {str(arguments[0])[len(folder) :]}\n".encode())
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(change)


def run(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    if sys.argv[1].isdigit():
        if request := serve(socket.socket(fileno=int(sys.argv[1]))):
            become(request)
    else:
        use()
        run(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    main()
