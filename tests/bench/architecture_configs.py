"""Tiny configurations of architectures, and variants of how a model is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_models import byte_level_tokenizer, word_piece_tokenizer

Change = Callable[[Any, Path], None]  # of a model and the folder it was saved in

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,  # so large that a wrong position or mask shows in the loss
}
GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
HEADS: dict[str, Any] = {"head_dim": 8}
MOE: dict[str, Any] = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
PLAIN = {"num_key_value_heads": 4}  # as many as there are queries

CAUSAL: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": HEADS,
    "Mistral": {"sliding_window": 8},
    "Gemma": HEADS,
    "Gemma2": HEADS | {"sliding_window": 8},
    "Gemma3Text": HEADS | {"sliding_window": 8},
    "GPT2": GPT,
    "GPTNeo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "GPTNeoX": {},
    "GPTJ": GPT | {"rotary_dim": 4},
    "GPTBigCode": GPT,
    "CodeGen": GPT | {"rotary_dim": 4},
    "Phi": PLAIN,
    "Phi3": {},
    "OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "Bloom": {"n_layer": 2, "n_head": 4},
    "Mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "Falcon": {},
    "Olmo": {},
    "Olmo2": {},
    "SmolLM3": {},
    "StableLm": PLAIN,
    "Starcoder2": {},
    "Granite": {},
    "Cohere": {},
    "Cohere2": {"sliding_window": 8},
    "Glm": HEADS,
    "Mixtral": {"num_local_experts": 4},
    "Qwen2Moe": MOE | {"shared_expert_intermediate_size": 32},
    "Qwen3Moe": MOE | HEADS,
    "Olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "GptOss": HEADS | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    "Mamba": {"state_size": 8},
    "Mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "FalconMamba": {"state_size": 8},
    "RecurrentGemma": {"lru_width": 32, "attention_window_size": 8}
    | {"block_types": ["recurrent", "attention"]},
    "Rwkv": {"attention_hidden_size": 32, "context_length": 64},
    "Lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
    "Jamba": {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1}
    | {"expert_layer_period": 2, "use_mamba_kernels": False, "mamba_d_state": 8},
}
ENCODERS: dict[str, dict[str, Any]] = {
    "Bert": {},
    "Roberta": {"pad_token_id": 1},
    "XLMRoberta": {"pad_token_id": 1},
    "Camembert": {"pad_token_id": 1},
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "Deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "DebertaV2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
    | {"position_buckets": 16, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
    "Electra": {"embedding_size": 16},
    "Albert": {"embedding_size": 16},
    "ModernBert": {"local_attention": 8},
    "MPNet": {"pad_token_id": 1},
    "MobileBert": {"embedding_size": 16, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    "SqueezeBert": {"embedding_size": 32},
    "ConvBert": {"embedding_size": 16},
    "RoFormer": {"embedding_size": 16},
    "RemBert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "BigBird": {"attention_type": "original_full"},
    "FNet": {},
    "Funnel": {"block_sizes": [1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64}
    | {"num_hidden_layers": None},
    "Longformer": {"attention_window": 8},
}
CLASSIFYING = (
    "Llama",
    "Qwen2",
    "Qwen3",
    "Mistral",
    "Gemma3Text",
    "GPT2",
    "GPTNeoX",
    "OPT",
    "Bloom",
)
SEQ2SEQ: dict[str, dict[str, Any]] = {
    "T5": {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_kv": 8, "d_ff": 64},
    "Bart": {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2},
}


@dataclass(frozen=True)
class Case:
    """One architecture for one task; `change` makes a variant of its saved folder."""

    name: str
    task: str
    config: dict[str, Any] = field(default_factory=dict)
    kind: str = "CausalLM"  # of its weights: what transformers' auto class is called
    variant: str = ""
    change: Change | None = None

    @property
    def label(self) -> str:
        return f"{self.name}, {self.variant}" if self.variant else self.name

    def write(self, folder: Path) -> None:
        """The model and its tokenizer in a folder; the same numbers each time."""
        make = byte_level if self.kind != "MaskedLM" else word_piece_tokenizer
        tokenizer = make(folder)
        names = ("pad_token_id", "bos_token_id", "eos_token_id")
        ids = {"vocab_size": len(tokenizer)} | {n: getattr(tokenizer, n) for n in names}
        given = {k: v for k, v in (SMALL | ids | self.config).items() if v is not None}
        config = getattr(transformers, f"{self.name}Config")(**given)
        if self.kind != "MaskedLM":  # its architecture's own tokenizer class may add tokens
            config.save_pretrained(folder)
            config.vocab_size = len(transformers.AutoTokenizer.from_pretrained(folder))
        for name in list(vars(config)):
            if "dropout" in name or "pdrop" in name:
                setattr(config, name, 0.0)  # two passes shall be alike
        torch.manual_seed(0)
        model = getattr(transformers, f"AutoModelFor{self.kind}").from_config(config)
        model.save_pretrained(folder)
        if self.change:
            self.change(model, folder)


def byte_level(folder: Path) -> Any:
    return byte_level_tokenizer(folder, pad_is_eos=False)


def _as(dtype: torch.dtype) -> Change:
    return lambda model, folder: model.to(dtype).save_pretrained(folder)


def _in_shards(model: Any, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")


def _without(*tokens: str) -> Change:
    """The tokenizer loses tokens of its own."""

    def change(_: Any, folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in settings.items() if k not in tokens}))

    return change


def _added_pad(_: Any, folder: Path) -> None:
    """A pad token that the embeddings were not resized for."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)


