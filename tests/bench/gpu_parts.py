"""What `gpu.py` runs of each part, in a process of its own: figures, as they are found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEVICE = "cuda:0"
Figure = dict[str, Any]  # what, found, wanted, met


def at_least(what: str, value: float, wanted: float, shown: str) -> Figure:
    met = value >= wanted
    return {"what": what, "found": shown, "wanted": f"at least {wanted:g}", "met": met}


def noted(what: str, found: str) -> Figure:
    return {"what": what, "found": found}


def inside(name: str, rehearse: bool, pretended: bool) -> Iterator[Figure]:
    """The figures of a part."""
    kind, _, size = name.partition("-")
    work = {
        "tests": gpu_tests,
        "classifier": classifier,
        "causal": causal,
        "scoring": scoring,
        "answers": answers,
        "qlora": qlora,
        "nccl": nccl,
        "memory": memory,
    }[kind]
    if not (rehearse and pretended):
        yield from work(rehearse, size)
        return
    sys.path.insert(0, str(HERE.parent / "engine"))
    from pretended_gpu import pretended_gpu, set_up

    set_up()
    with pretended_gpu():
        yield from work(rehearse, size)


def gpu_tests(rehearse: bool, _: str) -> Iterator[Figure]:
    folder = HERE.parent / "engine"
    named = subprocess.run(["grep", "-lr", "mark.gpu", folder], capture_output=True, check=True)
    files = sorted(f for f in named.stdout.decode().split() if f.endswith(".py"))
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "0", *files]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
    print(ran.stdout[-3_000:], file=sys.stderr)
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", ran.stdout)
    last = ", ".join(counts) or f"ended with {ran.returncode}"
    met = ran.returncode == 0 and (rehearse or ("passed" in last and "skipped" not in last))
    yield {"what": "pytest -m gpu", "found": last, "wanted": "all pass, none skipped", "met": met}


def side(script: str, *given: str) -> dict[str, Any]:
    """What one side of a benchmark found, in a process of its own."""
    command = [sys.executable, "-W", "ignore", str(HERE / script), *given]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(script, *given[:2], found, file=sys.stderr, flush=True)
    return found


def clock() -> str:
    """Of the sides' two clocks the one that counts: a GPU works while its process waits."""
    import torch

    return "wall" if torch.cuda.is_available() else "cpu"


def rate(found: dict[str, Any]) -> float:
    """Real tokens a second."""
    return float(found["tokens"] / found[clock()])


def classifier(rehearse: bool, _: str) -> Iterator[Figure]:
    """The shape of BERT-base on texts of lognormal length."""
    from classifier_sides import BEST, OURS, made_rows, split_rows

    rows = 64 if rehearse else 32_000  # a thousand steps of 32 rows: some 30 s a side
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "base", small=rehearse)
        split_rows(made_rows(rows, 256, 1), rows, 0, 1).write_parquet(folder / "rows.parquet")
        given = ["--model", str(folder / "base"), "--rows-file", str(folder / "rows.parquet")]
        given += ["--learning-rate", "5e-5"]
        found = {}
        for who in (OURS, BEST):
            found[who] = side("classifier.py", "--side", who, *given)
            shown = f"{rate(found[who]):,.0f} tokens a second"
            yield noted(f"{who}, {found[who]['precision']}", shown)
    ratio = rate(found[OURS]) / rate(found[BEST])
    yield at_least("times Trainer's best flags", ratio, 1.5, f"{ratio:.2f} ×")


def write_encoder(folder: Path, small: bool) -> None:
    """BERT-base by its shape, without a head, weights drawn by seed, the words of made texts."""
    import torch
    from classifier_sides import COMMON, TOPICS
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({*COMMON.split(), *" ".join(TOPICS.values()).split()})
    known = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        **{f"{name}_token": token for name, token in names.items()},
    ).save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4} if small else {}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=30_522, pad_token_id=0, **shape)
    BertForMaskedLM(config).save_pretrained(folder)


