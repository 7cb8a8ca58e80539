"""The report as Markdown: tables made ready here, their order and words in the template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..numbers.metric_table import METRICS
from .numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_seconds,
    format_shape,
    format_value,
    read_number,
)
from .summary import REFERENCES, SPLITS, clean
from .text import visible

MATRIX_LABELS = 20  # up to so many a confusion matrix is shown whole
WORST = 20  # confusions told where it is not
LISTED_LABELS = 20
LISTED_PAIRS = 10
TEXT_LENGTH = 400  # characters of an answer or prompt
MODELS = ("majority", "probe", "base", "tuned")
SHOWN_SPLITS = tuple(name for split in SPLITS for name in (split, clean(split)))

WORDS = {"observation", "source", "sha256", "model", "predicted", "repeats", "layer", "stage"}
WORDS |= {"found", "is", "formula", "better", "interval", "prefix"}

Rows = list[list[str]]

# Marks that begin something anywhere, underscores at the edge of a word, and what begins a line.
_MARKUP = re.compile(r"[\\`*{}\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^\s*[-+#]|^\s*\d+[.)]")


def escape(text: Any, limit: int = TEXT_LENGTH) -> str:
    """Text of a user's file or a model as Markdown that shows it as it is, on one line."""
    told = str(text).replace("\r\n", "\n").replace("\n", " ⏎ ")
    told = _MARKUP.sub(_escape_mark, visible(told, limit).replace("&", "&amp;"))
    return told.replace("<", "&lt;").replace(">", "&gt;")


def _escape_mark(match: re.Match[str]) -> str:
    mark = match[0]
    return f"{mark[:-1]}\\{mark[-1]}"


def render(report: Mapping[str, Any]) -> str:
    """Markdown of a `ftev.report/1` document."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML: `escape` makes user text safe
    )
    environment.filters.update(e=escape, seconds=format_seconds, count=format_count)
    environment.globals.update(table=format_table)
    text = environment.get_template("report.md.jinja").render(
        report=report,
        run=report["run"],
        verdict=report.get("verdict"),
        comparisons=comparison_groups(report),
        metrics=metric_tables(report),
        judged=judged_result(report),
        trace=trace_rows(report),
        texts=text_rows(report),
        splits=split_rows(report),
        labels=label_rows(report),
        leaked=leakage_rows(report),
        stages=stage_rows(report),
        explained=explained_metrics(report),
    )
    text = re.sub(r"[ ]+$|^ (?! )", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def format_table(columns: list[str], rows: Rows) -> str:
    """A Markdown table; the first column and those of words are set left, figures right."""
    marks = [":--" if i == 0 or name in WORDS else "--:" for i, name in enumerate(columns)]
    lines = [columns, marks, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def comparison_groups(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Paired differences by split and reference, the most telling first."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for c in report["comparisons"]:
        found.setdefault((c["split"], c["from"], c["to"]), []).append(c)

    def rank(key: tuple[str, str, str]) -> tuple[int, int]:
        return _place(SHOWN_SPLITS, key[0]), _place(REFERENCES, key[1])

    return [_comparison_group(key, found[key]) for key in sorted(found, key=rank)]


def _comparison_group(key: tuple[str, str, str], rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    split, before, after = key
    changed = next((c for c in rows if c.get("fixed") is not None), None)
    return {
        "split": split,
        "from": before,
        "to": after,
        "fixed": changed["fixed"] if changed else None,
        "broke": changed["broke"] if changed else None,
        "rows": [
            [
                c["metric"],
                format_difference(c["metric"], c["difference"]),
                format_difference_interval(c["metric"], c["low"], c["high"]),
                format_p(c.get("p")),
                _smallest(c),
            ]
            for c in rows
        ],
        "methods": sorted({str(c["method"]) for c in rows}),
    }


def _smallest(c: Mapping[str, Any]) -> str:
    least = read_number(c.get("smallest_detectable"))
    return DASH if least != least else format_difference(c["metric"], abs(least)).lstrip("+")


def metric_tables(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each split a table of metrics by model, values with their intervals."""
    tables = []
    for split in sorted(report["results"], key=lambda s: _place(SHOWN_SPLITS, s)):
        models = report["results"][split]
        shown = [m for m in MODELS if m in models] + [m for m in models if m not in MODELS]
        names = _metric_names(models)
        rows = [
            [name, *(format_estimate(name, models[m]["metrics"].get(name)) for m in shown)]
            for name in names
        ]
        tables.append(
            {
                "split": split,
                "clean": next((s for s in SPLITS if split == clean(s)), ""),
                "models": shown,
                "rows": rows,
                "n": {m: models[m].get("n", 0) for m in shown},
                "positive": next((r["positive"] for r in models.values() if r.get("positive")), ""),
                "unscored": max((len(r.get("unscored", [])) for r in models.values()), default=0),
            }
        )
    return tables


def _metric_names(models: Mapping[str, Any]) -> list[str]:
    present = {name for result in models.values() for name in result.get("metrics", {})}
    known = [name for name in METRICS if name in present]
    return known + sorted(present - set(known))


