"""`ftev-tui`: the commands, their flags, and what becomes of an error.

Start-up is paid before every first paint: only the standard library is imported here, and each
command's file when it is called.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the working directory: a file there may bear the name of a library

import argparse
import contextlib
import errno
import importlib
import os
from collections.abc import Callable, Iterator

from .. import __version__
from ..core.errors import FtevError
from ..core.report.formats import FORMATS

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1, 2, 3 or 130, as promised."""
    if sys.stdout is None:  # closed before we began
        if sys.stderr is not None:
            print("ftev: stdout is closed: there is nowhere to write to", file=sys.stderr)
        return FtevError.exit_code
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without UTF-8 gets \u2192, not a crash
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    module, _, function = options.module.partition(".")
    command = importlib.import_module(f".commands.{module}", __package__)
    try:
        code: int = getattr(command, function or "run")(options)
        # Here, where a full disk or a closed pipe can still be answered; Python's own flush at exit
        # cannot.
        sys.stdout.flush()
    except FtevError as error:
        return _show_faults(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        _give_up_stdout()
        return 0
    except OSError as error:
        if not _is_of_writing(error):
            raise
        _give_up_stdout()
        print(f"ftev: could not write: {error.strerror}", file=sys.stderr)
        return FtevError.exit_code
    return code


def _is_of_writing(error: OSError) -> bool:
    """Whether what failed was writing into what is open, as stdout is: that names no file."""
    full = (errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT, errno.EFBIG)
    return error.filename is None and error.errno in full


def _give_up_stdout() -> None:
    """What is still buffered goes nowhere, so that leaving cannot fail on it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_faults(error: FtevError) -> int:
    from ..core.wording.text import visible_lines

    for fault in error.faults:
        # what follows a break is set in: text of a file or a name is no message of ours
        first, *others = visible_lines(str(fault))
        lines = [f"ftev: {first}", *(f"    {line.lstrip()}" for line in others)]
        print("\n".join(lines), file=sys.stderr)
    return error.exit_code


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags; `module` is the file of `commands/` that carries it out.

    A file that carries out several has a function for each: `module` is then FILE.FUNCTION.
    """
    parser = argparse.ArgumentParser(
        prog="ftev-tui",
        description="Fine-tune a model, watch it, talk to it, and see whether it is really better.",
        epilog="RUN is a directory, a name or unique prefix in the runs directory, or `latest`.",
        parents=[_everywhere()],
    )
    version = f"ftev {__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version")
    parser.set_defaults(
        module="open",
        command=None,
        json=False,
        runs_dir=None,
        theme="auto",
        ascii=False,
        gate=False,
    )
    commands = _Commands(parser, _everywhere())
    _add_starting(commands)
    _add_looking(commands)
    _add_steering(commands)
    _add_models(commands)
    return parser


def _everywhere() -> argparse.ArgumentParser:
    """Flags that are taken before and after the command's name.

    Made anew for the program and for its commands: a parser's defaults are set on its parents'
    flags, and a command's default would undo what was given before its name.
    """
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--json", action="store_true", help="one JSON document on stdout")
    shared.add_argument(
        "--runs-dir", metavar="DIR", help="where runs are kept (FTEV_RUNS, else ./runs)"
    )
    shared.add_argument("--theme", metavar="NAME", help="colours of the screen (auto)")
    shared.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    return shared


class _TaskNames:
    """Looked up only when a task is given or asked about: they bring the table of metrics."""

    def __iter__(self) -> Iterator[str]:
        from ..core.tasks import NAMES

        return iter(NAMES)


