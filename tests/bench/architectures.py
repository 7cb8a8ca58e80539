"""Architectures of transformers, tiny and random: do they train, score and answer as there?

    python tests/bench/architectures.py [--only NAME …]

Each model is drawn from its config by seed, saved, and taken through ftev's own functions: loaded,
three steps on one batch, scored, saved, loaded again, asked. Beside each stands transformers: its
loss of the same batch, its `from_pretrained`, its `generate`. Without --only, docs/models.md is
written. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl
import torch
import transformers
from architecture_configs import Case, cases, refused
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.answering.generate import Voice, generate
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import Loaded, round_weights, save, saved_dtype, stop_ids
from ftev.core.engine.scoring.classification import SCORER as CLASSIFICATION
from ftev.core.engine.scoring.completions import complete
from ftev.core.engine.scoring.evaluate import score_tokens
from ftev.core.engine.scoring.rows import TokenRows, prompt_ids
from ftev.core.engine.scoring.scorer import find_scorer
from ftev.core.engine.training.batches import collate
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, plan_training
from ftev.core.errors import ModelError
from ftev.core.run.control import AskPrompt, Completed
from measure import table
from tiny_models import LINES
from torch.nn import functional

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
CLOSE = 1e-4  # share of a float32 loss that two orders of the same sums may differ by
LABELS = ("no", "yes")
TEXTS = [" ".join(line.split()[: 2 + i]) for i, line in enumerate(LINES[:5])] + LINES[:3]
SETTINGS = TrainConfig(
    batch_size=len(TEXTS), epochs=3, learning_rate=1e-3, warmup_ratio=0.0, schedule="constant"
)
NEW_TOKENS = 12
BUDGET = 128  # tokens of an evaluation batch
HEAD = """# Models

Architectures that were tried, each from its configuration in transformers {version}: tiny, drawn at
random, with full training and with a LoRA adapter, in float32 on a CPU. Made by
`python tests/bench/architectures.py`.

- **rows**: packed rows go through the layers end to end without padding; the others are padded.
- **loss**: the first training batch and the scored rows have the loss that transformers computes.
- **learns**: three steps on one batch had finite losses and lowered it.
- **reload**: what was saved scores the same, loaded here and as the model card says.
- **answers**: greedy completions are those of `generate`, token by token: streamed, and of four
  prompts of other lengths in a batch.

{table}

## Refused

Before any data are tokenised, each with one sentence.

