"""Which kernels and copies a device computes with, and why: chosen here alone, by what it can.

Whoever computes asks the functions; `ftev-tui doctor` shows the list. What a model's own shape
forbids (dropout within attention, a bias) is asked beside them, where the model is known.
"""

from __future__ import annotations

from typing import Any

import msgspec
import torch

FLASH_CAPABILITY = (8, 0)  # Ampere: the kernels of flash attention are compiled from there on
Reason = str  # why something is not done; empty where it is


class Kernels(msgspec.Struct, forbid_unknown_fields=True):
    """The question: nothing is to be said with it."""


class Choice(msgspec.Struct, frozen=True):
    """One kernel or copy: whether it is used on a device, and why or why not."""

    name: str
    on: bool
    why: str


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic in hardware: then "auto" is autocast to it."""
    if device.type == "cuda":
        # emulated, as before Ampere, it costs more than float32
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def lacks_variable_length(device: torch.device, precision: str = "bfloat16") -> Reason:
    """Why rows end to end do not go through torch's variable-length attention."""
    if device.type == "cpu":
        return "a kernel of CUDA; on a CPU rows of like length attend side by side"
    if torch.cuda.get_device_capability(device) < FLASH_CAPABILITY:
        return "the kernel needs compute capability 8.0"
    if precision != "bfloat16":
        return "the kernel computes in 16 bits, and this run in float32"
    try:
        from torch.nn.attention import varlen  # noqa: F401
    except ImportError:
        return "torch has it from 2.10 on"
    return ""


def fuses_optimizer(device: torch.device) -> bool:
    """Whether AdamW is one kernel: it also skips a step whose gradient is not finite by itself."""
    return device.type in ("cpu", "cuda")


def copies_ahead(device: torch.device) -> bool:
    """Whether batches go to the device from pinned memory, while it still computes."""
    # without pinned memory each copy would wait for all that the GPU still has to compute
    return device.type == "cuda"


def choices(device: torch.device) -> list[Choice]:
    """All of them for a device."""
    gpu, lacks = device.type == "cuda", lacks_variable_length(device)
    half = fast_bfloat16(device)
    return [
        Choice(
            "bfloat16 autocast",
            half,
            "where precision is auto; weights stay float32" if half else "not in this hardware",
        ),
        Choice(
            "variable-length attention",
            not lacks,
            lacks or "packed rows of a causal model without dropout in attention, in bfloat16",
        ),
        Choice("attention by torch (SDPA)", True, ", ".join(_backends(device)) + "; torch chooses"),
        Choice("fused AdamW", fuses_optimizer(device), "one kernel a step instead of one a weight"),
        Choice(
            "pinned copies",
            copies_ahead(device),
            "the next batch goes over while this one is computed" if gpu else "nothing to copy to",
        ),
        Choice(
            "CUDA graphs for answers",
            False,
            "an answer's cache grows by a token a pass, and a graph has fixed shapes"
            if gpu
            else "of a GPU only",
        ),
        Choice(
            "TF32 in float32",
            False,
            "scores in float32 are to be those of a CPU to 1e-4" if gpu else "of a GPU only",
        ),
    ]


def _backends(device: torch.device) -> list[str]:
    if device.type == "cpu":
        return ["plain products where they train faster", "flash for CPUs"]
    able = torch.cuda.get_device_capability(device)
    cuda: Any = torch.backends.cuda
    # cuDNN's attention is compiled for Hopper and later; torch prefers it there
    known = {
        "flash": able >= FLASH_CAPABILITY and cuda.flash_sdp_enabled(),
        "memory-efficient": cuda.mem_efficient_sdp_enabled(),
        "cuDNN": able >= (9, 0) and cuda.cudnn_sdp_enabled(),
        "plain": cuda.math_sdp_enabled(),
    }
    return [name for name, there in known.items() if there]


def kernels(_: Kernels, __: Any = None) -> dict[str, Any]:
    """The answer to `ask kernels`: the device of a run here, and each choice for it."""
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
    found = [{"name": c.name, "on": c.on, "why": c.why} for c in choices(device)]
    return {"device": str(device), "kernels": found}