class _Commands:
    """Adds commands to a parser; each is carried out by the file of its name in `commands/`."""

    def __init__(self, parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
        self._parsers = parser.add_subparsers(metavar="COMMAND", title="commands")
        self._shared = shared

    def add(self, name: str, module: str, does: str) -> argparse.ArgumentParser:
        parser = self._parsers.add_parser(
            name, help=does, description=f"{does[0].upper()}{does[1:]}.", parents=[self._shared]
        )
        parser.set_defaults(module=module, command=name)
        return parser

    def add_for_run(self, name: str, module: str, does: str) -> argparse.ArgumentParser:
        parser = self.add(name, module, does)
        parser.add_argument("run", metavar="RUN", help="directory, name, unique prefix or `latest`")
        return parser


def _add_starting(commands: _Commands) -> None:
    demo = commands.add("demo", "train", "fine-tune a tiny model on made-up data, offline")
    demo.add_argument("--task", choices=DEMOS, default=DEMOS[0])
    demo.add_argument(
        "--keep",
        metavar="DIR",
        nargs="?",
        const="",
        help="write its data and run.toml there (default: demo_TASK); starts nothing",
    )
    _add_how(demo)

    train = commands.add("train", "train", "start a run and open its screen")
    train.add_argument("config", metavar="RUN.toml")
    _add_how(train)

    evaluate = commands.add(
        "eval", "train.evaluate", "evaluate two existing models on the same rows"
    )
    evaluate.add_argument("config", metavar="RUN.toml", nargs="?")
    evaluate.add_argument("--base", metavar="M", help="hub id or folder of the base model")
    evaluate.add_argument("--tuned", metavar="M", help="hub id or folder of the tuned model")
    evaluate.add_argument("--data", metavar="FILE", help="rows that both are scored on")
    evaluate.add_argument(
        "--task",
        metavar="TASK",
        choices=_TaskNames(),
        help="%(choices)s; default: what the tuned model was made for",
    )
    evaluate.add_argument(
        "--self-test",
        action="store_true",
        help="print how far scores drift in other batches and paddings; 1 if they change",
    )
    _add_how(evaluate)

    judge = commands.add("judge", "judge", "a verdict from predictions made anywhere; no torch")
    judge.add_argument("files", metavar="FILE", nargs="+", help="one file, or base and tuned")
    judge.add_argument("--task", metavar="TASK", choices=_TaskNames(), help="%(choices)s")
    judge.add_argument("--objective", metavar="OBJ.toml", help="what counts as good enough")
    judge.add_argument("--name", metavar="N", help="name of the run")
    _add_gate(judge)

    sweep = commands.add("sweep", "sweep", "many runs over a grid or at random; validation chooses")
    sweep.add_argument("config", metavar="SWEEP.toml")
    _add_settings(sweep)
    sweep.add_argument("--dry-run", action="store_true", help="list the runs; start nothing")
    sweep.add_argument("--retry", action="store_true", help="also go on with runs that failed")
    sweep.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const="auto",
        help="on a Ray cluster that is there already (needs ftev[ray])",
    )
    _add_gate(sweep)

    check = commands.add("check", "check", "look at the data of a config; starts nothing")
    check.add_argument("config", metavar="RUN.toml")
    _add_settings(check)


DEMOS = ("classification", "generation")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        metavar="SECTION.NAME=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="override a setting of the config; may be repeated",
    )


def _add_how(parser: argparse.ArgumentParser) -> None:
    _add_settings(parser)
    _add_where_shown(parser).add_argument(
        "--prepare", action="store_true", help="make the run's directory, start nothing; print it"
    )


def _add_where_shown(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--headless", action="store_true", help="print progress and return the outcome"
    )
    how.add_argument(
        "--detach", action="store_true", help="return when the worker listens; print the run"
    )
    _add_gate(parser)
    return how


def _add_gate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gate", action="store_true", help="exit with 3 unless the verdict is to ship"
    )


def _add_looking(commands: _Commands) -> None:
    opened = commands.add_for_run(
        "open", "open", "attach to a run, replay one, or follow the log of another tool by its path"
    )
    opened.add_argument(
        "--run", dest="of_log", metavar="NAME", help="which run of a log that holds several"
    )
    commands.add("list", "list_runs", "the runs, newest first, each with its headline")
    commands.add(
        "samples", "list_runs.copy_samples", "two finished runs to look at, without weights"
    )
    commands.add_for_run("status", "steer.show_status", "where a run stands")
    report = commands.add_for_run("report", "report", "the metrics report of a run")
    report.add_argument(
        "--format",
        metavar=",".join(FORMATS),
        help="write these files; without it the report is printed",
    )
    report.add_argument("--out", metavar="DIR", help="where to write (default: the run's folder)")
    _add_gate(report)
    commands.add_for_run(
        "verify", "flips.verify_run", "recompute every headline number from the stored rows"
    )
    _add_judging(commands)
    _add_explaining(commands, report)
    serve = commands.add("serve", "serve", "the same screen in a browser on this machine")
    serve.add_argument("run", metavar="RUN", nargs="?", help="without it, all runs")
    serve.add_argument("--host", default="127.0.0.1", metavar="H", help="who may reach it")
    serve.add_argument("--port", type=_at_least(1), default=8000, metavar="N")
    commands.add("doctor", "doctor", "Python, packages, GPU, terminal: what works here")