def _pad_is_eos(_: Any, folder: Path) -> None:
    byte_level_tokenizer(folder, pad_is_eos=True)


def cases() -> Iterator[Case]:
    """Every architecture by its task, then the variants."""
    for name, config in CAUSAL.items():
        yield Case(name, "generation", config)
    for name, config in ENCODERS.items():
        yield Case(name, "classification", config, "MaskedLM")
    for name in CLASSIFYING:
        yield Case(name, "classification", CAUSAL[name])
    no_pad = {"pad_token_id": None}
    half = {"fp16 weights": _as(torch.float16), "bf16 weights": _as(torch.bfloat16)}
    stored = half | {"sharded weights": _in_shards}
    tokens = {
        "no BOS": _without("bos_token"),
        "pad is EOS": _pad_is_eos,
    }
    for variant, change in (stored | tokens).items():
        yield Case("Llama", "generation", {}, variant=variant, change=change)
    for variant, change in stored.items():
        yield Case("GPT2", "classification", GPT, variant=variant, change=change)
    for name in ("GPT2", "Llama"):
        for variant, change in (("no pad", _without("pad_token")), ("added pad", _added_pad)):
            config = CAUSAL[name] | no_pad
            yield Case(name, "classification", config, variant=variant, change=change)
            yield Case(name, "generation", config, variant=variant, change=change)
    for variant, change in stored.items():
        yield Case("Bert", "classification", {}, "MaskedLM", variant, change)
    for tied in (True, False):
        variant = "tied" if tied else "untied"
        for name, config in (("Llama", {}), ("GPT2", GPT), ("Qwen2", {})):
            yield Case(name, "generation", config | {"tie_word_embeddings": tied}, variant=variant)


def refused() -> Iterator[Case]:
    """Models that a task cannot be done with: each is refused when it is loaded."""
    for name, config in ENCODERS.items():
        yield Case(name, "generation", config, "MaskedLM")
    for name, config in SEQ2SEQ.items():
        for task in ("generation", "classification"):
            yield Case(name, task, config, "Seq2SeqLM")
    without = _without("eos_token", "sep_token")
    yield Case("Llama", "generation", {}, variant="no EOS", change=without)
