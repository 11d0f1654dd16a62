"""A pretended accelerator: real numbers under another device's name.

Tensors on it are computed by the CPU but refuse to mix with the CPU's own, as those of a
GPU do, and refuse `.numpy()`. So code that forgets a `.to(device)` fails here, without a
GPU. Like a GPU, it takes CPU tensors of no dimension as numbers, and CPU indices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("lazy")  # a device type that every build of torch can name
MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
OPTIMISERS = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class OnDevice(Tensor):
    """A tensor that says it is on DEVICE; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        return Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), device=DEVICE, dtype=inner.dtype,
            storage_offset=inner.storage_offset(), layout=inner.layout)

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"OnDevice({self.inner})"

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if self.dim() == 0 else repr(self)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None) -> Any:
        return route(func, args, kwargs or {})

    def numpy(self, *args, **kwargs) -> None:
        raise TypeError("can't convert an accelerator's tensor to numpy: .cpu() first")

    __array__ = numpy

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(listless(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(listless(index), value)


def listless(index: Any) -> Any:
    """An index whose lists are CPU tensors: torch itself would make them on DEVICE."""
    if isinstance(index, tuple):
        return tuple(map(listless, index))
    return torch.tensor(index) if isinstance(index, list) else index


def route(func: Any, args: tuple, kwargs: dict) -> Any:
    """Compute on the CPU; wrap what would be on DEVICE; refuse a mixture."""
    tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    there = [t for t in tensors if isinstance(t, OnDevice)]
    here = [t for t in tensors if not isinstance(t, OnDevice) and t.dim() > 0]
    indexing = func.__name__.startswith("index") and "copy" not in func.__name__
    if there and here and func not in MOVES and not indexing:
        raise RuntimeError(
            f"Expected all tensors on one device: {func} got shapes "
            f"{[tuple(t.shape) for t in there]} on the accelerator and "
            f"{[tuple(t.shape) for t in here]} on the CPU")
    wrap = bool(there)
    if kwargs.get("device") is not None:
        wrap = torch.device(kwargs["device"]).type == DEVICE.type
        if wrap:
            kwargs = kwargs | {"device": torch.device("cpu")}
    elif func is torch.ops.aten._local_scalar_dense.default:  # .item()
        wrap = False
    elif func is torch.ops.aten.copy_.default:
        wrap = isinstance(args[0], OnDevice)
    unwrapped = pytree.tree_map_only(OnDevice, lambda t: t.inner, (args, kwargs))
    known = {id(t.inner): t for t in there}  # in-place: the same tensor comes out again

    def rewrap(t: Tensor) -> Tensor:
        if isinstance(t, OnDevice):
            return t
        if id(t) in known:
            return known[id(t)]
        return OnDevice(t) if wrap else t

    return pytree.tree_map_only(Tensor, rewrap, func(*unwrapped[0], **unwrapped[1]))


class Mode(TorchDispatchMode):
    """Also catches factories such as `torch.zeros(..., device=DEVICE)`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        return route(func, args, kwargs or {})


def by_way_of_cpu(make: Callable) -> Callable:
    """torch.tensor and its like reach a device by a way of their own."""
    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        out = make(data, *args, **kwargs)
        return out if device is None else out.to(device)
    return made


def without_fused(init: Callable) -> Callable:
    """Fused optimiser kernels know real devices only."""
    def plain(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("fused", None)
        init(self, *args, **kwargs)
    return plain


@contextmanager
def pretended() -> Iterator[torch.device]:
    """While open, DEVICE can be used like a GPU; everything is put back afterwards."""
    with torch.device("cpu"):  # torch lists its constructors once, at their first use:
        torch.empty(0)         # that has to happen before two of them are replaced
    swap = torch.__future__.get_swap_module_params_on_conversion()
    with ExitStack() as stack:
        for name in ("tensor", "as_tensor"):
            stack.enter_context(mock.patch.object(torch, name,
                                                  by_way_of_cpu(getattr(torch, name))))
        for kind in OPTIMISERS:
            stack.enter_context(mock.patch.object(kind, "__init__",
                                                  without_fused(kind.__init__)))
        torch.__future__.set_swap_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swap)
        stack.enter_context(Mode())
        yield DEVICE
