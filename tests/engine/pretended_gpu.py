"""A GPU that is none: tensors that say `cuda:0`, and compute on the CPU.

Every line of the engine that asks for the device takes the way of a GPU, with the CPU's numbers.
Tensors of two devices in one operation raise `MixedDevicesError`; each time that the program waits
for a value of the device, or for a copy to it, is counted with the place that asked. Memory is
counted by the tensors that live and ends at `MEMORY.limit`, autocast casts what it casts on CUDA,
and NVML answers of it.

torch sees a `PrivateUse1` device with a backend in Python (`torch.utils.backend_registration`);
only its name, in Python, is that of CUDA. What this cannot show: kernels, streams, speed. To be
used in a process of its own: torch takes such a device once and never gives it back.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FrameType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import pynvml
import torch
from torch import Tensor
from torch import library as registry
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
BEHIND = "pretended"  # what it is called in C++
aten = torch.ops.aten
# Operations whose result the program cannot have without waiting for the device.
WAITS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
}
COPIES = {aten._to_copy.default, aten.copy_.default}


@dataclass
class Memory:
    """Bytes of the tensors on the device, by storage: views of one are counted once."""

    limit: int = 1 << 34
    used: int = 0
    peak: int = 0
    refused: int = 0  # allocations that did not fit
    held: dict[int, list[int]] = field(default_factory=dict)  # address -> bytes, tensors

    def take(self, tensor: GpuTensor) -> None:
        address, size = tensor.held.data_ptr(), tensor.held.untyped_storage().nbytes()
        if not address:
            return
        known = self.held.setdefault(address, [size, 0])
        if not known[1]:
            if self.used + size > self.limit:
                del self.held[address]
                self.refused += 1
                raise torch.OutOfMemoryError(f"pretended: {size} bytes do not fit")
            self.used += size
            self.peak = max(self.peak, self.used)
        known[1] += 1
        weakref.finalize(tensor, self.give_back, address).atexit = False

    def give_back(self, address: int) -> None:
        size, tensors = self.held[address]
        self.held[address][1] = tensors - 1
        if tensors == 1:
            del self.held[address]
            self.used -= size


MEMORY = Memory()


class MixedDevicesError(AssertionError):
    """An operation got tensors of both devices."""


class GpuTensor(Tensor):
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> GpuTensor:
        made: GpuTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(BEHIND, 0),
            requires_grad=requires_grad,
        )
        return made

    def __init__(self, held: Tensor, requires_grad: bool = False) -> None:
        self.held = held
        MEMORY.take(self)

    def __repr__(self, **_: object) -> str:
        return f"GpuTensor({self.held!r})"

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def tolist(self) -> Any:
        _count("tolist")
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


waits: Counter[tuple[str, str]] = Counter()  # operation and the place in the engine -> times


def _count(what: str) -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and "/core/engine/" not in frame.f_code.co_filename:
        frame = frame.f_back
    where = ""
    if frame is not None:
        file = frame.f_code.co_filename.rpartition("/core/engine/")[2]
        where = f"{file} {frame.f_code.co_name}"
    waits[what, where] += 1


def _is_gpu(device: torch.device) -> bool:
    return device.type in (GPU.type, BEHIND)


def _plain(value: Any) -> Any:
    """What the CPU computes with."""
    if isinstance(value, GpuTensor):
        return value.held
    return CPU if isinstance(value, torch.device) and _is_gpu(value) else value


def _run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    name = str(func)
    if "pin_memory" in name:
        return args[0]
    if "is_pinned" in name:
        return False
    leaves = tree_leaves((args, kwargs))
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    here = [x for x in tensors if isinstance(x, GpuTensor)]
    devices = [x for x in leaves if isinstance(x, torch.device)]
    to_gpu = _is_gpu(devices[0]) if devices else bool(here)
    if func in COPIES or name.startswith("aten.to."):
        if func is aten.copy_.default:
            to_gpu = isinstance(args[0], GpuTensor)
        if here and not to_gpu:
            _count("copy to the CPU")
        elif not here and to_gpu and tensors and not kwargs.get("non_blocking"):
            _count("copy to the GPU")
    elif here and any(x.dim() and not isinstance(x, GpuTensor) for x in tensors):
        raise MixedDevicesError(f"{name}: {[(str(x.device), tuple(x.shape)) for x in tensors]}")
    if func in WAITS and here:
        _count(name)
    out = func(*tree_map(_plain, args), **tree_map(_plain, kwargs))
    known = {id(_plain(x)): x for x in tensors}

    def placed(x: Any) -> Any:
        if not isinstance(x, Tensor) or isinstance(x, GpuTensor):
            return x
        same = known.get(id(x))
        if same is not None and isinstance(same, GpuTensor) == to_gpu:
            return same  # in place
        return GpuTensor(x if same is None else x.clone()) if to_gpu else x

    return tree_map(placed, out)


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: object) -> Tensor:
    return GpuTensor(torch.empty_strided(size, stride, dtype=dtype))


def _empty(size: Any, *, dtype: Any = None, **_: object) -> Tensor:
    return GpuTensor(torch.empty(size, dtype=dtype))


def _copy_(to: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    _plain(to).copy_(_plain(source))
    if isinstance(to, GpuTensor) and not isinstance(source, GpuTensor) and not non_blocking:
        _count("copy to the GPU")
    return to


def _copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    _plain(to).copy_(_plain(source))
    if not isinstance(to, GpuTensor):
        _count("copy to the CPU")
    return to


# What autocast casts on CUDA, of the operations that the engine's models use (`autocast_mode.h`).
LOWER = (
    "addmm",
    "baddbmm",
    "bmm",
    "linear",
    "matmul",
    "mm",
    "scaled_dot_product_attention",
)
WHOLE = (
    "cosine_similarity",
    "cumsum",
    "exp",
    "layer_norm",
    "log",
    "log_softmax.int",
    "logsumexp",
    "nll_loss",
    "pow.Tensor_Scalar",
    "rsqrt",
    "softmax.int",
    "sum",
    "sum.dim_IntList",
)
WIDEST = ("addcmul", "cat", "dot", "index_put", "scatter_add", "stack")
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    casts = isinstance(value, GpuTensor) and dtype is not None and value.dtype in FLOATS
    return value.to(dtype) if casts else value


def _casting(name: str, to: str) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    op = getattr(getattr(aten, packet), overload or "default")
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def work(*args: Any, **kwargs: Any) -> Any:
        dtype: torch.dtype | None = torch.float32
        if to == "lower":
            dtype = torch.get_autocast_dtype(BEHIND)
        elif to == "widest":
            tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, GpuTensor)]
            kinds = {x.dtype for x in tensors if x.dtype in FLOATS}
            dtype = None if len(kinds) < 2 else torch.float32
        with torch._C._ExcludeDispatchKeyGuard(key):
            args, kwargs = tree_map(lambda x: _cast(x, dtype), (args, kwargs))
            return op(*args, **kwargs)

    return work


_kernels: list[registry.Library] = []  # they last as long as this


def set_up() -> None:
    """Before the engine is imported, in a process of its own.

    Views of inference mode cannot be made by a backend in Python: `no_grad` stands in for it.
    """
    torch.inference_mode = _inference_mode  # type: ignore[assignment,misc]
    if not hasattr(torch._C, "_cuda_getCurrentRawStream"):  # bitsandbytes reads it when imported
        torch._C._cuda_getCurrentRawStream = lambda device: 0
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    module: Any = backend_registration._DummyBackendModule()
    module.get_rng_state = lambda device=0: torch.zeros(8, dtype=torch.uint8)
    module.set_rng_state = lambda state, device=0: None
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    backend_registration._setup_privateuseone_for_python_backend(BEHIND, module)
    _kernels.append(registry.Library("aten", "IMPL"))
    for key in ("CUDA", "PrivateUse1"):  # torch.tensor(..., device=...) asks no mode
        _kernels[0].impl("empty_strided", _empty_strided, key)
        _kernels[0].impl("empty.memory_format", _empty, key)
    _kernels[0].impl("copy_", _copy_, "CUDA")
    _kernels[0].impl("_copy_from", _copy_from, "PrivateUse1")
    for to, names in (("lower", LOWER), ("whole", WHOLE), ("widest", WIDEST)):
        for name in names:
            _kernels[0].impl(name, _casting(name, to), "AutocastPrivateUse1")
    _kernels.append(registry.Library("_", "IMPL"))  # whatever else is cast in no way
    _kernels[1].fallback(registry.fallthrough_kernel, "AutocastPrivateUse1")
    for name in ("autocast", "is_autocast_enabled", "get_autocast_dtype"):
        setattr(torch, name, _by_its_name(getattr(torch, name)))


def _inference_mode(mode: bool = True) -> Any:
    return torch.no_grad() if mode else nullcontext()


def _by_its_name(ask: Any) -> Any:
    """What is asked of "cuda" is asked of the device behind it."""

    def asked(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return ask(BEHIND if device_type == GPU.type else device_type, *args, **kwargs)

    return asked


UUID = "5b6d2f0c-0000-4000-8000-0123456789ab"
# Answers in the form of NVML's; the memory is what is counted here.
NVML: dict[str, Callable[..., Any]] = {
    "nvmlInit": lambda: None,
    "nvmlShutdown": lambda: None,
    "nvmlDeviceGetHandleByUUID": {f"GPU-{UUID}": "handle"}.__getitem__,
    "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(
        used=MEMORY.used, total=MEMORY.limit, free=MEMORY.limit - MEMORY.used
    ),
    "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=87, memory=41),
}
CUDA: dict[str, Callable[..., Any]] = {
    "_lazy_init": lambda: None,
    "is_available": lambda: True,
    "current_device": lambda: 0,
    "device_count": lambda: 1,
    "is_bf16_supported": lambda including_emulation=True: True,
    "set_device": lambda device: None,
    "synchronize": lambda device=None: None,
    "get_rng_state": lambda device=0: torch.zeros(8, dtype=torch.uint8),
    "set_rng_state": lambda state, device=0: None,
    "manual_seed": lambda seed: None,
    "manual_seed_all": lambda seed: None,
    "mem_get_info": lambda device=None: (MEMORY.limit - MEMORY.used, MEMORY.limit),
    "empty_cache": lambda: None,
    "get_device_capability": lambda device=None: (9, 0),
    "get_device_properties": lambda device=None: SimpleNamespace(
        name="pretended", total_memory=MEMORY.limit, major=9, minor=0, uuid=UUID
    ),
    "max_memory_allocated": lambda device=None: MEMORY.peak,
    "memory_allocated": lambda device=None: MEMORY.used,
    "reset_peak_memory_stats": lambda device=None: None,
}


@contextmanager
def pretended_gpu() -> Iterator[Counter[tuple[str, str]]]:
    """A GPU for as long as this lasts, on this thread. Yields how often it was waited for."""
    waits.clear()
    with patch.multiple(torch.cuda, **CUDA), patch.multiple(pynvml, **NVML), _Mode():
        yield waits
