"""The elementwise parts of a searched network in few passes over memory: native.cpp, called on tensors.

Each function has a plain form in torch, which computes the same and is taken where a tensor is of another type than the
passes, not channels-last or not on a CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bars.binarize.signs import CLOSED
from bars.models import staggered
from bars.models import unit_passes as plain
from bars.models.native_build import library
from bars.models.unit_passes import Edges, Gradients, Kernels, Through

SOURCE = Path(__file__).with_suffix(".cpp")
LAYOUT = torch.channels_last
TYPES: dict[str, Any] = {"p": ctypes.c_void_p, "n": ctypes.c_long, "f": ctypes.c_float}
# Arguments of each function: pointers, counts, floats.
SIGNATURES = {
    "signs": "ppppnnn",
    "output": "ppppnppnnn",
    "output_backward": "pppppnnnpn",
    "signs_backward": "ppppppfnpnpppnnn",
    "norm": "pppppffnn",
    "norm_backward": "ppppnn",
    "add_scaled": "pppnn",
    "add_scaled_backward": "ppppppnnn",
    "masked": "pppnn",
    "masked_backward": "pnppppnn",
    "joined": "pppnnn",
    "joined_backward": "ppnnn",
    "interleave": "pppn",
    "halves": "pppn",
    "pooled_twice": "ppnnnn",
    "pooled_twice_backward": "ppnnnn",
    "quantise": "pppnnppnnnn",
    "quantise_backward": "pppppfnnpnnnn",
}
Argument = Tensor | ctypes.Array[ctypes.c_void_p] | ctypes.Array[ctypes.c_long] | int | float | None


class Native:
    """The functions of native.cpp on feature maps of float32 or of bfloat16, whose shapes the caller has checked.

    Vectors over channels are float32. Raises BuildError.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        compiled = library(SOURCE, *(("-DBFLOAT16",) if dtype == torch.bfloat16 else ()))
        self._functions = {name: compiled[name] for name in SIGNATURES}
        for name, kinds in SIGNATURES.items():
            self._functions[name].argtypes = [TYPES[kind] for kind in kinds]
            self._functions[name].restype = None

    def __call__(self, name: str, *arguments: Argument) -> None:
        """Call a function with the addresses of tensors, contiguous or channels-last."""
        self._functions[name](*[a.data_ptr() if isinstance(a, Tensor) else a for a in arguments])

    def __reduce__(self) -> tuple[type[Native], tuple[torch.dtype]]:
        return Native, (self.dtype,)  # a copied or pickled network loads the library anew

    def fits(self, *tensors: Tensor | None) -> bool:
        """Whether native.cpp can read the maps: on a CPU, channels-last without gaps, not traced for an export."""
        if torch.compiler.is_exporting():
            return False
        return all(
            t.dtype == self.dtype and t.device.type == "cpu" and t.is_contiguous(memory_format=LAYOUT)
            for t in tensors
            if t is not None
        )

    def readable(self, grad: Tensor) -> Tensor:
        """The gradient itself where it is some channels of a channels-last map, else a copy."""
        _, c, h, w = grad.shape
        step = grad.stride(3)
        even = grad.stride(1) == 1 and grad.stride(2) == w * step and grad.stride(0) == h * w * step
        if even and step >= c and grad.dtype == self.dtype:
            return grad
        return grad.to(self.dtype).contiguous(memory_format=LAYOUT)

    def kernels(self) -> Kernels:
        """The parts of a unit."""
        return Kernels(
            self.signs_of, self.add_output, self.output_backward, self.signs_backward, self.interleave, self.halves
        )

    def signs_of(self, edges: Edges) -> Tensor:
        """As ``unit_passes.signs_of``."""
        if not self.fits(edges.normed):
            return plain.signs_of(edges)
        n, c, h, w = edges.normed.shape
        count = 1 if edges.gain is None else len(edges.gain)
        out = like(edges.normed, count * c)
        self("signs", *_read(edges), out, n * h * w, c, count)
        return out

    def add_output(self, y: Tensor, edges: Edges, totals: Sequence[Tensor]) -> Tensor:
        """As ``unit_passes.add_output``."""
        n, c, h, w = y.shape
        if not self.fits(y, edges.normed, *totals):
            return plain.add_output(y, edges, totals)
        if edges.carried == "pooled twice":  # the same as pooling what has gone through the affine part
            if edges.normed.shape[2:] != (2 * h, 2 * w):  # for torch to say so; here memory of others would be read
                return plain.add_output(y, edges, totals)
            gain, bias = (None if v is None else v.repeat_interleave(2, dim=1) for v in (edges.gain, edges.bias))
            edges = Edges(self.pooled_twice(edges.normed), gain, bias, edges.scale, "same")
        count = 1 if edges.gain is None else len(edges.gain)
        into = addresses(totals) if totals else None
        same = edges.carried == "same"
        self("output", y, *_read(edges), same, into, packed(edges.scale), n * h * w, c // count, count)
        return y

    def output_backward(
        self,
        grads: Sequence[Tensor],
        y: Tensor,
        edges: Edges,
        signs: Tensor | None,
        needs_scale: bool,
        kept: Sequence[int] | None = None,
    ) -> tuple[Through | None, Tensor | None]:
        """As ``unit_passes.output_backward``, but for the input before the sign, which is computed again."""
        if not self.fits(y, edges.normed):
            return plain.output_backward(grads, y, edges, signs, needs_scale, kept)
        grads = [self.readable(grad) for grad in grads]
        n, c, h, w = y.shape
        some = kept if kept is not None and len(kept) < len(grads) else None
        dy = torch.empty_like(y) if some is None else like(y, len(some) * (c // len(grads))) if some else None
        d_scale = torch.empty(len(grads)) if needs_scale else None
        shape = (n * h * w, c // len(grads), len(grads))
        which = None if some is None else (ctypes.c_long * len(some))(*some)
        self("output_backward", addresses(grads), steps(grads), y, dy, d_scale, *shape, which, len(some or ()))
        if dy is None:
            return None, d_scale
        return Through(dy, None, self.signs_of(edges) if signs is None else signs), d_scale

    def signs_backward(
        self,
        dx: Tensor,
        dy: Tensor,
        x: Tensor | None,
        signs: Tensor,
        edges: Edges,
        mask: Tensor | None,
        clip: float,
        needs_affine: bool,
        added_to: Tensor | None,
    ) -> Gradients:
        """As ``unit_passes.signs_backward``."""
        normed, gain, bias = edges.normed, edges.gain, edges.bias
        if not self.fits(dx, dy, normed, added_to):
            return plain.signs_backward(dx, dy, x, signs, edges, mask, clip, needs_affine, added_to)
        if edges.carried == "pooled twice":
            dy = self.pooled_twice_backward(dy)
        n, c, h, w = normed.shape
        into = torch.empty_like(normed) if added_to is None else added_to
        d_gain, d_bias = (v.new_empty(v.shape) if needs_affine and v is not None else None for v in (gain, bias))
        through = None if mask is None else torch.empty(c)
        self(
            "signs_backward",
            *(dx, dy, *_read(edges), packed(edges.scale), clip * CLOSED, edges.carried != "nothing"),
            *(into, added_to is None, d_gain, d_bias, through, n * h * w, c, dx.shape[1] // c),
        )
        d_mask = None if through is None or mask is None else plain.mask_gradient(through, mask)
        return Gradients(into, d_gain, d_bias, d_mask)

    def interleave(self, first: Tensor, second: Tensor) -> Tensor:
        """As ``staggered.interleave``."""
        if not self.fits(first, second):
            return staggered.interleave(first, second)
        out = like(first, 2 * first.shape[1])
        self("interleave", first, second, out, first.numel())
        return out

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As ``staggered.halves``."""
        if not self.fits(x):
            return staggered.halves(x)
        first, second = (like(x, x.shape[1] // 2) for _ in range(2))
        self("halves", x, first, second, first.numel())
        return first, second

    def pooled_twice(self, x: Tensor) -> Tensor:
        """As ``staggered.pooled_twice``, of a map whose sides are even."""
        n, c, h, w = x.shape
        out = torch.empty((n, 2 * c, h // 2, w // 2), dtype=x.dtype, memory_format=LAYOUT)
        self("pooled_twice", x, out, n, h // 2, w // 2, c)
        return out

    def pooled_twice_backward(self, grad: Tensor) -> Tensor:
        """As ``staggered.pooled_twice_backward``."""
        n, c, h, w = grad.shape
        dx = torch.empty((n, c // 2, 2 * h, 2 * w), dtype=grad.dtype, memory_format=LAYOUT)
        self("pooled_twice_backward", grad, dx, n, h, w, c // 2)
        return dx


def _read(edges: Edges) -> tuple[Tensor, Tensor | None, Tensor | None]:
    return edges.normed, packed(edges.gain), packed(edges.bias)


# ---------------------------------------------------------------- tensors as native.cpp reads them
def like(x: Tensor, channels: int) -> Tensor:
    """An empty feature map with other channels."""
    n, _, h, w = x.shape
    return torch.empty((n, channels, h, w), dtype=x.dtype, memory_format=LAYOUT)


def packed(vector: Tensor | None) -> Tensor | None:
    """A vector of float32 without gaps."""
    return None if vector is None else vector.float().contiguous()


def steps(grads: Sequence[Tensor]) -> ctypes.Array[ctypes.c_long]:
    """How far it is from one pixel to the next, for each."""
    # Of a single pixel torch may say anything.
    found = [grad.shape[1] if grad.is_contiguous(memory_format=LAYOUT) else grad.stride(3) for grad in grads]
    return (ctypes.c_long * len(found))(*found)


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Where they begin."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
