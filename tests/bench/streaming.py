"""What the events cost a training run, also on a slow disk, and that no step waits for the GPU.

    python tests/bench/streaming.py [--rounds 10] [--seconds 2]

Every turn goes on with the same training: a worker's loop with its events, its listener and its
telemetry (sampled five times as often as in a run, so that each turn has its share), or the bare
loop `for step in train(t): pass`. The bare loop has two turns a round: how far these two lie apart
is the noise. A slow disk is a file whose every write takes 30 ms.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in a worker
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from device_waits import Waits
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.data import demo
from ftev.core.engine.models import devices
from ftev.core.engine.models.load import load_tokenizer
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.training import train as training_loop
from ftev.core.engine.training.best import Best
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, plan_training
from ftev.core.engine.worker.outbox import Outbox
from ftev.core.engine.worker.session import Session
from ftev.core.run.events import EventReader, EventWriter, StepDone
from ftev.core.run.listen import Listener
from ftev.core.run.runs import Run
from measure import section, table
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

WRITE_SECONDS = 0.03  # of a slow disk
LABELS = ("no", "yes")
BERT = {"vocab_size": 2214, "max_position_embeddings": 256}
TINY = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
MINI = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}


class SlowFile:
    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, lines: bytes) -> int:
        time.sleep(WRITE_SECONDS)
        return int(self._file.write(lines))

    def close(self) -> None:
        self._file.close()


class Direct(EventWriter):
    """Events written by the loop itself, for comparison."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._writer = self

    def __enter__(self) -> Direct:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def flush(self) -> None:
        pass


