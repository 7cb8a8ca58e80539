"""Inputs that nobody wrote: mutations of what ftev itself writes, and whoever reads them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import random
import resource
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import polars as pl
from ftev.core.catalog.run_facts import glance, read_facts, status_of
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.config.config_file import check_config, dump_config, load_config
from ftev.core.data.demo import write_demo
from ftev.core.errors import FtevError
from ftev.core.files.disk import process_start
from ftev.core.files.reading import decode_toml
from ftev.core.judgement.preflight import check_run
from ftev.core.report.report import build_report, render_markdown
from ftev.core.run import control, events
from ftev.core.run.event_lines import use_history
from ftev.core.run.runs import Run, WorkerInfo, create_run

MEMORY = Path("/dev/shm")
ONCE_FAILED = Path(__file__).parent / "once_failed"
SAMPLES = Path(__file__).parents[1] / "sample_runs"
SECONDS = 2.0  # of a processor that one input may take
GROWTH = 512  # MiB that a whole course of inputs may add to the process
WORDS = (
    *(
        b"null",
        b"true",
        b"NaN",
        b"1e999",
        b"-1",
        b"0",
        b"100000",
        b"9223372036854775807",
        b"9" * 400,
    ),
    *(b"18446744073709551615", b"18446744073709551616", b"1e-320"),
    *(b"[]", b"{}", b'""', b"[" * 150, b'"\\ud800"', b'"\\u0000"', b"[1]", b'{"a":1}', b"1.5"),
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x80\xae", b"\x1b[2J"),
    *(b'"', b"'", b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\\", b":", b"=", b"[", b"]"),
    *(b"{", b"}", b"#", b" ", b"-", b".", b"e", b"text", b"label", b"messages", b"prompt"),
    *(b"completion", b"\xf0\x9f\x98\x80" * 9, b"a" * 5000, b"\xef\xb7\xba" * 50, b"sep=;\n"),
)


@dataclass
class Target:
    """A reader, and inputs of the kind that it is made for."""

    corpus: list[bytes]
    read: Callable[[bytes], object]  # raises FtevError for what it refuses, and nothing else
    made: Callable[[random.Random], bytes] | None = None  # an input that no mutation leads to


@dataclass
class Tried:
    """What came of many inputs."""

    count: int = 0
    refused: int = 0
    slowest: float = 0.0  # seconds
    growth: int = 0  # MiB
    failed: dict[str, bytes] = field(default_factory=dict)  # fault -> the shortest such input

    def add(self, fault: str, data: bytes) -> None:
        if len(data) < len(self.failed.get(fault, data + b" ")):
            self.failed[fault] = data


class TooSlow(BaseException):
    pass


def inputs(target: Target, count: int, seed: int) -> Iterator[bytes]:
    """The corpus, then so many mutations of it."""
    rng = random.Random(seed)
    yield from target.corpus
    for _ in range(count):
        if target.made and rng.random() < 0.3:
            yield target.made(rng)
        else:
            yield mutated(rng.choice(target.corpus), target.corpus, rng)


def mutated(data: bytes, corpus: list[bytes], rng: random.Random) -> bytes:
    """One to eight changes: bits, bytes, words, pieces left out, doubled, moved or from others."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice((1, 2, 4, 20, 200)))
        kind = rng.randrange(8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at:end] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 5)))
        elif kind == 2:
            out[at:at] = rng.choice(WORDS)
        elif kind == 3:
            out[slice(*_value(out, rng))] = rng.choice(WORDS)
        elif kind == 4:
            del out[at:end]
        elif kind == 5:
            out[at:at] = out[at:end] * rng.choice((1, 1, 2, 30))
        elif kind == 6:
            other = rng.choice(corpus)
            start = rng.randrange(len(other) + 1)
            out[at:end] = other[start : start + rng.choice((4, 40, 400))]
        else:
            del out[at if rng.random() < 0.2 else len(out) :]
    return bytes(out)


