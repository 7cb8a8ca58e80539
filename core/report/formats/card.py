"""The model card: README.md of the tuned model, with results that the hub reads (`model-index`).

What ftev cannot know is left to the author, in sections that say so; what an author wrote there,
and the metadata that ftev does not set, survive when the card is written again.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...config.config import RunConfig
from ...data.demo import SHIPPED
from ...judgement.selection import SPLITS, clean, config_of, of_models
from ...metrics.analyses import LabelThresholds, Parity
from ...metrics.metric import METRICS, repeats
from ...run.runs import Run
from ...tasks import find_task
from ...wording.names import title_metric
from ...wording.text import visible
from ..blocks import Banner, Block, Bullets, Heading, Markdown, Paragraph, Table
from ..document import Report, splits_of
from ..sections.data import show_data, show_leakage
from ..sections.label_sets import show_label_sets
from ..sections.metrics import show_differences, show_labels, show_metrics
from ..sections.training import show_environment
from ..sections.verdict import describe_run, sentences_of, show_verdict
from . import File
from .md import render_blocks

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

SETTINGS = (
    *("epochs", "max_steps", "learning_rate", "schedule", "batch_size", "batch_tokens"),
    *("gradient_accumulation_steps", "warmup_ratio", "weight_decay", "max_grad_norm"),
    *("early_stopping", "seed"),
)
AUTHORED = {
    "Intended use": "To be written by the author: who should use this model, for what, and what "
    "it must not be used for. The numbers below do not say.",
    "Risks": "To be written by the author: what a wrong answer costs, and whom. Nothing here was "
    "measured on groups of people, on attacks, or on other kinds of text than the test rows.",
}
CARD_FOLDER = "path/to/this/folder"
COVERS = (
    "The intervals cover the choice of these test rows. They do not cover another fine-tuning run, "
    "other kinds of text, or a world that changes."
)


def files(run: Run, report: Report, out: Path | None) -> Iterator[File]:
    """README.md: beside the tuned model where it is kept, else in the run's folder."""
    beside_model = run.model_path if run.model_path.is_dir() else run.path
    path = (out or beside_model) / "README.md"
    before = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    yield path, render_card(report, config_of(run), before)


def render_card(report: Report, config: RunConfig | None, before: str = "") -> str:
    """The card as Markdown with YAML metadata; `before` is the card that it replaces."""
    from huggingface_hub import ModelCardData

    loaded = report["run"].get("model")
    local = loaded.get("local") if loaded else None
    base_model = _hub_id(report["run"].get("base"), local)
    report = _without_folders(report, local)
    metadata = _kept_metadata(before) | _metadata(report, base_model)
    known = metadata.get("base_model")  # else what an earlier card or its author named
    if base_model is None and (local or (isinstance(known, str) and _is_local(known))):
        metadata.pop("base_model", None)
    front = ModelCardData(**metadata).to_yaml()
    return f"---\n{front}\n---\n\n{render_blocks(_blocks(report, config, before))}"


def _kept_metadata(before: str) -> dict[str, Any]:
    """What the author put into the card that stands there: its licence, languages, data sets."""
    from huggingface_hub.repocard import RepoCard

    if not before.startswith("---"):
        return {}
    card: Any = RepoCard(before, ignore_metadata_errors=True)
    found: dict[str, Any] = card.data.to_dict()
    found.pop("model-index", None)
    return found


def _metadata(report: Report, base_model: str | None) -> dict[str, Any]:
    run = report["run"]
    results = _eval_results(report)
    metadata: dict[str, Any] = {
        "model_name": visible(run["name"]),
        "pipeline_tag": find_task(run["task"]).hub_type or None,
        "library_name": "peft" if run.get("adapter") == "lora" else "transformers",
        "tags": ["ftev"],
        "base_model": base_model,
        "eval_results": results or None,
        "metrics": list(dict.fromkeys(r.metric_type for r in results)) or None,
    }
    return {key: value for key, value in metadata.items() if value is not None}


def _hub_id(base: str | None, local: bool | None) -> str | None:
    """The base model where its name is one of the hub; a folder or a shipped model is none.

    `local` is what the run saw when it loaded it: a report may be made in another folder, where a
    relative path leads nowhere, or a folder has the name of a model. Older runs do not say.
    """
    if base is None or base.startswith(SHIPPED) or (_is_local(base) if local is None else local):
        return None
    return base if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", base) else None


def _is_local(name: str) -> bool:
    return Path(name).is_absolute() or name.startswith((".", "~")) or os.path.exists(name)


def _last_part(name: str, local: bool | None = None) -> str:
    """Where a file or folder lies on this machine says nothing to who reads the card."""
    is_local = _is_local(name) if local is None else local and not name.startswith(SHIPPED)
    return Path(name).name if is_local and Path(name).name else name


def _without_folders(report: Report, local: bool | None) -> Report:
    """The report with models and data files named by the last part of their paths."""
    run = report["run"].copy()
    if run["base"]:
        run["base"] = _last_part(run["base"], local)
    if run["tuned"]:
        run["tuned"] = _last_part(run["tuned"])
    if model := run.get("model"):
        run["model"] = {**model, "name": _last_part(model["name"], local)}
    data = report["data"].copy()
    for name, split in splits_of(report).items():
        data[name] = {**split, "source": _sources(split["source"])}
    return {**report, "run": run, "data": data}


def _sources(source: str) -> str:
    return ", ".join(_last_part(name) for name in source.split(", "))


