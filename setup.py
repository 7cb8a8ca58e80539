"""What pyproject.toml cannot say: core/ and tui/ install as ftev.core and ftev.tui."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
ROOMS = ("core", "tui")
found = [name for room in ROOMS for name in (room, *(f"{room}.{p}" for p in find_packages(room)))]
page = (ROOT / "README.md").read_text(encoding="utf-8")
page = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n", "", page)  # an index has no files beside it
page = re.sub(r"\[([^\]]*)\]\((?!https?:|#)[^)]*\)", r"\1", page)
init = (ROOT / "ftev" / "__init__.py").read_text(encoding="utf-8")
version = re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE)
assert version is not None

setup(
    version=version[1],
    long_description=page,
    long_description_content_type="text/markdown",
    packages=["ftev", "ftev.sample_runs", *(f"ftev.{name}" for name in found)],
    package_dir={
        "ftev": "ftev",
        "ftev.sample_runs": "sample_runs",
        **{f"ftev.{room}": room for room in ROOMS},
    },
)
