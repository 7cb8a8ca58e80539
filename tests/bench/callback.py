"""What FtevCallback adds to a step of transformers' Trainer: the time of its hooks over the step's.

python tests/bench/callback.py

A log on every step, which is the dearest case. Prints the mean step, the hooks' mean and the share.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import ftev
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

STEPS = 200


class Timed(ftev.FtevCallback):
    """The callback, with a clock around its two frequent hooks."""

    seconds = 0.0

    def on_log(self, *given: Any, **more: Any) -> None:
        began = time.perf_counter()
        super().on_log(*given, **more)
        self.seconds += time.perf_counter() - began

    def on_step_end(self, *given: Any, **more: Any) -> Any:
        began = time.perf_counter()
        control = super().on_step_end(*given, **more)
        self.seconds += time.perf_counter() - began
        return control


def main() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=1000, num_hidden_layers=4, **sizes))
    rows = [{"input_ids": row, "labels": row} for row in torch.randint(5, 900, (STEPS * 4, 64))]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        args = TrainingArguments(
            f"{folder}/out",
            max_steps=STEPS,
            per_device_train_batch_size=4,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(model, args, train_dataset=rows)
        report = Timed(runs_dir=f"{folder}/runs")
        trainer.add_callback(report)
        began = time.perf_counter()
        trainer.train()
        whole = time.perf_counter() - began
    step, hooks = 1e3 * whole / STEPS, 1e3 * report.seconds / STEPS
    print(f"{STEPS} steps of {step:.1f} ms, hooks {hooks:.3f} ms: {100 * hooks / step:.2f} %")


if __name__ == "__main__":
    main()
