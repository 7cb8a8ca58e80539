"""Choosing one label for a text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import Labels, Task

if TYPE_CHECKING:
    import polars as pl

    from ..metrics.results import ModelResult

# Beside the adapter, config.json names the labels; the base has a head of its own, or none.
_LOAD_ADAPTER = """\
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
adapter = PeftConfig.from_pretrained(folder)
base = AutoModelForSequenceClassification.from_pretrained(
    adapter.base_model_name_or_path,
    revision=adapter.revision,
    config=AutoConfig.from_pretrained(folder),
    dtype="float32",
    ignore_mismatched_sizes=True,
)
model = PeftModel.from_pretrained(base, folder)
"""


class Classification(Task):
    def guessing_loss(self, labels: int, vocabulary: int) -> float | None:
        return math.log(labels) if labels > 1 else None

    def positive_of(
        self, asked: str | None, labels: Labels, counts: Mapping[str, int]
    ) -> str | None:
        from ..metrics.counts import default_positive

        return asked or default_positive(labels, counts)

    def evaluate(
        self,
        frame: pl.DataFrame,
        labels: Labels,
        positive: str | None,
        draws: int | None = None,
    ) -> ModelResult:
        from ..metrics.bootstrap import DRAWS
        from ..metrics.evaluate import evaluate_classification

        return evaluate_classification(frame, labels, positive, draws=draws or DRAWS)

    def loading_code(self, folder: str, *, adapter: bool) -> str:
        if adapter:
            return _LOAD_ADAPTER.format(folder=json.dumps(folder))
        return super().loading_code(folder, adapter=adapter)


TASK = Classification(
    name="classification",
    does="choose a label",
    model_kind="text classifier",
    hub_type="text-classification",
    auto_class="AutoModelForSequenceClassification",
    adapter_type="SEQ_CLS",
    architectures=("SequenceClassification", "SEQ_CLS"),
    has_labels=True,
    has_head=True,
    probed=True,
    forms=("text_label",),
    settings=(
        *(
            "data.label",
            "data.labels",
            "data.label_separator",
            "data.label_names",
            "data.text_pair",
            "objective.positive",
            "objective.cost",
            "evaluate.probe",
        ),
        *("objective.recall_at_least", "objective.precision_at_least", "evaluate.zero_shot"),
    ),
    stored={"row_id": "whole numbers", "label": "text", "predicted": "text"},
    truth="label",
    measures="classification",
    default_metric="macro_f1",
)
