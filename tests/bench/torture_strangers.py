"""Other users of the machine, and connections to others: what nobody but who started it reaches."""

from __future__ import annotations

import argparse
import http.server
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ftev.core.run import control
from ftev.core.run.history import read_history
from ftev.core.run.launch import WORKER, child_environment, python_command, start_worker
from ftev.core.run.runs import create_run
from strangers import as_nobody, may_be_nobody, tried_by_nobody
from torn_files import SAMPLES
from torture_kills import CLI, PATIENCE, SINGLE, kinds
from torture_signals import has_stepped
from waiting import wait_for

Row = tuple[str, int, list[str]]
CALLS = "connect,bind,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(
    r'sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|, )"([^"]+)"'
)
HUB = '[model]\nbase = "org/model"\n[data]\ntrain = "{train}"\ntext = "text"\nlabel = "label"\n'


def strangers(options: argparse.Namespace) -> Iterator[Row]:
    """Another user's tries; then every address that workers and commands connect to."""
    os.environ |= SINGLE
    with tempfile.TemporaryDirectory(prefix="strangers-") as name:
        place = Path(name)
        place.chmod(0o755)
        kind = next(k for k in kinds(place) if k.config.task == "classification")
        if may_be_nobody():
            run = create_run(kind.config, place / "runs")
            worker = start_worker(run, "--serve-minutes", "1")
            wait_for(partial(has_stepped, run, worker), "the first steps")
            info = run.worker()
            assert info is not None
            tried = tried_by_nobody(run, info)
            listening = listens_on(info.pid)
            worker.terminate()
            worker.wait(PATIENCE)
            yield "another user", len(tried), [f"{k}: {v}" for k, v in tried.items() if v == "done"]
            yield "ports that a worker listens on", 1, listening
            yield squatted(place)
        if shutil.which("strace") is None:
            yield "connections: there is no strace here", 0, []
            return
        for offline in ("1", "0"):
            run = create_run(kind.config, place / f"traced-{offline}")
            command = python_command(WORKER, str(run.path), "--serve-minutes", "0")
            found = addresses(command, place, HF_HUB_OFFLINE=offline)
            ended = read_history(run).finished
            faults = [f"connects to {address}" for address in sorted(found)]
            faults += [] if ended and ended.status == "finished" else ["it did not finish"]
            yield f"worker with local files, HF_HUB_OFFLINE={offline}", 1, faults
        yield from commands(kind.config.folder, place)


def commands(data: str, place: Path) -> Iterator[Row]:
    """What commands connect to: nothing, but the hub where a configuration names it."""
    run = shutil.copytree(SAMPLES / "classification", place / "sample")
    local, hub = place / "local.toml", place / "hub.toml"
    local.write_text('task = "classification"\n' + HUB.format(train="org/rows"))
    hub.write_text('task = "classification"\n' + HUB.format(train=f"{data}/train.csv"))
    offline: tuple[tuple[str, ...], ...] = (
        ("check", str(local)),
        ("check", str(hub)),
        ("likelihood", "--model", "org/model", "--text", "a text"),
        ("prompt", str(run), "--text", "a text"),
    )
    seen = ("list", "status", "report", "verify", "flips", "doctor", "explain", "open", "quiz")
    plain = [(c,) if c in ("list", "doctor", "explain") else (c, str(run)) for c in seen]
    for arguments in (*offline, *plain):
        found = addresses(python_command(CLI, *arguments), place, HF_HUB_OFFLINE="1")
        what = f"{arguments[0]}, HF_HUB_OFFLINE=1"
        yield what, 1, [f"connects to {address}" for address in sorted(found)]
    for arguments in plain:
        found = addresses(python_command(CLI, *arguments), place, HF_HUB_OFFLINE="0")
        yield arguments[0], 1, [f"connects to {address}" for address in sorted(found)]
    with a_hub() as port:
        command = python_command(CLI, "check", str(hub))
        endpoint = f"http://127.0.0.1:{port}"
        found = addresses(command, place, HF_HUB_OFFLINE="0", HF_ENDPOINT=endpoint)
        faults = [f"connects to {a}" for a in sorted(found) if a != f"127.0.0.1:{port}"]
        faults += [] if found else ["did not ask the hub that was named"]
        yield "check of a model of the hub", 1, faults


def addresses(command: list[str], place: Path, **environment: str) -> set[str]:
    """Every address of a network that a command and its children connect or send to."""
    log = place / "calls"
    trace = ["strace", "-f", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(log)]
    subprocess.run(
        [*trace, *command],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=place,
        timeout=300,
        env={**child_environment(), "NO_PROXY": "*", **environment},
    )
    calls = log.read_text(errors="replace")
    assert calls.count("exit") or "exited" in calls, "nothing was traced"
    return {f"{found[2]}:{found[1]}" for found in ADDRESS.finditer(calls)}


def listens_on(pid: int) -> list[str]:
    """Ports of a network that a process has open."""
    files = Path(f"/proc/{pid}/fd")
    mine = {os.readlink(p) for p in files.iterdir()}
    lines = [
        line.split()
        for kind in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]
    ]
    return [f"port {line[1]}" for line in lines if f"socket:[{line[9]}]" in mine]


def squatted(place: Path) -> Row:
    """Another user was first to take the name of the folder of sockets."""
    shared = place / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    name = shared / f"ftev-{os.getuid()}"
    faults = []
    before = dict(os.environ), tempfile.tempdir
    os.environ["TMPDIR"], tempfile.tempdir = str(shared), None
    os.environ.pop("XDG_RUNTIME_DIR", None)
    try:
        for how, take in (("a folder", name.mkdir), ("a link", partial(name.symlink_to, "/tmp"))):
            as_nobody(lambda take=take: {"": str(take())})
            folder = control.socket_folder()
            kept = folder.stat()
            if folder == name or kept.st_uid != os.getuid() or kept.st_mode & 0o077:
                faults.append(f"{how}: {folder} is used")
            assert name.is_symlink() or name.is_dir()
            name.unlink() if name.is_symlink() else name.rmdir()
    finally:
        os.environ.clear()
        os.environ.update(before[0])
        tempfile.tempdir = before[1]
    return "the sockets' folder taken by another user", 2, faults


@contextmanager
def a_hub() -> Iterator[int]:
    """A hub of this machine's own that has nothing; its port."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
