"""The package as others import it: from a checkout, from elsewhere, and without its folder."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import ftev
import pytest
from ftev.core.config.config_file import load_config
from ftev.core.errors import FtevError
from ftev.tui import cli
from imports import ROOT
from waiting import patience

SAMPLE = ROOT / "sample_runs" / "classification"


def printed(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("safe", [(), ("-P",)], ids=["cwd on the path", "without it"])
@pytest.mark.parametrize("here", [True, False], ids=["checkout", "elsewhere"])
def test_the_package_is_whole_wherever_it_is_imported(
    tmp_path: Path, safe: tuple[str, ...], here: bool
) -> None:
    code = "import ftev, ftev.core.errors, ftev.tui.cli; print(ftev.__version__)"
    cwd = ROOT if here else tmp_path
    assert printed(*safe, "-c", code, cwd=cwd) == ftev.__version__
    assert printed(*safe, "-m", "ftev", "--version", cwd=cwd) == f"ftev {ftev.__version__}"


def test_a_file_beside_the_data_is_not_imported_in_place_of_a_library(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit('imported from here')\n")
    assert printed("-m", "ftev", "--version", cwd=tmp_path) == f"ftev {ftev.__version__}"


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = {*sys.modules}; import ftev; print(*{*sys.modules} - before)"
    assert printed("-c", code, cwd=ROOT) == "ftev"


def test_a_run_is_opened_from_python() -> None:
    run = ftev.open(SAMPLE.name, runs_dir=SAMPLE.parent)
    assert (run.id, run.path) == (SAMPLE.name, SAMPLE)
    assert run.verdict.decision in ("ship", "hold", "no evidence")
    assert run.verdict.reasons
    accuracy = run.metrics("test")["tuned"]["accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert run.metrics("nowhere") == {}
    for name, start in {"md": "# ", "html": "<!", "json": "{"}.items():
        assert run.report(name).lstrip().startswith(start)
    with pytest.raises(ValueError, match="md, html, json"):
        run.report("pdf")
    with pytest.raises(FtevError, match="no such run"):
        ftev.open("nothing", runs_dir=SAMPLE.parent)
    with pytest.raises(AttributeError, match="no attribute 'opened'"):
        ftev.opened  # noqa: B018


def test_every_folder_of_code_is_a_package_that_is_installed() -> None:
    """`setup.py` finds packages by their __init__.py: code in a folder without one is left out."""
    folders = {path.parent for room in ("core", "tui") for path in (ROOT / room).rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_an_index_shows_the_readme_without_links_into_the_repository(tmp_path: Path) -> None:
    code = (
        "import setuptools, runpy; found = {}; setuptools.setup = lambda **how: found.update(how);"
        " runpy.run_path('setup.py'); print(found['version']); print(found['long_description'])"
    )
    version, _, page = printed("-c", code, cwd=ROOT).partition("\n")
    assert version == ftev.__version__
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert not [link for link in links if not link.startswith(("http://", "https://", "#"))]
    assert "ftev-tui demo" in page


def test_the_ratios_of_the_readme_are_those_that_the_benchmarks_printed() -> None:
    spec = importlib.util.spec_from_file_location("bench_all", ROOT / "tests/bench/all.py")
    assert spec is not None
    assert spec.loader is not None
    bench_all = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench_all)
    results = (bench_all.HERE / "RESULTS.md").read_text("utf-8")
    readme = bench_all.README.read_text("utf-8")
    assert bench_all.with_figures(readme, results) == readme
    other = results.replace("Streamed together: 1", "Streamed together: 9")
    assert "| base and adapter streamed together: `generate` twice | 9." in bench_all.with_figures(
        readme, other
    )


def test_the_sample_runs_and_the_demo_are_there_for_who_has_no_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copied once, and never over what was changed; the sources are part of the package."""
    runs, kept = str(tmp_path / "runs"), str(tmp_path / "kept")
    for _ in range(2):
        assert cli.main(["samples", "--runs-dir", runs, "--json"]) == 0
        folders = json.loads(capsys.readouterr().out)
    assert [Path(f).name for f in folders] == ["sample-classification", "sample-generation"]
    assert cli.main(["report", folders[0]]) == 0
    assert "## Verdict: ship" in capsys.readouterr().out
    assert cli.main(["demo", "--keep", kept, "--json"]) == 0
    config = Path(json.loads(capsys.readouterr().out)["config"])
    assert cli.main(["demo", "--keep", kept]) == 2
    assert "perhaps edited" in capsys.readouterr().err
    assert load_config(config).data.train == "train.csv"
    assert '"ftev.sample_runs": "sample_runs"' in (ROOT / "setup.py").read_text()
