"""What a worker has not imported when its first step is taken, and that nothing is lost by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ftev.core.config.config_file import load_config
from ftev.core.data.demo import write_demo
from ftev.core.run.runs import create_run

# The compiler with what it brings, tensors over devices, estimators and frames of other libraries.
LEFT_OUT = ("torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor")
LEFT_OUT += ("sklearn", "pandas", "peft")

UNTIL_FIRST_STEP = """
import json, os, sys
from ftev.core.engine import __main__ as worker

class Outbox(worker.Outbox):
    def write(self, *events):
        super().write(*events)
        if any(type(e).__name__ == "StepDone" for e in events):
            print("MODULES " + json.dumps(sorted(sys.modules)), flush=True)
            os._exit(0)

worker.Outbox = Outbox
sys.exit(worker.main())
"""

MASKED = """
import sys
import torch
from ftev.core.engine.models.imports import import_models
import_models(alone=True)
from transformers import LlamaConfig, LlamaForCausalLM
assert "torch._dynamo" not in sys.modules
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8,
    num_hidden_layers=1, num_attention_heads=1, use_cache=False))
compiled = torch.compile(model, backend="eager")
ids = torch.arange(8)[None] % 9
assert torch.allclose(compiled(ids).logits, model(ids).logits, atol=1e-6)
from transformers.masking_utils import TransformGetItemToIndex
with TransformGetItemToIndex():
    pass
import torch._dynamo
from torch._dynamo._trace_wrapped_higher_order_op import trace_wrapped
assert torch._dynamo.__file__
"""


ADAPTED = """
import sys
from pathlib import Path
from ftev.core.engine.models.imports import import_models
import_models(alone=True)
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import save
config = RunConfig(task="generation", model=ModelConfig(base=sys.argv[1], adapter="lora"))
loaded = load(config, sys.argv[1])
add_adapter(loaded, config)
save(loaded, Path(sys.argv[2]))
"""

FOUND_AGAIN = """
import sys
from ftev.core.engine.models.imports import import_models
import_models(alone=True)
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.models.load import load
config = RunConfig(task="generation", model=ModelConfig(base=sys.argv[1]))
assert load(config, sys.argv[2]).has_adapter
"""


def fresh(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints: the modules of this one are not to be seen."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_worker_has_no_compiler_when_it_takes_its_first_step(tmp_path: Path) -> None:
    run = create_run(
        load_config(write_demo("classification", tmp_path / "demo")), tmp_path / "runs"
    )
    printed = fresh(UNTIL_FIRST_STEP, str(run.path), "--serve-minutes", "0")
    line = next(x for x in printed.splitlines() if x.startswith("MODULES "))
    modules = json.loads(line.removeprefix("MODULES "))
    assert "torch" in modules
    assert [name for name in LEFT_OUT if name in modules] == []


def test_what_was_left_out_is_there_once_it_is_used() -> None:
    fresh(MASKED)


def test_an_adapter_is_made_and_loaded_by_a_worker_that_is_alone(
    causal_folder: Path, tmp_path: Path
) -> None:
    """peft looks at every weight for tensors over devices, which were left out."""
    for code in (ADAPTED, FOUND_AGAIN):
        fresh(code, str(causal_folder), str(tmp_path / "adapter"))


def test_a_preview_builds_its_model_without_symbolic_arithmetic(
    tmp_path: Path, causal_folder: Path
) -> None:
    """Half a second of `check` was the import of sympy, for a model that has no weights."""
    (tmp_path / "train.jsonl").write_text('{"prompt": "what is tea", "completion": "a cup"}\n' * 9)
    config = {
        "task": "generation",
        "model": {"base": str(causal_folder)},
        "data": {"train": str(tmp_path / "train.jsonl"), "validation": 0},
    }
    question = json.dumps({"config": config})
    code = f"""
import io, sys
sys.argv[1:] = ["preview"]
sys.stdin = io.TextIOWrapper(io.BytesIO({question.encode()!r}))
from ftev.core.engine.ask import main
assert main() == 0
print(sorted({{"sympy", "torch._dynamo", "scipy"}} & set(sys.modules)))
"""
    assert fresh(code).splitlines()[-1] == "[]"


def test_weights_that_are_tied_are_counted_once(tmp_path: Path, causal_folder: Path) -> None:
    from ftev.core.engine.scoring.preview import Preview, preview
    from transformers import AutoModelForCausalLM

    (tmp_path / "train.jsonl").write_text('{"prompt": "what is tea", "completion": "a cup"}\n' * 9)
    config = {
        "task": "generation",
        "model": {"base": str(causal_folder)},
        "data": {"train": str(tmp_path / "train.jsonl"), "validation": 0},
    }
    model = AutoModelForCausalLM.from_pretrained(causal_folder)
    assert model.config.tie_word_embeddings
    assert preview(Preview(config=config))["parameters"] == model.num_parameters()
