"""The application as a page of a browser: `textual-serve` starts this module for each tab."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...core.run.runs import Run
from .app import FtevApp


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs_dir", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--theme", default="auto")
    options = parser.parse_args()
    run = Run(options.run) if options.run else None
    app = FtevApp(options.runs_dir, run, theme=options.theme)
    return app.run() or app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
