"""Log-likelihoods against lm-eval's Hugging Face backend: documents, completions, shared contexts.

    python tests/bench/scoring.py [DOCUMENTS] [COMPLETIONS] [ROUNDS]

Llama shape of 30 M parameters, a vocabulary of 50,000, random weights by seed. lm-eval adds up in
float32 on both precisions (`softmax_dtype`), as ftev does, and gets the batch size that is best for
it on a part of the rows.
"""

from __future__ import annotations

import json
import logging
import resource
import statistics
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.evaluate import score_tokens
from ftev.core.engine.scoring.rows import TokenRows
from measure import Spent, alternate, now, section, table

VOCABULARY, WINDOW = 50_000, 512
Request = tuple[
    tuple[str, str], list[int], list[int]
]  # lm-eval's own: texts, context, continuation
KINDS = ("documents", "completions", "shared contexts")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Batch sizes that lm-eval is tried with; hidden, inner, layers, heads: 30 M parameters, 1 B.
SIZES = (1, 4, 8, 16) if DEVICE == "cpu" else (8, 32, 128)
SHAPE = (384, 1_024, 6, 6) if DEVICE == "cpu" else (2_048, 8_192, 16, 32)


def model(precision: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    hidden, inner, layers, heads = SHAPE
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
    )
    with torch.device(DEVICE):  # a billion numbers take a CPU ten seconds to draw
        return LlamaForCausalLM(config).eval().to(getattr(torch, precision))


def tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({f"t{i}": i for i in range(VOCABULARY)}, unk_token="t2"))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="t0", eos_token="t1", pad_token="t1", unk_token="t2"
    )


def requests(kind: str, count: int) -> list[Request]:
    """Documents of about 150 tokens; contexts of about 100, endings of 2 to 23, some four each."""
    random = np.random.default_rng(3)

    def tokens(n: int) -> list[int]:
        return random.integers(2, VOCABULARY, n).tolist()

    if kind == "documents":
        lengths = np.clip(random.lognormal(np.log(150), 0.7, count).astype(int), 8, WINDOW - 1)
        return [(("", ""), [0], tokens(n)) for n in lengths]
    each, found = (4 if kind == "shared contexts" else 1), []
    for _ in range(count // each):
        context = [0, *tokens(int(np.clip(random.lognormal(np.log(100), 0.5), 10, 400)))]
        found += [(("", ""), context, tokens(int(random.integers(2, 24)))) for _ in range(each)]
    return found


def theirs(precision: str, size: int) -> Callable[[list[Request]], Any]:
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(
        pretrained=model(precision),
        tokenizer=tokenizer(),
        batch_size=size,
        max_length=WINDOW,
        device=DEVICE,
        softmax_dtype="float32",
    )
    return lambda asked: np.array(
        [t for t, _ in lm._loglikelihood_tokens(asked, disable_tqdm=True)]
    )


def ours(precision: str) -> Callable[[list[Request]], Any]:
    loaded = Loaded(model("float32"), tokenizer(), WINDOW)

    def work(asked: list[Request]) -> Any:
        *_, frame = score_tokens(loaded, rows_of(asked), precision, 8_192)
        assert isinstance(frame, pl.DataFrame)
        return -frame["nll"].to_numpy()

    return work


def rows_of(asked: list[Request]) -> TokenRows:
    rows = TokenRows(scored=[], row_ids=list(range(len(asked))), bytes=[0] * len(asked))
    assert rows.scored is not None
    for _, context, ending in asked:
        rows.ids.append(np.array([*context, *ending], dtype=np.int32))
        rows.scored.append(np.arange(len(context) + len(ending)) >= len(context))
    return rows


def best_size(precision: str, asked: list[Request]) -> int:
    """The batch size at which lm-eval takes least time for a part of the rows."""
    spent = {}
    for size in SIZES:
        work = theirs(precision, size)
        work(asked[:2])
        started = now()
        work(asked)
        spent[size] = now() - started
    return min(spent, key=lambda size: spent[size])


def growth(side: str, precision: str, kind: str, size: int, count: int) -> float:
    """MiB above the model that a process of its own takes for the work.

    The median of three: now and then the allocator keeps what another process gives back.
    """
    found = json.dumps([side, precision, kind, size, count])
    command = [sys.executable, "-W", "ignore", __file__, "--memory", found]
    ran = [
        subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        for _ in range(3)
    ]
    return statistics.median(float(one.stdout.split()[-1]) for one in ran)


def memory(side: str, precision: str, kind: str, size: int, count: int) -> None:
    work = ours(precision) if side == "ftev" else theirs(precision, size)
    work(requests("documents", 1)[:1] if DEVICE == "cuda" else [(("", ""), [0], [5, 6])])
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
        work(requests(kind, count))
        print(torch.cuda.max_memory_allocated() / 2**20 - before)
        return
    before, most, done = resident(), [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], resident())

    watch = threading.Thread(target=look)
    watch.start()
    work(requests(kind, count))
    done.set()
    watch.join()
    print(most[0] - before)


