"""Every metric of every model on each split, with its interval."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from ...judgement.selection import REFERENCES, SPLITS, clean, place, read_difference
from ...metrics.metric import METRICS
from ...metrics.results import Comparison, LabelScores, ModelResult
from ...tasks import find_task
from ...wording.names import name_metric, positive_label_of, title_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
)
from ..blocks import Block, Fold, Heading, Matrix, Paragraph, Table, section
from ..document import Report, result_of
from .thresholds import describe_other_threshold

MODELS = ("majority", "mean", "probe", "base", "tuned")
Models = Mapping[str, ModelResult]


@section(50, more=None)
def show_metrics(report: Report) -> list[Block]:
    results = report["results"]
    splits = sorted(results, key=lambda s: place(SHOWN_SPLITS, s))
    shown: list[Block] = [Heading("Metrics")] if splits else []
    if both := _on_clean_rows(report):
        shown.append(Paragraph(both))
    for split in splits:
        blocks = _split(split, results[split])
        shown += [Heading(split, 3), *blocks] if split == splits[0] else [Fold(split, blocks)]
    if splits and (other := describe_other_threshold(report, splits[0])):
        shown.append(Paragraph(other))
    if shown and (windows := describe_windows(report)):
        shown.append(Paragraph(windows, quiet=True))
    if references := describe_references(report):
        shown.append(Paragraph(references))
    return shown


def _on_clean_rows(report: Report) -> str:
    """The headline metric on all rows and on those that repeat no earlier split (D2)."""
    headline = report.get("headline")
    split, metric = (headline["split"], headline["metric"]) if headline else ("", "")
    whole, kept = result_of(report, split), result_of(report, clean(split))
    if whole is None or kept is None:
        return ""
    before, after = whole.metrics.get(metric), kept.metrics.get(metric)
    if before is None or after is None:
        return ""
    rows, others = whole.n, kept.n
    name = name_metric(metric, whole.positive)
    name = name[0].upper() + name[1:]
    return (
        f"Of {format_count(rows, f'{split} row')} {rows - others:,} repeat a row of an earlier "
        f"split. {name} of tuned on all rows is {format_estimate(metric, before)}; on the "
        f"{others:,} others ({clean(split)}) it is {format_estimate(metric, after)}."
    )


def _split(split: str, models: Models) -> list[Block]:
    shown = [m for m in MODELS if m in models] + [m for m in models if m not in MODELS]
    positive = positive_label_of(models.values())
    rows = [
        [
            name_metric(name, positive),
            *(format_estimate(name, models[m].metrics.get(name)) for m in shown),
        ]
        for name in metric_names(models)
    ]
    return [
        Table(["metric", *shown], rows),
        Paragraph(_rows_behind(split, models, shown), quiet=True),
    ]


def metric_names(models: Models) -> list[str]:
    """Those that any model has, in the order of the table of metrics."""
    present = {name for result in models.values() for name in result.metrics}
    known = [name for name in METRICS if name in present]
    return known + sorted(present - set(known))


def _rows_behind(split: str, models: Models, shown: list[str]) -> str:
    scored = ", ".join(f"{m}: {format_count(models[m].n, 'row')} scored" for m in shown)
    sentences = [f"{scored}."]
    if whole := next((s for s in SPLITS if split == clean(s)), ""):
        sentences.append(f"These are the rows of {whole} that repeat nothing of an earlier split.")
    if unscored := max((len(r.unscored) for r in models.values()), default=0):
        sentences.append(f"{format_count(unscored, 'row')} had no scored tokens.")
    if positive := positive_label_of(models.values()):
        sentences.append(f"The positive label is “{positive}”.")
    if "probe" in shown:
        sentences.append("The probe is a linear classifier on the frozen base model.")
    if "majority" in shown:
        answers = "always answers the commonest label of train"
        if models["majority"].confusion is None:  # rows have several labels
            answers = "gives every row the labels that more than half of train's rows have"
        sentences.append(f"The majority {answers}.")
    return " ".join(sentences)


def describe_windows(report: Report) -> str:
    """What a row is where plain text was cut; empty for other data."""
    run = report["run"]
    model = run.get("model")
    if model is None or run.get("form") != "text" or (size := model["max_length"]) < 2:
        return ""
    prefix = model.get("prefix") or "one token"
    return (
        f"The rows are windows of at most {size:,} tokens, each the prefix {prefix} and up to "
        f"{size - 1:,} tokens of the text (stride {size - 1:,}: none is in two); neighbouring "
        "windows of one document are treated as independent."
    )


def describe_references(report: Report) -> str:
    """What losses stand beside: random guessing, and the model before the first step (L7)."""
    found, sentences = report["references"], []
    if "random_loss" in found:
        sentences.append(f"Random guessing has a loss of {found['random_loss']:.3f}.")
    if "start_loss" in found:
        sentence = f"Before the first step the loss on validation was {found['start_loss']:.3f}"
        if "start_accuracy" in found:
            name = find_task(report["run"]["task"]).accuracy_title
            sentence += f" and the {name} {found['start_accuracy'] * 100:.1f} %"
        sentences.append(f"{sentence}.")
    return " ".join(sentences)


Rows = Mapping[str, Comparison]  # by the name of the metric

SHOWN_SPLITS = tuple(name for split in SPLITS for name in (split, clean(split)))
HOW = (
    "Both models were scored on the same rows, and every resample takes the same rows of both. "
    "“Better” and “worse” mean that the whole interval lies on one side of 0 and p is at most "
    "0.05{corrected}; “the same” means that no digit of the difference is left to show. {p} "
    "“Smallest detectable” is the difference detectable with this many rows at 80 % power. "
    " The intervals cover the choice of these rows, not another fine-tuning run."
)
ALONE = "p belongs to one metric by itself: only the primary metric was declared before the run."
HOLM = (
    "p belongs to one metric by itself. “p (Holm)” is adjusted for multiple comparisons: among the "
    "metrics that were not declared before the run, as many as are truly unchanged, the chance "
    "that any of them falls below 0.05 is at most 5 %. The primary metric was declared, and its p "
    "stands as it is."
)


@section(40, more=None)
def show_differences(report: Report) -> list[Block]:
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for c in report["comparisons"]:
        groups.setdefault((c.split, c.from_model, c.to_model), []).append(c)
    if not groups:
        return []
    ordered = sorted(groups, key=lambda k: (place(SHOWN_SPLITS, k[0]), place(REFERENCES, k[1])))
    shown: list[Block] = [Heading("Paired differences")]
    for key in ordered:
        split, before, after = key
        positive = positive_label_of(report["results"].get(split, {}).values())
        named = {name_metric(c.metric, positive): c for c in groups[key]}
        title, blocks = f"{before} → {after} on {split}", _group(named)
        shown += [Heading(title, 3), *blocks] if key == ordered[0] else [Fold(title, blocks)]
    holm = any(c.p_holm is not None for c in report["comparisons"])
    corrected = ", p (Holm) where there is one" if holm else ""
    return [*shown, Paragraph(HOW.format(corrected=corrected, p=HOLM if holm else ALONE))]


def _group(rows: Rows) -> list[Block]:
    blocks: list[Block] = []
    for name, c in rows.items():
        if c.fixed is None or c.broke is None:
            continue
        fixed, broke = format_count(c.fixed, "row"), format_count(c.broke, "row")
        by = "" if c.metric == "accuracy" else f"By {name}, "
        words = f"fixed {fixed} (wrong before, right after), broke {broke} (right before, wrong"
        words = f"{by}{words} after)."
        blocks.append(Paragraph(words[0].upper() + words[1:]))
        break
    return [*blocks, _table(rows), Paragraph(_methods(rows), quiet=True)]


def _table(rows: Rows) -> Table:
    holm = ["p (Holm)"] if any(c.p_holm is not None for c in rows.values()) else []
    columns = ["metric", "difference", "95 % interval", "p", *holm, "result", "smallest detectable"]
    return Table(
        columns, [_row(name, c, bool(holm)) for name, c in rows.items()], words=("result",)
    )


def _row(name: str, c: Comparison, holm: bool) -> list[str]:
    least = math.nan if c.smallest_detectable is None else abs(c.smallest_detectable)
    return [
        name,
        format_difference(c.metric, c.difference),
        format_difference_interval(c.metric, c.low, c.high),
        format_p(c.p),
        *([format_p(c.p_holm)] if holm else []),
        read_difference(c),
        DASH if math.isnan(least) else format_difference(c.metric, least).lstrip("+"),
    ]


def _methods(rows: Rows) -> str:
    """How p and interval were made; the method of most metrics is said once, for the others."""
    by_method: dict[str, list[str]] = {}
    for name, c in rows.items():
        by_method.setdefault(without_clusters(c.method), []).append(name)
    ordered = sorted(by_method, key=lambda method: len(by_method[method]))
    sentences = []
    for method in ordered:
        last = method == ordered[-1] and len(ordered) > 1 and len(by_method[method]) > 2
        names = "All others" if last else ", ".join(by_method[method])
        sentences.append(f"{names}: {method}.")
    if clusters := describe_clusters(c.method for c in rows.values()):
        sentences.append(f"Rows that belong together are one unit: {clusters}.")
    return " ".join(sentences)


MATRIX_LABELS = 20  # up to so many a confusion matrix is shown whole
WORST = 20  # confusions listed where it is not


@section(60, more=None)
def show_labels(report: Report) -> list[Block]:
    results = report["results"]
    split = next((s for s in SPLITS if "tuned" in results.get(s, {})), None)
    if split is None or (confusion := results[split]["tuned"].confusion) is None:
        return []
    tuned = results[split]["tuned"]
    rows = _label_rows(tuned.per_class or {})
    blocks: list[Block] = [
        Heading(f"Labels (tuned, {split})"),
        Table(["label", "precision", "recall", "F1", "rows"], rows),
    ]
    if tuned.undefined:
        named = ", ".join(tuned.undefined)
        blocks.append(
            Paragraph(f"In neither truth nor predictions, and so in no average: {named}.")
        )
    return blocks + _confusion(split, confusion.labels, confusion.counts)


def _label_rows(per_class: Mapping[str, LabelScores]) -> list[list[str]]:
    return [
        [
            label,
            format_value("precision", row.precision),
            format_value("recall", row.recall),
            format_value("f1", row.f1),
            f"{row.support:,}",
        ]
        for label, row in per_class.items()
    ]


def _confusion(split: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[Block]:
    if len(labels) <= MATRIX_LABELS:
        words = "Rows are truth, columns predictions; the last column is the recall of the label."
        return [
            Heading(f"Confusion matrix (tuned, {split})"),
            Paragraph(words),
            Matrix(labels, counts),
        ]
    worst = _worst_confusions(labels, counts)
    if not worst:
        return []
    columns = ["truth", "predicted", "rows", "of the truth"]
    table = Table(columns, worst, words=("predicted",))
    return [Heading(f"Most frequent confusions (tuned, {split})"), table]


def _worst_confusions(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[list[str]]:
    cells = [(n, i, j) for i, line in enumerate(counts) for j, n in enumerate(line) if n and i != j]
    cells.sort(key=lambda c: (-c[0], c[1], c[2]))
    return [
        [labels[i], labels[j], f"{n:,}", format_value("recall", n / sum(counts[i]))]
        for n, i, j in cells[:WORST]
    ]


@section(220, more=100)
def show_computed(report: Report) -> list[Block]:
    methods = _intervals_of(report["results"])
    positive = positive_label_of(
        r for models in report["results"].values() for r in models.values()
    )
    rows = [
        [
            name,
            title_metric(name, positive),
            METRICS[name].formula,
            METRICS[name].direction,
            "; ".join(sorted({without_clusters(m) for m in methods[name] if m})) or DASH,
        ]
        for name in METRICS
        if name in methods
    ]
    if not rows:
        return []
    columns = ["metric", "is", "formula", "better", "interval"]
    return [Heading("How the numbers were computed"), Table(columns, rows, words=columns)]


def _intervals_of(results: Mapping[str, Mapping[str, ModelResult]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for models in results.values():
        for result in models.values():
            for name, estimate in result.metrics.items():
                found.setdefault(name, set()).add(estimate.method)
    return found


# As `metrics.clusters.cluster_words` has it.
_CLUSTERS = re.compile(r", ([\d,]+ clusters of [\d,]+ rows)(?: \(design effect ([\d.]+)\))?")


def without_clusters(method: str) -> str:
    """A method without how many rows belong together, which differs from metric to metric."""
    return _CLUSTERS.sub("", method)


def describe_clusters(methods: Iterable[str]) -> str:
    """`1,033 clusters of 1,115 rows (design effect 1.01 to 1.55)` of methods on the same rows.

    Empty where every row is by itself.
    """
    found = [m for method in methods for m in _CLUSTERS.finditer(method)]
    if not found:
        return ""
    effects = sorted({m[2] for m in found if m[2]}, key=float)
    widest = max((m[1] for m in found), key=_last_number)
    if not effects:
        return widest
    span = effects[0] if len(effects) == 1 else f"{effects[0]} to {effects[-1]}"
    return f"{widest} (design effect {span})"


def _last_number(text: str) -> int:
    return int(re.findall(r"[\d,]+", text)[-1].replace(",", ""))
