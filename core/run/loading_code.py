"""The Python that loads a saved model: printed on its card, and run by deploy parity as it stands.

Public calls of transformers and peft alone. The weights are asked for in float32, in which they
were trained and scored; without that an adapter's base would come in the type it is stored in.
"""

from __future__ import annotations

import json

_WHOLE = """\
from transformers import AutoTokenizer, {auto}

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto}.from_pretrained(folder, dtype="float32")
"""
_ADAPTER = """\
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype="float32")
"""
# Beside the adapter, config.json names the labels; the base has a head of its own, or none.
_CLASSIFIER_ADAPTER = """\
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


def loading_code(task: str, folder: str, *, adapter: bool) -> str:
    """Code that leaves `model`, ready to be asked, and `tokenizer`."""
    classifies = task == "classification"
    auto = "AutoModelForSequenceClassification" if classifies else "AutoModelForCausalLM"
    quoted = json.dumps(folder)
    if not adapter:
        return _WHOLE.format(auto=auto, folder=quoted)
    return (_CLASSIFIER_ADAPTER if classifies else _ADAPTER).format(folder=quoted)
