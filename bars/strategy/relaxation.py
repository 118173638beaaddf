"""Relaxed draws from categorical distributions given by logits (BARS Eq. 5, Sec. 4.2.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def gumbel_noise(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise -log(-log u) from a CPU generator."""
    uniform = torch.rand(shape, generator=generator).clamp_(torch.finfo(torch.float32).tiny, 1 - 2**-24)
    return -torch.log(-torch.log(uniform))


def gumbel_softmax(alpha: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """softmax((alpha + g) / tau) over the last axis: BARS Eq. 5."""
    return torch.softmax((alpha + gumbel_noise(alpha.shape, generator)) / temperature, dim=-1)


def plain_softmax(alpha: Tensor, temperature: float) -> Tensor:
    """softmax(alpha / tau): no sampling, as in DARTS (the ablation "without Gumbel-Softmax")."""
    return torch.softmax(alpha / temperature, dim=-1)


def straight_through(relaxed: Tensor) -> Tensor:
    """One-hot at the largest entry, with the gradient of the relaxed draw."""
    hard = torch.zeros_like(relaxed).scatter_(-1, relaxed.argmax(-1, keepdim=True), 1.0)
    return hard - relaxed.detach() + relaxed
