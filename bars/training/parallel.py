"""Several processes that share one training (torchrun): one batch, one gradient, one set of statistics among them."""

from __future__ import annotations

import datetime
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bars.errors import DeviceError, ParamsError
from bars.training.checkpoint import Checkpointer

_TIMEOUT = datetime.timedelta(minutes=30)  # of one collective call: the first process may be writing a checkpoint


@dataclass(frozen=True)
class Parallel:
    """This process is ``rank`` of ``world_size``; the default is the only one, and every method then does nothing.

    Each process is handed its slice of every batch (``Part.batches``). All that has an effect is the same everywhere:
    weights, alphas, sums. Only the main process, rank 0, writes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @classmethod
    @contextmanager
    def join(cls, rank: int, world_size: int, device: torch.device | str) -> Iterator[Parallel]:
        """Meet the other processes (NCCL on CUDA, else gloo) and part from them at the end.

        On CUDA each process computes on the device of its LOCAL_RANK. Raises DeviceError where there are too few.
        """
        if world_size == 1:
            yield cls()
            return
        on_cuda = torch.device(device).type == "cuda"
        if on_cuda:
            _take_device(torch.device(device))
        distributed.init_process_group(
            "nccl" if on_cuda else "gloo", rank=rank, world_size=world_size, timeout=_TIMEOUT
        )
        try:
            yield cls(rank, world_size)
        finally:
            distributed.destroy_process_group()

    def require_divisible(self, batch_size: int, where: str) -> None:
        """Equal slices make the mean of the processes' losses the loss of the batch. Raises ParamsError."""
        if batch_size % self.world_size:
            raise ParamsError(
                "a batch cannot be shared equally among the processes",
                where=where,
                got=f"{batch_size}, with {self.world_size} processes",
                allowed=f"a multiple of {self.world_size}",
            )

    # ---------------------------------------------------------------- the network
    def synchronise(self, model: nn.Module) -> None:
        """Replace every batch norm inside ``model`` by one that normalises over the batch of all processes."""
        if self.world_size == 1:
            return
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, _synchronised(child))

    def wrap(self, model: nn.Module, *, unused: bool = False) -> nn.Module:
        """What to call in a step whose weight gradients count: they come out as means over the processes.

        ``unused``: a step may leave some weights without a gradient.
        """
        if self.world_size == 1:
            return model
        # The strides of a 1x1 weight are a matter of taste; it is copied either way.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        return DistributedDataParallel(model, find_unused_parameters=unused)

    # ---------------------------------------------------------------- values
    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world_size > 1:
            distributed.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in place."""
        return self.sum(value).div_(self.world_size) if self.world_size > 1 else value

    def checkpointer(self, checkpoint: Checkpointer) -> Checkpointer:
        """The main process's checkpoint, read and written by it alone and handed to all."""
        return checkpoint if self.world_size == 1 else _Shared(checkpoint, self)


SINGLE = Parallel()


class _Shared:
    """Implements Checkpointer for several processes, which need not see the same disk."""

    def __init__(self, checkpoint: Checkpointer, parallel: Parallel) -> None:
        self._checkpoint, self._parallel = checkpoint, parallel

    def load(self) -> dict[str, Any] | None:
        """What the main process saved."""
        state = [self._checkpoint.load() if self._parallel.is_main else None]
        distributed.broadcast_object_list(state)
        return state[0]

    def save(self, state: dict[str, Any]) -> None:
        """In the main process only."""
        if self._parallel.is_main:
            self._checkpoint.save(state)


def _take_device(device: torch.device) -> None:
    """Make this process's own device the one that plain ``cuda`` means."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if ":" in str(device):
        raise DeviceError(
            "several processes cannot share one device",
            where="runtime.device",
            got=str(device),
            allowed="auto or cuda: each process then takes a device of its own",
        )
    if local >= torch.cuda.device_count():
        raise DeviceError(
            "there are fewer devices than processes on this machine",
            where="torchrun --nproc-per-node",
            got=f"process {local + 1} of this machine",
            allowed=f"at most {torch.cuda.device_count()}",
        )
    torch.cuda.set_device(local)


def _synchronised(norm: nn.BatchNorm2d) -> nn.Module:
    """The same layer, with the same parameters, over all processes; torch's own one where it can be used."""
    if torch.cuda.is_available() and distributed.get_backend() == "nccl":
        return nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call, no-any-return]
    twin = SharedBatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta"
    )
    for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
        setattr(twin, name, tensor)
    return twin.train(norm.training)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batch of all processes where SyncBatchNorm, which is for CUDA only, cannot be used.

    Mean, then mean squared distance from it, as one process computes them; the gradients of both are shared likewise.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.track_running_stats:
            evaluated: Tensor = super().forward(x)
            return evaluated
        given, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
        count = x.new_tensor([x.numel() // x.shape[1]])
        total = _all_sum(torch.cat([x.sum((0, 2, 3)), count]))
        mean, n = total[:-1] / total[-1], total[-1].detach()
        centred = x - mean.view(1, -1, 1, 1)
        variance = _all_sum(centred.square().sum((0, 2, 3))) / n
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), n)
        y = centred * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        if self.affine:
            y = y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return y.to(given)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, n: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * n / (n - 1), share)


def _all_sum(value: Tensor) -> Tensor:
    """The sum over all processes, through which gradients flow."""
    summed: Tensor = _AllSum.apply(value)
    return summed


class _AllSum(torch.autograd.Function):
    """Every process's loss depends on every process's summand alike, so the gradient is a sum over all of them too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
