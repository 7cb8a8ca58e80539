"""`ftev-tui demo`: the embedded default, offline."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.run.runs import runs_folder
from .start import announce, start

FOLDER = "demo_data"  # beside the runs: the data can be looked at, and made again


def run(options: argparse.Namespace) -> int:
    announce(options, f"{options.task} demo, made up on this machine")
    from ...core.config.config_file import load_config
    from ...core.demo import write_demo

    config = load_config(write_demo(options.task, demo_folder(options)), options.overrides)
    options.full_report = True
    return start(config, options)


def demo_folder(options: argparse.Namespace) -> Path:
    return runs_folder(options.runs_dir) / FOLDER / str(options.task)
