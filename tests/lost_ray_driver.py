"""In the place of `ray_driver`, without Ray: its answers, a real worker for each task, and its end
by Ray where the cluster is lost (Ray 2.60: a dump on stderr and exit code 1, and no answer).

    lost_ray_driver.py ADDRESS  # "lost at once", "lost in the middle" or any other
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run
from ftev.core.sweep.machines import Leave, Ready, Start, TaskOver

sys.path.insert(0, str(Path(__file__).parent))  # which a process of ours does not do by itself
import forked

DUMP = "[2026-11-30 19:52:08,162 E 2635 2717] rpc_client.h:204: Failed to connect to GCS"


def main() -> None:
    address = sys.argv[1]
    if forked.ADDRESS in os.environ:
        forked.use()
    print(msgspec.json.encode(Ready(gpus=0, nodes=1)).decode(), flush=True)
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=Start | Leave)
        if not isinstance(request, Start):
            return
        if address == "lost at once":
            break
        run = Run(Path(request.path))
        process = start_worker(run, *request.arguments)
        if address == "lost in the middle":
            while not run.worker_alive():
                time.sleep(0.01)
            break
        process.wait()
        print(msgspec.json.encode(TaskOver(request.path)).decode(), flush=True)
    else:
        return
    print(DUMP, file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