def causal(rehearse: bool, size: str) -> Iterator[Figure]:
    """Texts of lognormal length, packed to 2,048 tokens by SFTTrainer; both take the same steps."""
    from causal_sides import PEER, SAME

    tokens, longest = {"1b": 2_000_000, "0.1b": 4_000_000}[size], 2_048
    if rehearse:
        tokens, longest = 3_000, 256
    shape = "1m" if rehearse else size
    with tempfile.TemporaryDirectory() as name:
        given = ["--case", "texts-50k", "--size", shape, "--longest", str(longest)]
        given += ["--tokens", str(round(tokens / 0.6)), "--batch-tokens", str(8 * longest)]
        given += ["--learning-rate", "3e-4", "--steps", f"{name}/steps.json"]
        found = {}
        for who in (PEER, SAME):
            scores = f"{name}/{len(found)}.parquet"
            found[who] = one = side("causal.py", "--side", who, *given, "--scores", scores)
            use = "" if one["mfu"] is None else f", {one['mfu']:.1%} of the device's peak"
            shown = f"{rate(one):,.0f} tokens a second, {one['memory']:,.0f} MiB{use}"
            yield noted(who, f"{shown}, loss {one['loss']:.4f}")
    peer, ours = found[PEER], found[SAME]
    ratio = rate(ours) / rate(peer)
    yield at_least("times SFTTrainer", ratio, 1.3, f"{ratio:.2f} ×")
    apart = abs(ours["loss"] - peer["loss"])
    yield {"what": "losses apart", "found": f"{apart:.4f} nats a token", "wanted": "below 0.02",
           "met": apart < 0.02}  # fmt: skip
    if size == "1b":
        use = ours["mfu"] or 0.0
        yield at_least("share of the device's peak (MFU)", use, 0.5, f"{use:.1%}")


def scoring(rehearse: bool, _: str) -> Iterator[Figure]:
    import logging

    logging.disable(logging.WARNING)
    from scoring import KINDS, sides

    counts = (8, 16, 16) if rehearse else (2_000, 4_000, 4_000)
    for kind, count in zip(KINDS, counts, strict=True):
        size, spent, apart, tokens = sides("bfloat16", kind, count, 1 if rehearse else 2)
        peer, own = (tokens / spent[s].median for s in ("peer", "own"))
        shown = f"{own:,.0f} tokens a second, lm-eval {peer:,.0f} ({size} rows a batch)"
        yield noted(f"{kind}, bfloat16", f"{shown}, {apart:.0e} nats apart at most")
        yield at_least(f"{kind}, times lm-eval", own / peer, 1.5, f"{own / peer:.2f} ×")


def answers(rehearse: bool, _: str) -> Iterator[Figure]:
    import answers as bench
    import torch

    new, rounds = (4, 1) if rehearse else (128, 3)
    if rehearse:
        bench.SHAPE |= {"hidden_size": 96, "intermediate_size": 256}
        bench.DEPTH |= {"num_hidden_layers": 2}
    for dtype in (torch.float32, torch.bfloat16):
        _, spent, firsts, same = bench.asked_both_ways(DEVICE, new, rounds, dtype)
        kind = str(dtype).removeprefix("torch.")
        for way, took in spent.items():
            base, tuned = (1e3 * min(x) for x in zip(*firsts[way], strict=True))
            shown = f"{2 * new / took.median_wall:,.0f} tokens a second"
            yield noted(f"{kind}, {way}", f"{shown}, first after {base:.0f} and {tuned:.0f} ms")
        ratio = spent["twice"].median_wall / spent["together"].median_wall
        equal = "equal" if same else "not equal"
        what = f"{kind}, times `generate` twice"
        yield at_least(what, ratio, 1.7, f"{ratio:.2f} ×, tokens {equal}")


def language_model(rehearse: bool, size: str, tokens: int) -> tuple[Any, Any]:
    """A Llama shape on the device, and rows for it."""
    import torch
    from causal_sides import SIZES, made_model, made_rows

    shape, longest = ("1m", 128) if rehearse else (size, 1_024)
    loaded = made_model(shape, longest, 1)
    loaded.model.to(DEVICE if torch.cuda.is_available() else "cpu")
    return loaded, made_rows("texts", tokens, longest, SIZES[shape][-1], 1)


def trained(loaded: Any, rows: Any, precision: str, **settings: Any) -> tuple[list[Any], int]:
    """Some steps, and the bytes that the device held at most meanwhile."""
    import torch
    from ftev.core.config.config import TrainConfig
    from ftev.core.engine.training.train import read_steps, train
    from ftev.core.engine.training.trainer import Trainer, plan_training

    asked = TrainConfig(epochs=1, learning_rate=1e-4, warmup_ratio=0.0, **settings)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    t = Trainer(loaded, rows, plan_training(rows, asked), asked, precision)
    steps = read_steps(list(train(t)))
    return steps, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def memory(rehearse: bool, _: str) -> Iterator[Figure]:
    """As the form estimates it before a run, from sizes and lengths alone."""
    import numpy as np
    import torch
    from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
    from ftev.core.run.estimate import Pace, estimate_run

    before = torch.cuda.memory_allocated()
    loaded, rows = language_model(rehearse, "0.1b", 2_000 if rehearse else 200_000)
    batch = 8 if rehearse else 32
    steps, most = trained(loaded, rows, "bfloat16", batch_size=batch, max_steps=4)
    c, lengths = loaded.model.config, rows.lengths
    model = {
        "splits": {"train": {"rows": len(rows), "tokens": int(lengths.sum()),
                             "p95": float(np.percentile(lengths, 95))}},
        "state_bytes": 16 * sum(p.numel() for p in loaded.model.parameters()),
        "layers": c.num_hidden_layers, "hidden": c.hidden_size, "vocab": c.vocab_size,
    }  # fmt: skip
    config = RunConfig(
        task="generation",
        model=ModelConfig(base="made", precision="bfloat16"),
        train=TrainConfig(batch_size=batch, devices=1),
    )
    estimate = estimate_run(config, model, Pace())
    assert estimate is not None
    took = most - before
    shown = f"{took / 2**20:,.0f} MiB of {estimate.memory_bytes / 2**20:,.0f} estimated"
    share = took / estimate.memory_bytes
    yield noted("steps taken", str(len(steps)))
    yield {"what": "memory of training", "found": shown, "wanted": "0.6 to 1.1 of it",
           "met": 0.6 <= share <= 1.1}  # fmt: skip