def _add_judging(commands: _Commands) -> None:
    flips = commands.add_for_run("flips", "flips", "the rows that the tuned model fixed and broke")
    flips.add_argument(
        "--kind",
        choices=("fixed", "broke", "wrong", "right", "fell", "rose"),
        help="only these (fell, rose: rows by their loss, generation)",
    )
    flips.add_argument("--split", metavar="S", help="default: test, else validation")
    flips.add_argument("--limit", type=_at_least(1), default=20, metavar="N", help="rows per kind")

    compare = commands.add("compare", "compare", "runs side by side, paired where rows agree")
    compare.add_argument(
        "runs", metavar="RUN", nargs="+", help="two or more; the first is the baseline"
    )
    compare.add_argument("--split", metavar="S", help="default: the first that every run has")
    compare.add_argument("--metric", metavar="NAME", help="default: what the baseline declared")
    compare.add_argument("--model", metavar="M", default="tuned", help="of each run (tuned)")

    review = commands.add_for_run("review", "review", "judge answers blind, and see who won")
    review.add_argument(
        "--summary", action="store_true", help="print which was which, and the result"
    )
    review.add_argument("--yes", action="store_true", help="unblind before all pairs are judged")
    review.add_argument("--reviewer", metavar="NAME", default="reviewer", help="who judges")
    review.add_argument("--seed", type=int, default=0, metavar="N", help="of sides and order")
    review.add_argument("--plain", action="store_true", help="line by line, without a screen")


def _add_explaining(commands: _Commands, report: argparse.ArgumentParser) -> None:
    report.add_argument(
        "--explain", metavar="METRIC", help="how this metric was made, and what it means"
    )
    report.add_argument(
        "--split", metavar="S", help="with --explain: default the split that the verdict reads"
    )
    report.add_argument("--model", metavar="M", default="tuned", help="with --explain (tuned)")
    explain = commands.add(
        "explain", "report.explain_term", "what a metric, a finding or a term means"
    )
    explain.add_argument("term", metavar="TERM", nargs="*", help="without it every term is listed")
    quiz = commands.add_for_run("quiz", "report.quiz", "three questions about a run's own numbers")
    quiz.add_argument(
        "--answers", metavar="a,b,c", help="answer without being asked, one letter per question"
    )
    quiz.add_argument("--seed", type=int, default=0, metavar="N", help="another order and choice")


def _add_steering(commands: _Commands) -> None:
    stop = commands.add_for_run(
        "stop", "steer", "save a resumable state, end the run, free the device"
    )
    stop.add_argument("--wait", action="store_true", help="return when its worker has ended")
    commands.add_for_run("pause", "steer", "pause training at the next step")
    commands.add_for_run("checkpoint", "steer", "save a checkpoint at the next step")
    resume = commands.add_for_run("resume", "steer", "go on with a paused or ended run")
    _add_where_shown(resume)
    resume.add_argument(
        "--devices", type=int, metavar="N", help="on this many devices instead of those before"
    )


def _add_models(commands: _Commands) -> None:
    prompt = commands.add_for_run("prompt", "prompt", "ask the base and the tuned model")
    prompt.add_argument("--text", metavar="T", required=True, help="the prompt; - reads stdin")
    prompt.add_argument("--text-pair", metavar="T", help="the second text, of a run on pairs")
    prompt.add_argument("--model", choices=("base", "tuned", "both"), default="both")
    prompt.add_argument("--max-new-tokens", type=_at_least(1), default=64, metavar="N")
    prompt.add_argument(
        "--temperature", type=_between(0), default=0.0, metavar="X", help="0 is greedy"
    )
    prompt.add_argument(
        "--top-k", type=_at_least(0), default=0, metavar="N", help="0 keeps every token"
    )
    prompt.add_argument("--top-p", type=_between(0, 1), default=1.0, metavar="X")
    prompt.add_argument("--seed", type=int, default=0, metavar="N")
    prompt.add_argument("--likelihoods", choices=("none", "generation", "all"), default="none")

    trace = commands.add_for_run("trace", "prompt.trace", "what happens to a text, layer by layer")
    trace.add_argument("--text", metavar="T", required=True, help="the text; - reads stdin")
    trace.add_argument("--text-pair", metavar="T", help="the second text, of a run on pairs")

    merge = commands.add_for_run(
        "merge", "prompt.merge", "the tuned model with its adapter merged into the weights"
    )
    merge.add_argument("--out", metavar="DIR", help="folder to write (RUN/merged)")
    merge.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="of the weights; auto: as the run is configured, else that of the base",
    )

    likelihood = commands.add(
        "likelihood", "prompt.likelihood", "average log-likelihood of a text under each model"
    )
    likelihood.add_argument(
        "--model",
        metavar="M",
        action="append",
        required=True,
        dest="models",
        help="hub id, folder or RUN's model folder; repeat it to compare",
    )
    likelihood.add_argument(
        "--tokens", action="store_true", help="every token: under each model, difference, rank"
    )
    what = likelihood.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="T", action="append", dest="texts", default=[])
    what.add_argument("--file", metavar="F", help="a text file, scored as one text")


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return whole


def _between(least: float, most: float = float("inf")) -> Callable[[str], float]:
    def number(text: str) -> float:
        if not least <= (value := float(text)) <= most:
            raise argparse.ArgumentTypeError(f"must lie between {least} and {most}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