def _value(data: bytearray, rng: random.Random) -> tuple[int, int]:
    """Where some value begins and ends: between two marks that stand between values."""
    marks = [i for i, byte in enumerate(data) if byte in b',:=\n\t"{}[]']
    if not marks:
        return 0, len(data)
    i = rng.randrange(len(marks))
    return marks[i] + 1, marks[i + 1] if i + 1 < len(marks) else len(data)


def try_each(target: Target, given: Iterable[bytes]) -> Tried:
    """Read each input; what raises anything but FtevError, or takes too long, has failed."""

    def too_slow(*_: object) -> None:
        raise TooSlow

    tried, before = Tried(), _most_memory()
    old = signal.signal(signal.SIGALRM, too_slow)
    try:
        for data in given:
            tried.count += 1
            started = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, 15 * SECONDS)  # others may have the processor
            try:
                target.read(data)
            except FtevError as error:
                tried.refused += 1
                if not str(error).strip():
                    tried.add("refused without a word", data)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # polars panics with one that is no Exception
                tried.add(_told(error), data)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            took = time.process_time() - started
            tried.slowest = max(tried.slowest, took)
            if took > SECONDS:
                tried.add(f"took more than {SECONDS:g} s", data)
    finally:
        signal.signal(signal.SIGALRM, old)
    tried.growth = _most_memory() - before
    if tried.growth > GROWTH:
        tried.add(f"the process grew by more than {GROWTH} MiB", b"")
    return tried


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _told(error: BaseException) -> str:
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "/ftev/" in f.filename]
    last = (ours or traceback.extract_tb(error.__traceback__))[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:90]}"


# Readers


def data_target(ending: str) -> Callable[[Path], AbstractContextManager[Target]]:
    """What `check` does with a file of rows, for both tasks, bad rows refused or left out."""

    @contextmanager
    def target(folder: Path) -> Iterator[Target]:
        frames = list(_frames(folder))
        path = folder / f"train.{ending}"
        configs = [
            RunConfig(
                task=task,
                model=ModelConfig(base="none"),
                data=DataConfig(train=path.name, validation=0.25, bad_rows=bad_rows),
                folder=str(folder),
            )
            for task in ("classification", "generation")
            for bad_rows in ("stop", "skip", "skip")
        ]

        def read(data: bytes) -> None:
            path.write_bytes(data)
            check_run(configs[crc32(data) % len(configs)])

        corpus = [_written(frame, ending) for frame in frames]
        corpus = [data for data in corpus if data]
        yield Target(corpus, read, _random_parquet if ending == "parquet" else None)

    return target


def _frames(folder: Path) -> Iterator[pl.DataFrame]:
    """Rows of each form, as the demo makes them."""
    write_demo("classification", folder)
    write_demo("generation", folder)
    labelled = pl.read_csv(folder / "train.csv")[:12]
    yield labelled
    yield labelled.select(
        text="review", label=pl.Series([0, 1] * 6), group=pl.Series(["a", "b"] * 6)
    )
    texts = pl.read_ndjson(folder / "train.jsonl")[:8]
    yield texts
    lines = texts["text"].str.split("\n")
    prompts, answers = lines.list.first(), lines.list.last()
    yield pl.DataFrame({"prompt": prompts, "completion": answers})
    chats = [
        [
            {"role": "system", "content": "Be brief", "weight": None},
            {"role": "user", "content": a, "weight": None},
            {"role": "assistant", "content": b, "weight": i % 2 or None},
        ]
        for i, (a, b) in enumerate(zip(prompts, answers, strict=True))
    ]
    yield pl.DataFrame({"messages": chats, "id": range(len(chats))})


def _written(frame: pl.DataFrame, ending: str) -> bytes:
    if ending == "json":
        return json.dumps(frame.to_dicts(), indent=1).encode()
    if ending == "jsonl":
        return frame.write_ndjson().encode()
    if ending == "parquet":
        file = io.BytesIO()
        frame.write_parquet(file)
        return file.getvalue()
    nested = any(dtype.is_nested() for dtype in frame.dtypes)
    return b"" if nested else frame.write_csv().encode()


