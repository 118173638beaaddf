"""Predictors of an architecture's accuracy that need no training, for comparison with the supernet's score."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.layers import BinaryConv2d


def gradient_norm(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Sum over the parameters of their gradient's length, for one batch (Abdelfattah et al., ICLR 2021, Sec. 3.1.2)."""
    model.train()
    parameters = list(model.parameters())
    loss = F.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return float(sum(float(gradient.norm()) for gradient in gradients if gradient is not None))


@torch.no_grad()
def naswot(model: nn.Module, images: Tensor) -> float:
    """log |det K| of how alike the images' binary activations are (Mellor et al., ICML 2021, Eq. 2).

    Their codes are ReLU patterns; here they are the signs that the binary convolutions see, each of which is counted.
    """
    model.train()
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def compare(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        code = inputs[0].flatten(1).sign().double()
        # Two signs agree where their product is +1: (n + <a, b>) / 2 of n places.
        kernel.add_((code.shape[1] + code @ code.T) / 2)

    hooks = [m.register_forward_pre_hook(compare) for m in model.modules() if isinstance(m, BinaryConv2d)]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)
