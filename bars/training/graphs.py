"""A step replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class GraphedStep:
    """Replays ``step`` as a CUDA graph: one launch instead of thousands. Without ``capture`` it just calls it.

    ``step`` takes tensors of fixed shapes and returns tensors; gradients it leaves in ``.grad`` stay in place.
    ``buffers`` (running statistics) are put back after the warm-up calls that recording needs, so that a continued run
    sees the same ones as an unbroken run.
    """

    WARMUP = 3

    def __init__(self, step: Callable[..., tuple[Tensor, ...]], capture: bool, buffers: Iterable[Tensor] = ()) -> None:
        self._step, self._capture, self._buffers = step, capture, list(buffers)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if not self._capture:
            return self._step(*inputs)
        if self._graph is None:
            self._record(inputs)
        assert self._graph is not None
        for static, given in zip(self._inputs, inputs, strict=True):
            with torch.no_grad():
                static.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(t.detach().clone().requires_grad_(t.requires_grad) for t in inputs)
        before = [b.clone() for b in self._buffers]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(self.WARMUP):
                self._step(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        for buffer, value in zip(self._buffers, before, strict=True):
            buffer.copy_(value)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._step(*self._inputs)
