"""`ftev-tui train RUN.toml`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .start import announce, start


def run(options: argparse.Namespace) -> int:
    announce(options, f"reading {options.config}")
    from ...core.config.config_file import load_config

    return start(load_config(Path(options.config), options.overrides), options)