def qlora(rehearse: bool, _: str) -> Iterator[Figure]:
    """The base saved in 4 bits and loaded as a user's folder is, an adapter trained on it."""
    import torch
    from ftev.core.config.config import ModelConfig, RunConfig
    from ftev.core.engine.models.devices import choose_device
    from ftev.core.engine.models.load import add_adapter, load
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    whole, rows = language_model(rehearse, "0.5b", 2_000 if rehearse else 100_000)
    with tempfile.TemporaryDirectory() as name:
        for part in (whole.model, whole.tokenizer):
            part.save_pretrained(f"{name}/base")
        four = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
        small = AutoModelForCausalLM.from_pretrained(f"{name}/base", quantization_config=four)
        small.save_pretrained(f"{name}/four")
        whole.tokenizer.save_pretrained(f"{name}/four")
        del whole, small
        took, losses = dict[str, int](), dict[str, float]()
        for kind in ("base", "four"):  # whole, in 4 bits
            folder = f"{name}/{kind}"
            model = ModelConfig(base=folder, adapter="lora", precision="bfloat16")
            config = RunConfig(task="generation", model=model)
            before = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
            loaded = load(config, folder)
            loaded.model.to(choose_device(config))
            add_adapter(loaded, config)
            steps, most = trained(loaded, rows, "bfloat16", batch_size=8, max_steps=6)
            losses[kind] = steps[-1].loss_sum / steps[-1].loss_count
            took[kind] = most - before
            yield noted(
                f"LoRA on {kind}", f"loss {losses[kind]:.3f}, {took[kind] / 2**20:,.0f} MiB"
            )
            del loaded
    apart = abs(losses["four"] - losses["base"])
    yield {"what": "losses apart", "found": f"{apart:.3f} nats a token", "wanted": "below 0.1",
           "met": apart < 0.1}  # fmt: skip
    if took["base"]:
        share = took["four"] / took["base"]
        yield {"what": "memory of 4 bits", "found": f"{share:.2f} of LoRA's", "wanted": "below 0.6",
               "met": share < 0.6}  # fmt: skip


def nccl(rehearse: bool, _: str) -> Iterator[Figure]:
    """One process, one device: what several would exchange, and weights sharded as for them."""
    import torch
    from ftev.core.engine.distributed.ranks import Under, _shard, whole
    from torch import distributed

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    backend = "nccl" if kind == "cuda" else "gloo"
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": "0", "WORLD_SIZE": "1"}
    with tempfile.TemporaryDirectory() as name:
        distributed.init_process_group(
            backend, init_method=f"file://{name}/meet", rank=0, world_size=1
        )
        numbers = torch.ones(1 << 20, device=kind)
        distributed.all_reduce(numbers)
        summed = bool((numbers == 1).all())
        yield {"what": f"{backend}, a sum of 2^20 numbers", "found": "right" if summed else "wrong",
               "wanted": "right", "met": summed}  # fmt: skip
        loaded, rows = language_model(rehearse, "0.1b", 1_000)
        ids = torch.from_numpy(rows.ids[0].astype("int64"))[None].to(kind)

        def loss() -> Any:
            return loaded.model(input_ids=ids, labels=ids).loss

        plain = loss()
        plain.backward()
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in loaded.model.parameters()]))
        loaded.model.zero_grad()
        outer = _shard(Under(loaded.model), kind, 1)
        sharded = outer(loss)
        sharded.backward()
        grads = [p.grad for p in loaded.model.parameters() if p.grad is not None]
        other = float(whole(torch.nn.utils.get_total_norm(grads)))
        apart = max(abs(1 - float(sharded) / float(plain)), abs(1 - other / norm))
        shown = f"loss {float(sharded):.4f} of {float(plain):.4f}, norm {other:.4f} of {norm:.4f}"
        yield {"what": "weights sharded (FSDP2)", "found": shown, "wanted": "within 1e-3 of plain",
               "met": apart < 1e-3}  # fmt: skip
        distributed.destroy_process_group()
