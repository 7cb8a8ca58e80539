"""The sections of a report: each a file, with a function from `ftev.report/1` to blocks.

A section that has nothing to say gives no blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..blocks import Block
from .parity import parity

Section = Callable[[Mapping[str, Any]], list[Block]]

SECTIONS: tuple[Section, ...] = (parity,)
