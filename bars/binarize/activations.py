"""Quantizers of activations: each maps a feature map to what the convolution sees."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bars.binarize.signs import EdeSchedule, sign_approx, sign_clip


class ActivationQuantizer(nn.Module):
    """Base of activation quantizers; ``bases``: binary convolutions that one layer costs (ABC-Net: N)."""

    bases: int = 1


class SignActivation(ActivationQuantizer):
    """sign(x) with the straight-through window |x| <= clip."""

    def __init__(self, clip: float = 1.0) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        return sign_clip(x, self.clip)

    def extra_repr(self) -> str:
        return f"clip={self.clip}"


class ApproxSign(ActivationQuantizer):
    """sign(x) with Bi-Real Net's triangular gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return sign_approx(x)


class EdeSign(ActivationQuantizer):
    """sign(x) with IR-Net's EDE gradient, which sharpens over training."""

    def __init__(self, t_min: float = 0.1, t_max: float = 10.0) -> None:
        super().__init__()
        self.sign = EdeSchedule(t_min, t_max)

    def forward(self, x: Tensor) -> Tensor:
        signs: Tensor = self.sign(x)
        return signs


class RSign(ActivationQuantizer):
    """sign(x + b_c) with a learned threshold per channel and Bi-Real Net's gradient (ReActNet, ECCV 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return sign_approx(x + self.bias.to(x.dtype).view(1, -1, 1, 1))


class ABCActivation(ActivationQuantizer):
    """sum_n beta_n sign(x + v_n - 1/2) with learned beta and v (ABC-Net, NIPS 2017, Sec. 3.2); N = 1, 3 or 5.

    As printed: 2 * 1[clip(x + v, 0, 1) >= 1/2] - 1, with gradient 1 where the clip is not active.
    """

    SHIFTS: Mapping[int, tuple[float, ...]] = {1: (0.0,), 3: (-1.5, 0.0, 1.5), 5: (-3.5, -2.5, -1.5, 0.0, 2.5)}

    def __init__(self, bases: int = 1) -> None:
        super().__init__()
        self.bases = bases
        self.shift = nn.Parameter(torch.tensor(self.SHIFTS[bases]))
        self.scale = nn.Parameter(torch.ones(bases))

    def forward(self, x: Tensor) -> Tensor:
        shift, scale = self.shift.to(x.dtype), self.scale.to(x.dtype)
        total = scale[0] * sign_clip(x + (shift[0] - 0.5), 0.5)
        for n in range(1, self.bases):
            total = total + scale[n] * sign_clip(x + (shift[n] - 0.5), 0.5)
        return total

    def extra_repr(self) -> str:
        return f"bases={self.bases}"


class AdaBinActivation(ActivationQuantizer):
    """alpha (sign((x - beta) / alpha) + beta) with learned alpha and beta, and EDE (AdaBin, ECCV 2022)."""

    def __init__(self, t_min: float = 0.1, t_max: float = 10.0) -> None:
        super().__init__()
        self.sign = EdeSchedule(t_min, t_max)
        self.scale = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.scale.to(x.dtype), self.shift.to(x.dtype)
        signs: Tensor = self.sign((x - shift) / scale)
        return scale * (signs + shift)
