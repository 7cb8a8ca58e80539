"""Writes docs/settings.md from the fields of the configuration: python tests/make_settings.py"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import get_type_hints

from ftev.core.config.config import GuardrailConfig, RunConfig
from ftev.core.config.fields import Setting, sentences_of, settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """\
# Settings

Every setting of `run.toml`. This page is made from the configuration itself
(`python tests/make_settings.py`), as are the form of the screen, `check` and `--set SETTING=VALUE`.
A name with a dot stands in a section: `train.epochs` is `epochs` under `[train]`. NaN and
infinities are refused everywhere.
"""


def page() -> str:
    return "\n".join([HEAD, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    known = [
        s for s in settings(RunConfig) if s.path not in ("folder", "guardrail")
    ]  # ftev writes `folder`
    sentences = {s.path: s.sentence for s in _tables()}
    names = dict.fromkeys(s.path.rpartition(".")[0] for s in known)
    for name in names:
        yield f"## `[{name}]`\n" if name else "## At the top\n"
        if name in sentences:
            yield f"{sentences[name]}\n"
        yield from _table(s for s in known if s.path.rpartition(".")[0] == name)
    yield "## `[[guardrail]]`\n"
    yield "What must also hold for a model to ship: a table each, as many as are wanted.\n"
    yield from _table(settings(GuardrailConfig))


def _tables() -> Iterator[Setting]:
    """The sections themselves have a sentence, as settings do."""
    for name, hint in get_type_hints(RunConfig).items():
        yield Setting(name, hint, None, sentences_of(RunConfig).get(name, ""))


def _table(rows: Iterable[Setting]) -> Iterator[str]:
    yield "| setting | value | default | |"
    yield "|---|---|---|---|"
    for s in rows:
        name = s.path.rpartition(".")[2]
        sentence = s.sentence.replace("|", "\\|")
        yield f"| `{name}` | {s.takes} | {_default(s)} | {sentence} |"
    yield ""


def _default(s: Setting) -> str:
    if s.required:
        return "must be given"
    if s.default is None or s.default == "" or s.default is MISSING:
        return "–"
    return f"`{json.dumps(s.default, ensure_ascii=False)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
