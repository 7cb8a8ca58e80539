"""The process that submits a sweep's tasks to Ray, and ends with its cluster.

    python -m ftev.core.sweep.ray_driver ADDRESS

Requests are JSON lines on stdin, answers JSON lines on stdout; whatever Ray prints goes to stderr.
It ends with its stdin. Nothing else imports Ray.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import Any, BinaryIO

import msgspec

from .machines import LOOK_SECONDS, SAVING_SECONDS, Leave, Ready, Refused, Start, TaskOver, work


def main() -> None:
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)
        import ray

        try:
            ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            _write(answers, Refused(str(error).partition("\n")[0].rstrip(".")))
            return
        gpus = int(ray.cluster_resources().get("GPU", 0))
        _write(answers, Ready(gpus, sum(bool(node["Alive"]) for node in ray.nodes())))
        _serve(ray, answers)
        ray.shutdown()


def _write(answers: BinaryIO, answer: Ready | Refused | TaskOver) -> None:
    answers.write(msgspec.json.encode(answer) + b"\n")


def _serve(ray: Any, answers: BinaryIO) -> None:
    """Start what is asked for and report every end, until stdin ends."""
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    tasks: dict[Any, str] = {}
    while True:
        try:
            line = requests.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            line = None
        if line == b"":
            return
        request = msgspec.json.decode(line, type=Start | Leave) if line else None
        if isinstance(request, Start):
            how = {"num_gpus": request.gpus, "num_cpus": 1, "max_retries": 0}
            task = ray.remote(**how)(work).remote(request.path, request.arguments)
            tasks[task] = request.path
        elif isinstance(request, Leave):
            for task in tasks:
                ray.cancel(task)
            if tasks:
                ray.wait(list(tasks), num_returns=len(tasks), timeout=SAVING_SECONDS)
            return
        if tasks:
            done, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0)
            for task in done:
                _write(answers, _end_of(ray, task, tasks.pop(task)))


def _read(requests: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        requests.put(line)
    requests.put(b"")


def _end_of(ray: Any, task: Any, path: str) -> TaskOver:
    """What `work` raised is known; any other error says only that Ray lost sight of it."""
    try:
        ray.get(task)
    except (ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError) as error:
        return TaskOver(path, str(error))
    except Exception as error:  # a node, a process or an object of the cluster is gone
        return TaskOver(path, str(error), lost=True)
    return TaskOver(path)


if __name__ == "__main__":
    main()
