"""The sections of a report: each a decorated function in a file of this folder.

A section turns `ftev.report/1` into blocks, and gives none where it has nothing to say. A reader
who stops anywhere has read what matters more than the rest: the verdict first, the environment
last.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..blocks import SECTIONS, Block
from ..document import Report

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def show_all(report: Report) -> list[Block]:
    """The blocks of a whole report, in the order in which they are read."""
    in_order = sorted(SECTIONS, key=lambda section: section.place)
    return [block for section in in_order for block in section.show(report)]
