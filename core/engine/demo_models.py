"""Makes the two base models that ship with ftev: `python -m ftev.core.engine.demo_models`.

Both are pre-trained on text that `ftev.core.data.demo` generates: the encoder on reviews with their
stars, the causal model on modern prose. The same seed on the same machine gives the
same models.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ..data.demo import MODELS
from ..data.demo.reviews import STARS, make_rated
from ..data.demo.texts import make_prose

SEED = 20
WEIGHT_DECAY = 0.01
WARMUP_RATIO = 0.05
INITIALIZER_RANGE = 0.05  # the usual 0.02 is meant for models several times as wide
MAX_GRAD_NORM = 1.0
NOT_SCORED = -100
STARS_WEIGHT = 2.0  # a review has one rating and a dozen masked words
ALPHABET = [chr(code) for code in range(33, 127)]


@dataclass(frozen=True)
class Plan:
    """How one model is pre-trained."""

    prose: int
    reviews: int
    epochs: int
    rows: int
    learning_rate: float
    vocabulary: int


ENCODER = Plan(prose=0, reviews=60_000, epochs=2, rows=32, learning_rate=1.5e-3, vocabulary=3_000)
CAUSAL = Plan(prose=12_000, reviews=0, epochs=2, rows=32, learning_rate=2e-3, vocabulary=3_000)


def make_encoder(folder: Path, plan: Plan = ENCODER, seed: int = SEED) -> None:
    """Pre-train a tiny BERT on masked words and save it.

    How many stars a review gives is masked each time: guessing it takes the whole review.
    """
    texts = _texts(plan, seed)
    tokenizer = wordpiece_tokenizer(texts, plan.vocabulary)
    torch.manual_seed(seed)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=512,
            max_position_embeddings=256,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=INITIALIZER_RANGE,
            hidden_dropout_prob=0.0,  # each text is seen a few times only
            attention_probs_dropout_prob=0.0,
        )
    )
    rows = [ids[: tokenizer.model_max_length] for ids in tokenizer(texts)["input_ids"]]
    masker = _Masker(tokenizer, seed)
    stars = torch.tensor(
        tokenizer.convert_tokens_to_ids([w for words in STARS.values() for w in words])
    )

    def loss_of(batch: list[list[int]]) -> Tensor:
        ids, attention = _pad(batch, tokenizer.pad_token_id)
        masked, chosen = masker.mask(ids)
        rating = torch.isin(ids, stars)
        masked = masked.masked_fill(rating, tokenizer.mask_token_id)
        hidden = model.bert(masked, attention_mask=attention).last_hidden_state
        words, guess = (
            nn.functional.cross_entropy(model.cls(hidden[where]), ids[where])
            for where in (chosen & ~rating, rating)
        )
        return words + STARS_WEIGHT * guess

    _train("encoder", model, rows, plan, loss_of, seed)
    _save(model, tokenizer, folder)


def make_causal(folder: Path, plan: Plan = CAUSAL, seed: int = SEED) -> None:
    """Pre-train a tiny Llama on modern prose and save it."""
    texts = _texts(plan, seed)
    tokenizer = byte_level_tokenizer(texts, plan.vocabulary)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=384,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            initializer_range=INITIALIZER_RANGE,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    rows = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]

    def loss_of(batch: list[list[int]]) -> Tensor:
        ids, attention = _pad(batch, tokenizer.pad_token_id)
        logits = model(ids, attention_mask=attention).logits[:, :-1]
        targets = ids[:, 1:].masked_fill(attention[:, 1:] == 0, NOT_SCORED)
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    _train("causal", model, rows, plan, loss_of, seed)
    _save(model, tokenizer, folder)


def wordpiece_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Lower-case word pieces; every printable ASCII character is one, so most text has no [UNK]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.BertNormalizer(lowercase=True), normalizers.Replace("ß", "ss")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=ALPHABET,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=256,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def byte_level_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE: it can write any text. BOS goes first, EOS is left to the caller."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


class _Masker:
    """Chooses 20 % of the words of each batch: 80 % of them masked, 10 % replaced, 10 % kept."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._special = torch.tensor(tokenizer.all_special_ids)
        self._mask_id = tokenizer.mask_token_id
        self._words = len(tokenizer)

    def mask(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The ids [rows, tokens] as the model sees them, and which of them it has to guess."""
        draw = torch.rand(ids.shape, generator=self._generator)
        chosen = (draw < 0.2) & ~torch.isin(ids, self._special)
        random_words = torch.randint(5, self._words, ids.shape, generator=self._generator)
        masked = ids.masked_fill(chosen & (draw < 0.16), self._mask_id)
        return torch.where(chosen & (draw >= 0.18), random_words, masked), chosen


def _texts(plan: Plan, seed: int) -> list[str]:
    texts = make_prose(plan.prose, seed) + make_rated(plan.reviews, seed)
    random.Random(seed).shuffle(texts)
    return texts


def _batches(rows: list[list[int]], size: int, rng: random.Random) -> Iterator[list[list[int]]]:
    """Batches of rows of similar length, in random order."""
    order = sorted(rows, key=lambda row: (len(row), rng.random()))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(batches)
    yield from batches


def _pad(batch: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    width = max(map(len, batch))
    ids = torch.tensor([row + [pad_id] * (width - len(row)) for row in batch])
    attention = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
    return ids, attention


def _train(
    name: str, model: PreTrainedModel, rows: list[list[int]], plan: Plan, loss_of: Any, seed: int
) -> None:
    steps = plan.epochs * math.ceil(len(rows) / plan.rows)
    optimizer = torch.optim.AdamW(
        model.parameters(), plan.learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    rng = random.Random(seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}: {parameters:,} parameters, {len(rows):,} texts, {steps:,} steps", flush=True)
    model.train()
    started, step, shown = time.monotonic(), 0, []
    for epoch in range(1, plan.epochs + 1):
        for batch in _batches(rows, plan.rows, rng):
            loss = loss_of(batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            shown.append(loss.detach())
            step += 1
            if step % 100 == 0 or step == steps:
                mean, seconds = torch.stack(shown).mean().item(), time.monotonic() - started
                print(
                    f"{name}: epoch {epoch}, step {step:,} of {steps:,}, loss {mean:.3f}, "
                    f"{seconds:.0f} s",
                    flush=True,
                )
                shown = []


def _rate(step: int, steps: int) -> float:
    warmup = max(1, int(WARMUP_RATIO * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Store the weights in half precision; the configuration says that they load as float32."""
    model.eval().half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = folder / "config.json"
    settings = json.loads(config.read_text()) | {"dtype": "float32"}
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"saved {folder}: {size / 1e6:.2f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODELS, help="where the two folders go")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", choices=("encoder", "causal"))
    options = parser.parse_args()
    for name, make in (("encoder", make_encoder), ("causal", make_causal)):
        if options.only in (None, name):
            make(options.out / name, seed=options.seed)


if __name__ == "__main__":
    main()
