"""Two answers streamed together, and 200 rows answered in batches, against `generate`.

    python tests/bench/answers.py [ROWS] [BATCH] [NEW_TOKENS]

Llama shape of 130 M parameters, random weights by seed, a LoRA adapter of rank 16. In float32
the tokens must be equal; with bfloat16 weights batches round otherwise.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from ftev.core.engine.answering.generate import Voice, generate
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.completions import complete
from ftev.core.run.control import AskPrompt, TokenMade
from measure import Spent, alternate, section, table
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation.streamers import BaseStreamer

SHAPE = {"vocab_size": 32_000, "hidden_size": 768, "intermediate_size": 2_048}
DEPTH = {"num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 1_024}
SMALL = {"vocab_size": 32_000, "hidden_size": 384, "intermediate_size": 1_024}
PROMPT, NEW, LIMIT = 32, 48, 64  # tokens


class Words:
    """As much of a tokenizer as answers need: a token is its number."""

    pad_token_id, eos_token_id, bos_token_id = 0, 0, 1

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(f" {i}" for i in ids)

    def __call__(self, text: str, **_: Any) -> Any:
        return type("Coded", (), {"input_ids": [3]})


def llama(device: str, **shape: Any) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(**shape, initializer_range=0.05, pad_token_id=0, eos_token_id=0)
    return LlamaForCausalLM(config).eval().to(device)


def with_adapter(device: str) -> Loaded:
    model = get_peft_model(
        llama(device, **SHAPE, **DEPTH),
        LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return Loaded(model.eval(), Words(), 1_024)


class FirstToken(BaseStreamer):  # type: ignore[misc, no-untyped-call]
    """When `generate` puts its first token; what it puts before is the prompt."""

    def __init__(self) -> None:
        self.started, self.puts, self.seconds = time.perf_counter(), 0, 0.0

    def put(self, value: Any) -> None:
        self.puts += 1
        if self.puts == 2:
            self.seconds = time.perf_counter() - self.started

    def end(self) -> None:
        pass


Told = tuple[list[list[int]], list[float]]  # tokens of base and tuned, seconds to the first of each


def twice(loaded: Loaded, prompt: list[int], new: int) -> Told:
    """`generate` with the adapter off, then on."""
    ids = torch.tensor([prompt], device=loaded.device)
    settings = GenerationConfig(
        max_new_tokens=new, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    made, first, started = [], [], time.perf_counter()
    for voice in (loaded.as_base(), loaded):
        streamer = FirstToken()
        streamer.started = started
        with voice.active() as model, torch.inference_mode():
            whole = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                streamer=streamer,
            )
        made.append(whole[0, len(prompt) :].tolist())
        first.append(streamer.seconds)
    return made, first


def together(loaded: Loaded, prompt: list[int], new: int) -> Told:
    voices = [Voice("base", loaded.as_base()), Voice("tuned", loaded)]
    first: dict[str, float] = {}
    started = time.perf_counter()
    for reply in generate(voices, prompt, AskPrompt(text="", max_new_tokens=new)):
        if isinstance(reply, TokenMade):
            first.setdefault(reply.model, time.perf_counter() - started)
    return [voice.made for voice in voices], [first[v.name] for v in voices]


def asked_both_ways(
    device: str, new: int, rounds: int, dtype: torch.dtype
) -> tuple[Loaded, dict[str, Spent], dict[str, list[list[float]]], bool]:
    """The model, what each way took, the seconds to its first tokens, whether all are equal."""
    loaded = with_adapter(device)
    loaded.model.to(dtype)
    prompt = np.random.default_rng(0).integers(3, 32_000, PROMPT).tolist()
    firsts: dict[str, list[list[float]]] = {"twice": [], "together": []}

    def side(name: str, ask: Any) -> Any:
        def work() -> Any:
            made, first = ask(loaded, prompt, new)
            firsts[name].append(first)
            return made

        return work

    spent = alternate(
        {"twice": side("twice", twice), "together": side("together", together)}, rounds, True
    )
    exact = dtype == torch.float32
    same = spent["twice"].result == spent["together"].result
    assert same or not exact, "not the same tokens"
    return loaded, spent, firsts, same


def pair(device: str, new: int, rounds: int, dtype: torch.dtype) -> str:
    loaded, spent, firsts, same = asked_both_ways(device, new, rounds, dtype)
    rates = {name: 2 * new / s.median_cpu for name, s in spent.items()}
    walls = {name: 2 * new / s.median_wall for name, s in spent.items()}
    waits = {name: 1e3 * np.median(text[1:], axis=0) for name, text in firsts.items()}
    names = {"twice": "`generate` twice", "together": "ftev, one batch of two"}
    rows = [
        [
            names[name],
            f"{rates[name]:.1f}",
            f"{walls[name]:.1f}",
            f"{waits[name][0]:.0f} ms",
            f"{waits[name][1]:.0f} ms",
        ]
        for name in spent
    ]
    ratio = rates["together"] / rates["twice"]
    size = sum(p.numel() for p in loaded.model.parameters()) / 1e6
    head = ["way", "tokens / CPU s", "tokens / s", "first token, base", "first token, tuned"]
    return (
        f"Base and tuned (LoRA, rank 16) of {size:.0f} M parameters, {str(dtype)[6:]}, {PROMPT} "
        f"tokens of prompt and {new} of answer each; the tokens are {'' if same else 'not '}"
        f"equal.\n\n"
        + table(head, rows)
        + f"\n\nStreamed together: {ratio:.2f} × the tokens a CPU second."
    )


def in_file_order(loaded: Loaded, prompts: list[list[int]], size: int, stop: set[int]) -> Any:
    """`generate` over batches as the rows come, padded on the left."""
    answers = []
    settings = GenerationConfig(
        max_new_tokens=LIMIT, do_sample=False, pad_token_id=0, eos_token_id=sorted(stop)
    )
    for start in range(0, len(prompts), size):
        part = prompts[start : start + size]
        width = max(map(len, part))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in part], device=loaded.device)
        mask = torch.tensor(
            [[0] * (width - len(p)) + [1] * len(p) for p in part], device=loaded.device
        )
        with torch.inference_mode():
            whole = loaded.model.generate(
                input_ids=ids, attention_mask=mask, generation_config=settings
            )
        for row in whole[:, width:].tolist():
            end = next((i for i, t in enumerate(row) if t in stop), len(row))
            answers.append(row[:end])
    return answers


def sorted_batches(loaded: Loaded, prompts: list[list[int]], budget: int, stop: set[int]) -> Any:
    *_, answers = complete(loaded, prompts, LIMIT, stop, "float32", budget)
    assert isinstance(answers, list)
    return [answer.tokens for answer in answers]


def rows_answered(device: str, count: int, size: int, rounds: int) -> str:
    """Prompts of lognormal lengths; one token of 25 ends an answer: some run to the limit."""
    model = llama(device, **SMALL, **{**DEPTH, "num_hidden_layers": 8, "num_attention_heads": 6})
    loaded, random = Loaded(model, Words(), 1_024), np.random.default_rng(2)
    lengths = np.clip(random.lognormal(np.log(48), 0.7, count).astype(int), 8, 400)
    prompts = [random.integers(3, 32_000, n).tolist() for n in lengths]
    stop = set(random.permutation(np.arange(3, 32_000))[: 32_000 // 25].tolist())
    budget = int(size * (lengths.mean() + LIMIT))  # as many rows a batch, on the average
    spent = alternate(
        {
            f"`generate`, file order, {size} rows a batch": lambda: in_file_order(
                loaded, prompts, size, stop
            ),
            f"ftev, about {size} rows a batch": lambda: sorted_batches(
                loaded, prompts, budget, stop
            ),
            "ftev, its default of 8,192 tokens a batch": lambda: sorted_batches(
                loaded, prompts, 8_192, stop
            ),
        },
        rounds,
    )
    peer, *ours = spent.values()
    assert all(side.result == peer.result for side in ours), "not the same tokens"
    made = sum(map(len, peer.result))
    rows = [
        [
            name,
            f"{made / side.median_cpu:.0f}",
            f"{side.median_cpu:.1f} s",
            f"{side.median_wall:.1f} s",
            f"{peer.median_cpu / side.median_cpu:.2f} ×",
        ]
        for name, side in spent.items()
    ]
    ended = sum(len(answer) < LIMIT for answer in peer.result)
    size_m = sum(p.numel() for p in model.parameters()) / 1e6
    return (
        f"{count} rows answered by a model of {size_m:.0f} M parameters, float32, at most {LIMIT} "
        f"tokens each; {ended} answers end before that. The answers are equal.\n\n"
        + table(["way", "tokens / CPU s", "CPU", "wall", "ratio"], rows)
    )


def main(rows: int = 200, size: int = 16, new: int = NEW, rounds: int = 3) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pairs = [pair(device, new, rounds, dtype) for dtype in (torch.float32, torch.bfloat16)]
    print(*pairs, file=sys.stderr, flush=True)
    second = "" if rows == 0 else rows_answered(device, rows, size, max(1, rounds - 1))
    command = " ".join(["python tests/bench/answers.py", *sys.argv[1:]])
    packages = ("torch", "transformers", "peft")
    print(section("Two answers at once, and many", command, packages, *pairs, second))


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
