"""`ftev-tui serve [RUN]`: the same screen in a browser."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...core.errors import ConfigError, Fault
from ...core.run.foreign.imported import find_run
from ...core.run.launch import child_environment, python_command
from ...core.run.runs import Run, runs_folder
from .show import say

if TYPE_CHECKING:
    from aiohttp import web

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # reachable from this machine alone
# Keys are heard without a click, from the first picture on and where one comes back to the page.
FOCUS = """<script>
  const hear = () => document.querySelector(".xterm-helper-textarea")?.focus();
  new MutationObserver(hear).observe(document.body, {attributes: true, attributeFilter: ["class"]});
  window.addEventListener("focus", hear);
</script>"""
_FONT = re.compile(r"<link[^>]*fonts\.googleapis[^>]*>")


def run(options: argparse.Namespace) -> int:
    """Serves until interrupted. Raises ConfigError where it cannot listen."""
    folder = runs_folder(options.runs_dir)
    found = find_run(options.run, folder) if options.run else None
    server = _server(options, [str(folder), *([str(found.path)] if found else [])])
    if options.host not in LOOPBACK:
        say(
            f"ftev: warning: whoever reaches {options.host} port {options.port} can see these "
            "runs, stop them and prompt their models: there is no password and no encryption. "
            "Safer: the default host, and `ssh -L` to this machine"
        )
    shown = f"[{options.host}]" if ":" in options.host else options.host
    say(f"ftev: http://{shown}:{options.port}   ctrl+c ends it; runs go on")
    os.environ.update(child_environment())  # pages are processes with this one's environment
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")  # the browser's terminal
    try:
        server.serve()
    except OSError as error:  # the port is taken, or not ours to take
        remedy = "Choose another with --port"
        where = f"{shown}:{options.port}"
        raise ConfigError(Fault(where, f"cannot listen: {error.strerror}", remedy)) from None
    return 0


def _server(options: argparse.Namespace, places: list[str]) -> Any:
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        remedy = "Install it: pip install 'ftev[serve]'"
        raise ConfigError(Fault("serve", "textual-serve is not installed", remedy)) from None

    class Page(Server):  # type: ignore[misc]
        """Asks nothing of other hosts, and answers no page but its own."""

        def initialize_logging(self) -> None:
            """Not a line for each request."""

        async def on_startup(self, app: web.Application) -> None:
            """The command has said where it listens."""

        async def handle_index(self, request: web.Request) -> Any:
            self.public_url = f"{request.scheme}://{request.host}"
            response = await super().handle_index(request)
            response.text = _FONT.sub("", response.text).replace("</body>", FOCUS + "</body>")
            return response

        async def handle_websocket(self, request: web.Request) -> Any:
            if not is_own_page(request.headers.get("Origin", ""), request.host, options.host):
                raise web.HTTPForbidden(text="Another site's page asked for this one.")
            return await super().handle_websocket(request)

    command = python_command("ftev.tui.commands.serve", *places, "--theme", options.theme)
    return Page(shlex.join(command), options.host, options.port, title="ftev")


def is_own_page(origin: str, asked: str, host: str) -> bool:
    """Whether a page came from this server: not another site's, nor one under a borrowed name."""
    if urlsplit(origin).netloc != asked:
        return False
    return host not in LOOPBACK or urlsplit(f"//{asked}").hostname in LOOPBACK


def draw_page() -> int:
    """The application as one tab of a browser: the server starts this module for each."""
    from ..app.app import FtevApp

    parser = argparse.ArgumentParser()
    parser.add_argument("runs_dir", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--theme", default="auto")
    options = parser.parse_args()
    run = Run(options.run) if options.run else None
    app = FtevApp(options.runs_dir, run, theme=options.theme)
    return app.run() or app.return_code or 0


if __name__ == "__main__":
    sys.exit(draw_page())