SCALARS = (
    None,
    True,
    False,
    0,
    1,
    -5,
    2**62,
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "a\0b",
    "é",
)
SCALARS += ("good", "bad", "a longer text with several words", "\u202e", b"\xff", b"")
NAMES = ("text", "label", "messages", "prompt", "completion", "review", "group", "", "a\nb", "role")


def _random_parquet(rng: random.Random) -> bytes:
    """A whole file of columns of any type, under names that mean something."""
    rows = rng.choice((0, 1, 3, 12))
    columns = {}
    for name in rng.sample(NAMES, rng.randrange(1, 5)):
        kind = rng.randrange(10)
        make = partial(rng.choice, rng.sample(SCALARS, 3))
        if kind == 0:
            values: list[Any] = [[make()] * rng.randrange(3) for _ in range(rows)]
        elif kind == 1:
            values = [
                [{"role": rng.choice(("user", "assistant", None)), "content": make()}] * 2
                for _ in range(rows)
            ]
        elif kind == 2:
            values = [{"a": make(), "content": make()} for _ in range(rows)]
        elif kind < 6:
            values = [f"row {rng.randrange(9)} of a text" for _ in range(rows)]
        else:
            values = [make() for _ in range(rows)]
        series = _series(name, values)
        if kind > 7:
            wanted = (pl.Binary, pl.Date, pl.Datetime("ns"), pl.Duration, pl.Time, pl.Categorical)
            wanted += (pl.Decimal(10, 2), pl.Int8, pl.UInt64, pl.Float32, pl.Null, pl.Boolean)
            with contextlib.suppress(pl.exceptions.PolarsError):
                series = series.cast(rng.choice(wanted), strict=False)
        columns[name] = series
    file = io.BytesIO()
    try:
        pl.DataFrame(columns).write_parquet(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OverflowError):
        return _random_parquet(rng)
    return file.getvalue()