def resident() -> float:
    """MiB of this process in memory now: its peak while it loaded would hide the work."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize() / 2**20


def sides(
    precision: str, kind: str, count: int, rounds: int
) -> tuple[int, dict[str, Spent], float, int]:
    """lm-eval's best batch size, what each side took, how far apart in nats, and the tokens."""
    asked = requests(kind, count)
    size = best_size(precision, asked[: max(8, count // 6)])
    print(f"{precision} {kind}: lm-eval's best batch size is {size}", file=sys.stderr)
    peer, own = theirs(precision, size), ours(precision)
    spent = alternate({"peer": lambda: peer(asked), "own": lambda: own(asked)}, rounds)
    apart = float(np.abs(spent["peer"].result - spent["own"].result).max())
    assert apart < (1e-3 if precision == "float32" else 1.0), apart
    return size, spent, apart, sum(len(context) + len(ending) for _, context, ending in asked)


def compared(precision: str, kind: str, count: int, rounds: int) -> list[object]:
    size, spent, apart, tokens = sides(precision, kind, count, rounds)
    rate, own_rate = (tokens / spent[side].median for side in ("peer", "own"))
    used, own_used = (growth(s, precision, kind, size, count) for s in ("lm-eval", "ftev"))
    return [
        f"{kind}, {precision}",
        size,
        f"{rate:,.0f}",
        f"{own_rate:,.0f}",
        f"{own_rate / rate:.2f} ×",
        f"{used:.0f} MiB",
        f"{own_used:.0f} MiB",
        f"{own_used / used:.2f}",
        f"{apart:.0e}",
    ]


def main(documents: int = 48, completions: int = 120, rounds: int = 2) -> None:
    counts = dict(zip(KINDS, (documents, completions, completions), strict=True))
    rows = [
        compared(precision, kind, count, rounds)
        for precision in ("float32", "bfloat16")
        for kind, count in counts.items()
    ]
    head = ["work", "lm-eval's batch", "lm-eval, tokens / CPU s", "ftev", "ratio"]
    head += ["lm-eval, memory above the model", "ftev", "of it", "apart, nats"]
    command = " ".join(["python tests/bench/scoring.py", *sys.argv[1:]])
    packages = ("torch", "transformers", "lm-eval")
    text = (
        f"{documents} documents, {completions} completions after a context each, and as many that "
        "share one context in four. Memory: what the process grows by at its peak; for bfloat16 "
        "ftev's includes the rounded copy of its float32 weights. Apart: the largest difference of "
        "a row's log-likelihood."
    )
    print(section("Log-likelihood against lm-eval", command, packages, text, table(head, rows)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if sys.argv[1:2] == ["--memory"]:
        memory(*json.loads(sys.argv[2]))
    else:
        main(*(int(number) for number in sys.argv[1:]))