def _eval_results(report: Report) -> list[EvalResult]:
    """The tuned model's metrics on the split that is judged, as the hub names them."""
    from huggingface_hub import EvalResult

    split = _judged(report)
    if split is None:
        return []
    tuned = report["results"][split]["tuned"]
    source = visible(_source_of(report, split) or split)
    found = []
    for name, estimate in tuned.metrics.items():
        known, value = METRICS.get(name), estimate.value
        if not math.isfinite(value) or repeats(name, tuned.metrics):
            continue
        hub_name, arguments = (known.hub if known else None) or (name, {})
        found.append(
            EvalResult(
                task_type=find_task(report["run"]["task"]).hub_type,
                dataset_type=re.sub(r"[^\w./-]+", "-", source),
                dataset_name=source,
                dataset_split=split,
                metric_type=hub_name,
                metric_name=title_metric(name, tuned.positive),
                metric_args=dict(arguments) or None,
                metric_value=value,
            )
        )
    return found


def _source_of(report: Report, split: str) -> str:
    known = splits_of(report).get(split)
    return known["source"] if known else ""


def _judged(report: Report) -> str | None:
    return next((s for s in SPLITS if "tuned" in report["results"].get(s, {})), None)


def _judged_alone(report: Report) -> Report:
    """The report of the judged split and its clean rows; others chose the model, or taught it."""
    split = _judged(report)
    kept = {split, clean(split)} if split else set()
    return {
        **report,
        "results": {s: models for s, models in report["results"].items() if s in kept},
        "comparisons": [c for c in report["comparisons"] if c.split in kept],
    }


def _blocks(report: Report, config: RunConfig | None, before: str) -> list[Block]:
    run, report = report["run"], _judged_alone(report)
    return [
        Heading(run["name"], 1),
        Paragraph(_summary(report)),
        *(block for block in show_verdict(report) if isinstance(block, Banner)),
        *_how_to_load(report),
        *_authored("Intended use", before),
        *_retitled("Training data", show_data(report)),
        *show_leakage(report),
        Heading("Training procedure"),
        Paragraph(describe_run(run)),
        *_settings(config),
        *_retitled("Evaluation", show_metrics(report)),
        *show_differences(report),
        *show_labels(report),
        *show_label_sets(report),
        *_limitations(report),
        *_authored("Risks", before),
        *show_environment(report),
    ]


def _summary(report: Report) -> str:
    run = report["run"]
    kind = find_task(run["task"]).model_kind
    given = run.get("tuned")  # nothing was trained here: two models were set against each other
    verb = "judged against" if given else "fine-tuned from"
    origin = f", {verb} {run['base']}" if run.get("base") else ""
    train = splits_of(report).get("train")
    labels = train["labels"] if train else {}
    how = "any number" if find_task(run["task"]).gives_sets else "one"
    among = f" It answers with {how} of {len(labels):,} labels." if labels else ""
    opening = f"A {kind}{origin}.{among} This card was written by ftev from the run {run['id']}; "
    return (
        opening
        + "its metrics can be computed again from the stored predictions (`ftev-tui verify`)."
    )


def _how_to_load(report: Report) -> list[Block]:
    """The calls that load the folder beside the card; deploy parity runs this very code."""
    analyses = report["analyses"]
    found = [p for split in analyses for p in of_models(analyses, Parity, split).values()]
    adapter = found[-1].adapter if found else report["run"].get("adapter") == "lora"
    code = find_task(report["run"]["task"]).loading_code(CARD_FOLDER, adapter=adapter)
    blocks: list[Block] = [Heading("How to load it"), Markdown(f"```python\n{code}```")]
    return blocks + [Paragraph(text) for text in _how_to_decide(report)]


def _how_to_decide(report: Report) -> list[str]:
    """The operating point of the figures below, where it is not the likeliest label (V13)."""
    split = _judged(report)
    tuned = report["results"][split]["tuned"] if split else None
    if split and (sets := of_models(report["analyses"], LabelThresholds, split).get("tuned")):
        given = ", ".join(f"{json.dumps(x.label)}: {x.threshold!r}" for x in sets.labels)
        return [
            "Each label is a yes or no of its own: take the sigmoid of its output, and give every "
            f"label whose probability is at least its threshold. {{{given}}}: chosen on "
            "validation, and every figure below is at them."
        ]
    if tuned is None or tuned.threshold is None:
        return []
    label = visible(tuned.positive or "")
    return [
        f"Answer “{label}” where its probability is at least {tuned.threshold!r}, and the other "
        "label elsewhere: this threshold was chosen on validation, and every figure below is at it."
    ]


def _retitled(title: str, blocks: list[Block]) -> list[Block]:
    """The same section under the name that a card gives it."""
    return [Heading(title), *blocks[1:]] if blocks else []


def _settings(config: RunConfig | None) -> list[Block]:
    if config is None or not config.trains:
        return []
    values = msgspec.to_builtins(config.train)
    rows = [[name, str(values[name])] for name in SETTINGS if values.get(name) is not None]
    if config.model.adapter != "none":
        rows.append(["adapter", config.model.adapter])
    return [Table(["setting", "value"], rows)]


def _limitations(report: Report) -> list[Block]:
    found = [sentences_of(f, report["data"]) for f in report["findings"] if f["severity"] != "info"]
    return [Heading("Limitations"), Bullets([*found, COVERS])]


def _authored(title: str, before: str) -> list[Block]:
    """A section of the author: what stands in the card already, else what is to be written."""
    kept = re.search(rf"^## {title}\n+(.*?)\s*(?=^## |\Z)", before, re.MULTILINE | re.DOTALL)
    return [Heading(title), Markdown(kept[1]) if kept else Paragraph(AUTHORED[title])]