def _series(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        return pl.Series(name, [str(value) for value in values])


@contextmanager
def config_target(folder: Path) -> Iterator[Target]:
    """run.toml, read, written out whole and read again: the same configuration."""
    path = folder / "run.toml"
    demos = [write_demo(task, folder).read_bytes() for task in ("classification", "generation")]
    whole = [dump_config(load_config(path)).encode()]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    whole.append(readme.partition("```toml\n")[2].partition("```")[0].encode())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        config = load_config(path)
        again = check_config(decode_toml(dump_config(config)))
        assert dump_config(again) == dump_config(config), "another configuration when read again"

    yield Target(demos + whole, read)


@contextmanager
def events_target(folder: Path) -> Iterator[Target]:
    """Events of sample runs: the facts of a list, and each tenth time the report."""
    names = ("classification", "generation")
    corpus = [(SAMPLES / name / "events.jsonl").read_bytes() for name in names]
    run = Run(folder)
    (folder / "run.toml").write_bytes((SAMPLES / names[0] / "run.toml").read_bytes())
    corpus = [_without_steps(data) for data in corpus]

    def read(data: bytes) -> None:
        run.events_path.write_bytes(data)
        status_of(run, glance(run))
        status_of(run, read_facts(run))
        list(events.EventReader(run.events_path, 1 << 16).read_all())
        if crc32(data) % 10 == 0:
            use_history(run, lambda history: render_markdown(build_report(run, history)))

    yield Target(corpus, read)


def _without_steps(data: bytes) -> bytes:
    """Few enough lines that a mutation meets each kind."""
    lines = data.splitlines(keepends=True)
    seen: dict[str, int] = {}
    kept = []
    for line in lines:
        kind = msgspec.json.decode(line)["kind"]
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= 4:
            kept.append(line)
    return b"".join(kept)


@contextmanager
def requests_target(folder: Path) -> Iterator[Target]:
    """Lines on a worker's socket, answered by the models of the demo as a worker answers them."""
    from ftev.core.engine.answering.answer import answer_question
    from ftev.core.engine.worker.session import Session
    from ftev.core.run.listen import Listener

    write_demo("generation", folder)
    config = load_config(folder / "run.toml", ["model.max_length=32"])  # no answer is long
    run = create_run(config, folder)
    asked = [
        control.AskStatus(),
        control.AskStop(),
        control.AskPause(),
        control.AskResume(),
        control.AskCheckpoint(),
        control.AskTrace(text="O gentle"),
        control.AskPrompt(text="When I", max_new_tokens=2),
        control.AskPrompt(
            text="When",
            max_new_tokens=2,
            temperature=0.5,
            top_k=3,
            top_p=0.9,
            seed=1,
            likelihoods="all",
            details=True,
            checkpoint=5,
            models=["tuned", "base"],
        ),
    ]
    ended = threading.Event()
    broke: queue.Queue[BaseException] = queue.Queue()
    with ExitStack() as opened:
        listener = opened.enter_context(Listener(run))
        s = Session(run, config, None, listener)
        s.tuned, s.form = s.load(config.model.base), "text"
        s.keep_base(s.load(config.model.base))

        def work() -> None:
            while not ended.is_set():
                with contextlib.suppress(queue.Empty):
                    question = listener.questions.get(timeout=0.2)
                    try:
                        answer_question(s, question, holding=True)
                    except BaseException as error:  # here it would end the run
                        broke.put(error)
                        question.answers.put(control.Failed(text="the worker is dead"))

        worker = threading.Thread(target=work)
        worker.start()
        opened.callback(worker.join)
        opened.callback(ended.set)

        def read(data: bytes) -> None:
            line = data.replace(b"\n", b" ") + b"\n"
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.settimeout(10 * SECONDS)
                door.connect(str(listener._path))
                door.sendall(line)
                with door.makefile("rb") as answers:
                    lines = [control._replies.decode(answer) for answer in answers]
            if not broke.empty():
                raise broke.get()
            assert lines, "no answer"
            assert isinstance(lines[-1], control.Done | control.Failed), f"ended by {lines[-1]!r}"

        yield Target([control.encode_message(each)[:-1] for each in asked], read)


@contextmanager
def replies_target(folder: Path) -> Iterator[Target]:
    """Lines that come back from a worker's socket, as whoever asked reads them."""
    answers = [
        control.StatusReply(state="training", step=3),
        control.Accepted(text="saving after this step"),
        control.TokenMade(model="base", text=" the", log_likelihood=-0.5),
        control.Labelled(model="tuned", name="tuned", probabilities={"good": 0.75, "bad": 0.25}),
        control.Completed(
            model="tuned",
            text="tea",
            tokens=1,
            seconds=0.1,
            ended_by_eos=True,
            likelihoods=[control.ScoredToken(" tea", -1.5, 2, [(" tea", 0.5)])],
        ),
        control.Failed(text="the worker has ended"),
        control.Done(),
    ]
    run, door = Run(folder), folder / "door"
    given: list[bytes] = []
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listening.bind(str(door))
        listening.listen()
        pid = os.getpid()
        info = WorkerInfo(pid, process_start(pid), socket.gethostname(), str(door))
        run.worker_path.write_bytes(msgspec.json.encode(info))

        def answer() -> None:
            while True:
                line, _ = listening.accept()
                with line, line.makefile("rb") as asked, contextlib.suppress(OSError):
                    if not asked.readline():
                        return
                    line.sendall(given.pop())

        worker = threading.Thread(target=answer)
        worker.start()

        def hang_up() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.connect(str(door))
            worker.join()

        opened.callback(hang_up)

        def read(data: bytes) -> None:
            given.append(data)
            list(control.ask(run, control.AskStatus(), 10 * SECONDS))

        yield Target(
            [b"".join(map(control.encode_message, answers)), *map(control.encode_message, answers)],
            read,
        )


TARGETS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {
    **{name: data_target(name) for name in ("csv", "jsonl", "json", "parquet")},
    "toml": config_target,
    "events": events_target,
    "requests": requests_target,
    "replies": replies_target,
}


@contextmanager
def opened(name: str) -> Iterator[Target]:
    """A reader, with a folder in memory where there is one."""
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder, TARGETS[name](Path(folder)) as target:
        yield target
