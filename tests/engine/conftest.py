"""Tiny real models, built from a config, their tokenizers trained on a few lines."""

import csv
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the engine's tests need torch")

from ftev.core.config import (  # noqa: E402
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import (  # noqa: E402
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

LINES = [
    "the kettle boils and the cup is warm",
    "a cold day makes a warm cup welcome",
    "this kettle is broken and i want it gone",
    "what a good day for a good cup of tea",
    "the tea was bad and the day was worse",
] * 20


def byte_level_tokenizer(folder: Path, *, pad_is_eos: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>" if pad_is_eos else "<pad>",
        model_max_length=64,
    )
    fast.save_pretrained(folder)
    return fast


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers whose pad token is its EOS token."""
    folder = tmp_path_factory.mktemp("causal")
    tokenizer = byte_level_tokenizer(folder, pad_is_eos=True)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers without a classifier head."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=48,
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        pad_token_id=0,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def verses(tmp_path: Path, causal_folder: Path) -> RunConfig:
    """Twenty short steps of a causal model with dropout-free weights, float32."""
    path = tmp_path / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion"])
        for i in range(44):
            writer.writerow([f"cup number {i} is", f"warm tea of day {i % 7}"])
    return RunConfig(
        task="generation",
        name="verses",
        model=ModelConfig(base=str(causal_folder), precision="float32"),
        data=DataConfig(train=str(path), validation=0.1),
        train=TrainConfig(epochs=4, batch_size=8, learning_rate=1e-3, devices="cpu"),
        evaluate=EvaluateConfig(prompts=["cup number 3 is"], max_new_tokens=4, parity_rows=0),
        folder=str(tmp_path),
    )