{refused}
"""


@dataclass
class Result:
    """What was found of one case; `notes` has a line for each thing that differs or failed."""

    rows: str = ""
    loss: bool = False
    learns: bool = False
    reload: bool = False
    answers: bool | None = None  # None: a classifier has none
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.loss and self.learns and self.reload and self.answers is not False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    lines, failed = [], 0
    for case in cases():
        if only and not {case.name, case.label} & set(only):
            continue
        for adapter in ("none", "lora"):
            result = tried(case, adapter)
            failed += not result.good
            lines.append(row_of(case, adapter, result))
            print(" | ".join(lines[-1]), flush=True)
    refusals = [(c.label, c.task, refusal(c)) for c in refused() if not only or c.name in only]
    failed += sum(not text for *_, text in refusals)
    print(*(" | ".join(line) for line in refusals), sep="\n")
    if not only:
        columns = ("architecture", "task", "trained", "rows", "loss", "learns", "reload", "answers")
        PAGE.write_text(
            HEAD.format(
                version=transformers.__version__,
                table=table((*columns, "note"), lines),
                refused=table(("architecture", "task", "why"), refusals),
            )
        )
    return bool(failed)


def row_of(case: Case, adapter: str, result: Result) -> list[str]:
    words = {True: "equal", False: "**differ**", None: ""}
    learns = "yes" if result.learns else "**no**"
    return [
        case.label,
        case.task,
        "full" if adapter == "none" else "LoRA",
        result.rows,
        words[result.loss],
        learns,
        words[result.reload],
        words[result.answers],
        "; ".join(result.notes),
    ]


def tried(case: Case, adapter: str) -> Result:
    """One architecture, by one way of training, from its folder to its answers."""
    result = Result()
    with tempfile.TemporaryDirectory() as folder:
        base, tuned = Path(folder) / "base", Path(folder) / "tuned"
        try:
            case.write(base)
            config = config_of(case, base, adapter)
            loaded, rows = trained(config, result)
            same_after_reload(config, loaded, rows, tuned, result)
            if case.task == "generation":
                same_answers(loaded, result)
        except Exception as error:
            if not isinstance(error, ModelError):
                traceback.print_exc()
            text = str(error).replace(folder, "").replace("|", "/")
            result.notes.append(f"{type(error).__name__}: {' '.join(text.split())[:160]}")
    return result


def config_of(case: Case, base: Path, adapter: str) -> RunConfig:
    model = ModelConfig(base=str(base), adapter=adapter, precision="float32")  # type: ignore[arg-type]
    return RunConfig(task=case.task, model=model, train=SETTINGS)


def rows_for(loaded: Loaded) -> TokenRows:
    numbers = list(range(len(TEXTS)))
    labels = [LABELS[i % 2] for i in numbers]
    frame = pl.DataFrame({"row_id": numbers, "text": TEXTS, "label": labels})
    task, form = ("classification", "text_label") if loaded.labels else ("generation", "text")
    *_, rows = find_scorer(task).forms[form](frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def trained(config: RunConfig, result: Result) -> tuple[Loaded, TokenRows]:
    """A model after three steps on its only batch."""
    labels = LABELS if config.task == "classification" else ()
    torch.manual_seed(0)
    loaded = load(config, config.model.base, labels, trainable=True)
    if config.model.adapter == "lora":
        add_adapter(loaded, config)
    rows = rows_for(loaded)
    theirs = transformers_loss(loaded.model, loaded, rows)
    before = our_loss(loaded, rows)
    trainer = Trainer(loaded, rows, plan_training(rows, SETTINGS), SETTINGS)
    steps = read_steps(list(train(trainer)))
    losses = [step.loss_sum / step.loss_count for step in steps]
    after = our_loss(loaded, rows)
    result.rows = "packed" if trainer.packing else "padded"
    result.loss = close(losses[0], theirs) and close(before, theirs)
    if not result.loss:
        result.notes.append(f"loss {losses[0]:.5f} in training, {before:.5f} scored, {theirs:.5f}")
    result.learns = bool(np.isfinite([*losses, after]).all()) and after < before
    if not result.learns:
        result.notes.append("losses " + ", ".join(f"{x:.4f}" for x in [*losses, after]))
    return loaded, rows


def close(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * max(abs(b), 1e-3)


def our_loss(loaded: Loaded, rows: TokenRows) -> float:
    """Nats per scored token, or per row of a classifier, by the evaluation."""
    score: Any = CLASSIFICATION.score if loaded.labels else score_tokens
    *_, frame = score(loaded, rows, "float32", BUDGET)
    return float(frame["nll"].sum() / rows.targets.sum())


@torch.inference_mode()
def transformers_loss(model: Any, loaded: Loaded, rows: TokenRows) -> float:
    """The loss that a model of transformers computes of the rows, a padded batch.

    A classifier's is the cross-entropy of its logits: the loss of some has options of its own.
    """
    model.eval()
    pad, everything = loaded.tokenizer.pad_token_id, np.arange(len(rows))
    batch = collate(rows.ids, everything, pad, torch.device("cpu"), labels=rows.labels)
    if batch.labels is not None:
        logits = model(input_ids=batch.ids, attention_mask=batch.mask).logits
        return float(functional.cross_entropy(logits, batch.labels))
    targets = batch.ids.masked_fill(batch.mask == 0, -100)
    return float(model(input_ids=batch.ids, attention_mask=batch.mask, labels=targets).loss)


def same_after_reload(
    config: RunConfig, loaded: Loaded, rows: TokenRows, folder: Path, result: Result
) -> None:
    """Saved, then loaded by ftev and as the model card says: the loss is the one in memory."""
    dtype = saved_dtype(loaded, config)
    assert round_weights(loaded, dtype)
    wanted = our_loss(loaded, rows)
    save(loaded, folder, dtype=dtype)
    ours = our_loss(load(config, str(folder), loaded.labels), rows)
    found: dict[str, Any] = {}
    exec(config.task_type.loading_code(str(folder), adapter=loaded.has_adapter), found)
    theirs = transformers_loss(found["model"], loaded, rows)
    result.reload = close(ours, wanted) and close(theirs, wanted)
    if not result.reload:
        result.notes.append(f"in memory {wanted:.5f}, reloaded {ours:.5f}, there {theirs:.5f}")


def same_answers(loaded: Loaded, result: Result) -> None:
    """Greedy answers: streamed, of a LoRA adapter's base too, and those of a batch of prompts."""
    prompt = prompt_ids(loaded, "the kettle", "text")
    voices = [Voice("tuned", loaded)]
    if loaded.has_adapter:
        voices.insert(0, Voice("base", loaded.as_base()))
    done = list(generate(voices, prompt, AskPrompt(text="", max_new_tokens=NEW_TOKENS)))
    assert sum(isinstance(reply, Completed) for reply in done) == len(voices)
    pairs = [(v.name, v.answered, generated(v.loaded, prompt)) for v in voices]
    prompts = [prompt_ids(loaded, text, "text") for text in TEXTS[:4]]
    *_, batch = complete(loaded, prompts, NEW_TOKENS, stop_ids(loaded), "float32", 10 * BUDGET)
    assert isinstance(batch, list)
    for answer, asked in zip(batch, prompts, strict=True):
        made = [*answer.tokens, answer.stop] if answer.ended else answer.tokens
        pairs.append(("in a batch", made, generated(loaded, asked)))
    differing = [
        f"{name} {ours}, generate {theirs}" for name, ours, theirs in pairs if ours != theirs
    ]
    result.answers = not differing
    result.notes += differing[:1]


def generated(loaded: Loaded, prompt: list[int]) -> list[int]:
    """What `generate` puts behind a prompt."""
    with loaded.active() as model:
        made = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=loaded.tokenizer.pad_token_id,
        )
    ids: list[int] = made[0, len(prompt) :].tolist()
    return ids


def refusal(case: Case) -> str:
    """The sentence that a model is refused with when it is loaded; empty where it is taken."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        case.write(base)
        labels = LABELS if case.task == "classification" else ()
        try:
            load(config_of(case, base, "none"), str(base), labels)
        except ModelError as error:
            return str(error).removeprefix(f"{base}: ")
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
