"""Means of going faster or of needing less memory, one by one: what each gives on this machine.

    python tests/bench/means.py [NAME …] [--encoder FOLDER] [--causal FOLDER] [--rounds N]

Every means is set against the same work without it, the sides in turn in a process of their own,
on one thread, so that CPU time is what is compared (on a GPU: the wall, waited for). NAME chooses
some of them. The encoder is MiniLM; the language model a Llama shape of 12 M parameters, drawn from
a config by seed, or a folder's for what activation checkpointing gives.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from classifier import ENVIRONMENT, find_model
from means_of_kernels import MEASURES as OF_KERNELS
from means_of_memory import less_memory, way
from means_of_scoring import MEASURES as OF_SCORING
from means_of_training import MEASURES as OF_TRAINING
from measure import section, table

MEASURES = OF_TRAINING | OF_KERNELS | OF_SCORING | {"memory": less_memory}
PACKAGES = ("torch", "transformers", "accelerate", "peft")
HEAD = ("means", "against", "time without / with", "memory without → with", "in ftev")
ON_A_GPU = (
    ("rows end to end through variable-length attention", "padded", "yes, in bfloat16 (causal)"),
    ("pinned batches, copied while the GPU computes", "copies that are waited for", "yes"),
    ("CUDA graphs for generation, static KV cache", "a kernel at a time, growing cache", "no"),
    ("liger-kernel's fused linear cross entropy", "the loss in chunks", "no: chunks of its own"),
    ("8-bit or paged optimizers", "AdamW in float32", "no"),
)
WORDS = (
    "Time is the CPU time without the means over that with it: above 1 it pays; ftev does what "
    "costs time only for the memory it saves. Memory is what the process grows by above the loaded "
    "model. torch.compile compiles each width and each number of rows anew; rows end to end need a "
    "mask over all pairs of their tokens, which grows with the square of the batch."
)


def child(name: str, given: list[str]) -> list[list[str]]:
    """A measure's rows, from a process of its own."""
    print(f"{name} …", file=sys.stderr, flush=True)
    command = [sys.executable, "-W", "ignore", __file__, *given, "--alone", name]
    environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, env=environment, check=False)
    if ran.returncode:
        sys.exit(ran.stderr.decode()[-4_000:])
    rows: list[list[str]] = json.loads(ran.stdout.splitlines()[-1])
    for row in rows:
        print("  ", *row, sep="  ", file=sys.stderr, flush=True)
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--encoder")
    parser.add_argument("--causal", help="a folder, for activation checkpointing")
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--alone")
    args = parser.parse_args()
    if unknown := set(args.names) - set(MEASURES):
        parser.error(f"there is no {', '.join(sorted(unknown))}: {', '.join(MEASURES)}")
    args.encoder = find_model(args.encoder)
    return args


def main() -> None:
    args = arguments()
    if args.alone:
        name, *what = args.alone.split(":")
        print(json.dumps(way(args, *what) if what else MEASURES[name](args)))
        return
    given = [a for a in sys.argv[1:] if a not in args.names]
    rows = [row for name in args.names or MEASURES for row in child(name, given)]
    if not args.names:
        rows += [[what, than, "not measured: needs a GPU", "", has] for what, than, has in ON_A_GPU]
    command = " ".join(["python tests/bench/means.py", *sys.argv[1:]])
    print(section("Means, one by one", command, PACKAGES, table(HEAD, rows), WORDS))


if __name__ == "__main__":
    main()