def judged_result(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Labels and confusions of the tuned model on the split that the verdict rests upon."""
    results = report["results"]
    split = next((s for s in SPLITS if "tuned" in results.get(s, {})), None)
    if split is None or "confusion" not in (tuned := results[split]["tuned"]):
        return None
    labels, counts = tuned["confusion"]["labels"], tuned["confusion"]["counts"]
    whole = len(labels) <= MATRIX_LABELS
    return {
        "split": split,
        "classes": _class_rows(tuned.get("per_class", {})),
        "undefined": [escape(x) for x in tuned.get("undefined", [])],
        "matrix": _matrix_rows(labels, counts) if whole else [],
        "matrix_columns": ["truth \\ predicted", *map(escape, labels), "recall"] if whole else [],
        "worst": _worst_confusions(labels, counts),
    }


def _class_rows(per_class: Mapping[str, Any]) -> Rows:
    return [
        [
            escape(label),
            *(format_value(name, row.get(name)) for name in ("precision", "recall", "f1")),
            f"{int(row.get('support', 0)):,}",
        ]
        for label, row in per_class.items()
    ]


def _matrix_rows(labels: list[str], counts: list[list[int]]) -> Rows:
    rows = []
    for i, (label, line) in enumerate(zip(labels, counts, strict=True)):
        total = sum(line)
        cells = [f"**{n:,}**" if i == j else f"{n:,}" for j, n in enumerate(line)]
        recall = format_value("recall", line[i] / total) if total else DASH
        rows.append([escape(label), *cells, recall])
    return rows


def _worst_confusions(labels: list[str], counts: list[list[int]]) -> Rows:
    cells = [(n, i, j) for i, line in enumerate(counts) for j, n in enumerate(line) if n and i != j]
    cells.sort(key=lambda c: (-c[0], c[1], c[2]))
    return [
        [
            escape(labels[i]),
            escape(labels[j]),
            f"{n:,}",
            format_value("recall", n / sum(counts[i])),
        ]
        for n, i, j in cells[:WORST]
    ]


def trace_rows(report: Mapping[str, Any]) -> Rows:
    rows = []
    for e in report["epochs"]:
        change = e.get("accuracy_change")
        rows.append(
            [
                str(e["epoch"]),
                f"{e['step']:,}",
                format_value("loss", e["train_loss"]),
                format_value("loss", e["validation_loss"]) if "validation_loss" in e else DASH,
                format_value("accuracy", e["validation_accuracy"])
                if "validation_accuracy" in e
                else DASH,
                format_difference("accuracy", change) if change is not None else DASH,
                format_seconds(e["seconds"]),
                e["observation"],
            ]
        )
    return rows


def text_rows(report: Mapping[str, Any]) -> Rows:
    return [
        [
            escape(t["source"]),
            escape(t["model"]),
            f"{t['scored_tokens']:,}",
            format_value("average_log_likelihood", t["average_log_likelihood"]),
            format_value("bits_per_byte", t["bits_per_byte"]),
            escape(t["prefix"]) if t["prefix"] else "none",
            f"{t['window']:,} / {t['stride']:,}",
        ]
        for t in report["texts"]
    ]


def split_rows(report: Mapping[str, Any]) -> Rows:
    rows = []
    for name, s in report["data"].items():
        if name == "leakage":
            continue
        rows.append(
            [
                name,
                escape(s["source"]),
                f"`{s['sha256'][:12]}`" if s["sha256"] else DASH,
                format_shape(s["rows"], s["columns"]),
                f"{s.get('truncated_rows', 0):,}",
                f"{s.get('unscored_rows', 0):,}",
                f"{s.get('skipped_rows', 0):,}",
            ]
        )
    return rows


def label_rows(report: Mapping[str, Any]) -> Rows:
    """Rows of each label in each split; empty where there are no labels or too many."""
    splits = {n: s["labels"] for n, s in report["data"].items() if n != "leakage" and s["labels"]}
    labels = list(dict.fromkeys(label for counts in splits.values() for label in counts))
    if not splits or len(labels) > LISTED_LABELS:
        return []
    head = ["label", *splits]
    return [
        head,
        *([escape(x), *(_share_of(counts, x) for counts in splits.values())] for x in labels),
    ]


def _share_of(counts: Mapping[str, int], label: str) -> str:
    n, total = counts.get(label, 0), sum(counts.values())
    return f"{n:,} ({n / total * 100:.1f} %)" if total else f"{n:,}"


def leakage_rows(report: Mapping[str, Any]) -> Rows:
    pairs = report["data"].get("leakage", {}).get("pairs", [])
    return [
        [f"{b} {j}", f"{a} {i}", layer, f"{read_number(likeness):.2f}"]
        for a, i, b, j, layer, likeness in pairs[:LISTED_PAIRS]
    ]


def stage_rows(report: Mapping[str, Any]) -> Rows:
    return [
        [
            str(number),
            s["name"],
            escape(s["note"]) if s["note"] else "",
            format_shape(s["rows_in"], s["columns_in"]),
            format_shape(s["rows_out"], s["columns_out"]),
            format_seconds(s["seconds"]),
        ]
        for number, s in enumerate(report["stages"], 1)
    ]


def explained_metrics(report: Mapping[str, Any]) -> Rows:
    """Each metric of the report: its full name, formula and how its interval was made."""
    methods: dict[str, set[str]] = {}
    for models in report["results"].values():
        for result in models.values():
            for name, estimate in result.get("metrics", {}).items():
                methods.setdefault(name, set()).add(str(estimate.get("method", "")))
    return [
        [
            name,
            METRICS[name].title,
            METRICS[name].formula,
            "higher" if METRICS[name].higher_is_better else "lower",
            "; ".join(sorted(m for m in methods[name] if m)) or DASH,
        ]
        for name in METRICS
        if name in methods
    ]


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)
