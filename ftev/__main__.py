"""`python -m ftev` is `ftev-tui`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory: a file there may bear the name of a library

from .tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