class Timed:
    """Where a session writes; counts the seconds that the loop spends on it."""

    def __init__(self, kind: type[Outbox | Direct], slow: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.run = Run(Path(self.folder.name))
        self.log = kind(self.run.events_path)
        self.seconds, self.steps = 0.0, 0
        if slow:
            writer: Any = self.log._writer
            writer._file = SlowFile(writer._file)
        self.log.__enter__()

    def write(self, *events: Any) -> None:
        started = time.perf_counter()
        self.log.write(*events)
        self.seconds += time.perf_counter() - started

    def flush(self) -> None:
        self.log.flush()

    def close(self) -> None:
        """Asserts that every step stands in the file, in order."""
        self.log.__exit__()
        events = EventReader(self.run.events_path).read_all()
        numbers = [e.step for e in events if isinstance(e, StepDone)]
        assert len(numbers) == self.steps, f"{self.steps - len(numbers)} events are missing"
        assert numbers == sorted(numbers)
        self.folder.cleanup()


def trainer(task: str, shape: dict[str, int], lengths: list[int], **settings: Any) -> Trainer:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    rows = TokenRows(row_ids=list(range(len(lengths))))
    rows.ids = [rng.integers(5, 300, n).astype(np.int32) for n in lengths]
    shape = {**shape, "intermediate_size": 4 * shape["hidden_size"]}
    model: Any
    if task == "classification":
        rows.labels = rng.integers(0, 2, len(lengths))
        model = BertForSequenceClassification(BertConfig(**BERT, **shape))
    else:
        rows.scored = [np.arange(n) > 0 for n in lengths]
        model = LlamaForCausalLM(LlamaConfig(vocab_size=1000, **shape))
    if torch.cuda.is_available():
        model.to("cuda")
    name = "encoder" if task == "classification" else "causal"
    tokenizer = load_tokenizer(str(Path(demo.__file__).parent / "models" / name))
    asked = TrainConfig(**settings)
    loaded = Loaded(model, tokenizer, 256, LABELS if task == "classification" else ())
    return Trainer(loaded, rows, plan_training(rows, asked), asked)


class Turns:
    """The same training, a few steps a turn."""

    def __init__(self, t: Trainer, seconds: float) -> None:
        self.t, self.inside, self.cpu, self.wall = t, 0.0, 0.0, 0.0
        self._steps = train(t)
        for _ in itertools.islice(self._steps, 5):
            pass
        started = time.perf_counter()
        for _ in itertools.islice(self._steps, 10):
            pass
        self.step_seconds = (time.perf_counter() - started) / 10
        self.count = max(10, round(seconds / self.step_seconds))
        training_loop.train = self._next  # type: ignore[assignment]
        training_loop.save_checkpoint = lambda *_: None  # type: ignore[assignment, return-value]

    def _next(self, _: Trainer) -> Iterator[Any]:
        for _ in range(self.count):
            spent = time.thread_time()
            step = next(self._steps)
            self.inside += time.thread_time() - spent
            yield step

    def _timed(self, work: Callable[[], object]) -> None:
        begun, spent = time.perf_counter(), time.process_time()
        work()
        self.cpu, self.wall = time.process_time() - spent, time.perf_counter() - begun

    def bare(self) -> None:
        def loop() -> None:
            for _ in self._next(self.t):
                pass

        self._timed(loop)

    def with_events(self, events: Timed) -> None:
        config = RunConfig(task="classification", model=ModelConfig(base="none"))
        events.steps += self.count
        with Listener(events.run) as listener:
            s = Session(events.run, config, events, listener)  # type: ignore[arg-type]
            with devices.Telemetry(s.write, s.device):
                self._timed(lambda: training_loop.between_steps(s, self.t, Best()))


def cost(turns: Turns, rounds: int) -> dict[str, tuple[float, float, float, float]]:
    """Of each side in %: CPU beside the steps, wall more than bare, half its spread, writing."""
    logs = {
        "every event": Timed(Outbox, slow=False),
        "every event, slow disk": Timed(Outbox, slow=True),
        "slow disk, written by the loop itself": Timed(Direct, slow=True),
    }
    sides: dict[str, Callable[[], None]] = {"none": turns.bare, "none, once more": turns.bare}
    sides |= {name: lambda log=log: turns.with_events(log) for name, log in logs.items()}
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu, inside = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for r in range(rounds):
        for name in [*sides] if r % 2 else [*reversed(sides)]:
            turns.inside = 0.0
            sides[name]()
            cpu[name] += turns.cpu
            wall[name].append(turns.wall)
            inside[name] += turns.inside
        print(".", end="", file=sys.stderr, flush=True)
    found = {}
    for name in list(sides)[1:]:
        more = [100 * (a / b - 1) for a, b in zip(wall[name], wall["none"], strict=True)]
        low, middle, high = statistics.quantiles(more, n=4)
        writing = 100 * logs[name].seconds / sum(wall[name]) if name in logs else 0.0
        beside = 100 * (cpu[name] / inside[name] - 1)
        found[name] = (beside, middle, (high - low) / 2, writing)
    for log in logs.values():
        log.close()
    return found


def waits() -> list[list[str]]:
    """How often steps would make a GPU answer, by task and padding."""
    found = []
    for task in ("classification", "generation"):
        for lengths in ([20] * 24, [5, 9, 20, 13] * 6):
            t = trainer(task, TINY, lengths, batch_size=6, epochs=2.0)
            with Waits() as seen:
                steps = list(train(t))
            kind = "padded" if len(set(lengths)) > 1 else "not padded"
            result = ", ".join(f"{v} {k}" for k, v in seen.found.items()) or "none"
            found.append([f"{task}, {kind}", f"{len(steps)}", f"{seen.calls:,}", result])
            assert len(read_steps(steps)) == len(steps)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    args = parser.parse_args()
    torch.set_num_threads(1)  # so that a step is the main thread's time
    devices.SAMPLE_SECONDS = 1.0
    rows = []
    for words, shape, length in (
        ("1 M parameters, 8 × 32 tokens", TINY, 32),
        ("11 M parameters, 4 × 32 tokens", MINI, 32),
    ):
        size = 8 if shape is TINY else 4
        many = trainer("classification", shape, [length] * 4_000, batch_size=size, epochs=50.0)
        turns = Turns(many, args.seconds)
        for name, (cpu, wall, spread, writing) in cost(turns, args.rounds).items():
            side = f"{words}, {1000 * turns.step_seconds:.0f} ms a step: {name}"
            text = f"{wall:+.1f} % (± {spread:.1f})"
            rows.append([side, f"{cpu:+.2f} %", text, f"{writing:.2f} %"])
    print(file=sys.stderr)
    print(
        section(
            "What streaming costs a run",
            f"python tests/bench/streaming.py --rounds {args.rounds}",
            ("torch", "transformers", "accelerate"),
            "The loop of a worker against `for step in train(t): pass`, in turns on the same "
            "training. CPU: of the whole process, all that is not spent inside the steps, in "
            "relation to them. Wall: against the bare loop, the median over the rounds with half "
            "its middle spread (a busy machine shows in it). Writing: the share of the wall that "
            "the loop spends handing events over. On a slow disk every write takes "
            f"{1000 * WRITE_SECONDS:.0f} ms. Checkpoints are not counted.",
            table(["", "CPU beside the steps", "wall", "writing"], rows),
            "What would make a GPU answer inside a step (`.item()`, `nonzero`, a mask as index):",
            table(["training", "steps", "operations seen", "waits"], waits()),
            "Losses and gradient norms come back in one transfer about four times a second, "
            "between two steps. Models whose own code reads from the device (some mixtures of "
            "experts) wait there all the same.",
        )
    )


if __name__ == "__main__":
    main()
