"""Quantizers of weights: each maps a latent weight [O, I, k, k] to the weight that the convolution uses."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bars.binarize.signs import EdeSchedule, binary_sign, sign_approx, sign_clip, straight_through

Scaling = Literal["tensor", "channel", "none"]
# Gradient of a latent weight W behind beta sign(W): exact (beta times the weight's, plus the path through beta);
# "unscaled", with neither (the BARS authors, Bi-Real Net); "port", the exact one times n (1 - 1/I) for a filter of n
# weights on I channels (the PyTorch port of XNOR-Net, BNAS), which plain SGD needs and Adam does not notice.
WeightGradient = Literal["exact", "unscaled", "port"]


def mean_abs(weight: Tensor, scaling: Scaling, mask: Tensor | None = None) -> Tensor:
    """Scale beta of a binary weight, broadcastable to it: mean |W| per layer, per output channel, or 1.

    ``mask`` (broadcastable to ``weight``, values >= 0) weights the mean, so that masked-out channels do not enter it.
    """
    if scaling == "none":
        return weight.new_ones((1,) * weight.dim())
    dims = tuple(range(0 if scaling == "tensor" else 1, weight.dim()))
    magnitude = weight.abs()
    if mask is None:
        return magnitude.mean(dims, keepdim=True)
    share = mask.to(magnitude.dtype).expand_as(magnitude)
    total = share.sum(dims, keepdim=True).clamp_min(torch.finfo(magnitude.dtype).tiny)
    return (magnitude * share).sum(dims, keepdim=True) / total


class WeightQuantizer(nn.Module):
    """Base of weight quantizers: forward(latent weight) -> weight [O, I, k, k] of the convolution.

    ``latent_clip``: the layer clamps its latent weight to [-latent_clip, latent_clip] after every step (None: never).
    ``bases``: binary convolutions that one layer costs (ABC-Net: M).
    """

    latent_clip: float | None = None
    bases: int = 1

    def stored_shape(self, out_channels: int, in_channels: int, kernel_size: int) -> tuple[int, ...]:
        """Shape of the latent weight behind an [out, in, k, k] convolution."""
        return (out_channels, in_channels, kernel_size, kernel_size)

    def before_sign(self, weight: Tensor) -> Tensor:
        """What the sign is taken of, given the latent weight."""
        return weight


class ScaledSign(WeightQuantizer):
    """beta * sign(W), differentiable through sign and beta (BARS Eq. 1; XNOR-Net with scaling "channel").

    ``center`` first subtracts the mean over the input channels (XNOR-Net's PyTorch code, BNAS).
    """

    def __init__(
        self,
        scaling: Scaling = "tensor",
        clip: float = 1.0,
        *,
        center: bool = False,
        gradient: WeightGradient = "exact",
    ) -> None:
        super().__init__()
        self.scaling: Scaling = scaling
        self.clip = self.latent_clip = clip
        self.center, self.gradient = center, gradient

    def before_sign(self, weight: Tensor) -> Tensor:
        return weight - weight.mean(1, keepdim=True) if self.center else weight

    def forward(self, weight: Tensor) -> Tensor:
        if self.gradient == "port":
            factor = weight[0].numel() * (1.0 - 1.0 / weight.shape[1])
            weight = straight_through(weight, weight * factor)
        weight = self.before_sign(weight)
        signs = sign_clip(weight, self.clip)
        if self.scaling == "none":
            return signs
        scaled = signs * mean_abs(weight, self.scaling)
        return straight_through(scaled, signs) if self.gradient == "unscaled" else scaled

    def extra_repr(self) -> str:
        return f"scaling={self.scaling}, clip={self.clip}, gradient={self.gradient}, center={self.center}"


class BiRealSign(WeightQuantizer):
    """a_o sign(W_o) with a_o = mean |W_o|; gradient 1[|W| <= 1], not multiplied by a_o (Bi-Real Net, ReActNet)."""

    def forward(self, weight: Tensor) -> Tensor:
        return straight_through(mean_abs(weight, "channel") * binary_sign(weight), sign_clip(weight, 1.0))


class StandardisedSign(WeightQuantizer):
    """Base: EDE's sign of the weight standardised per output channel, z = (W_o - mean_o) / std_o."""

    def __init__(self, t_min: float = 0.1, t_max: float = 10.0) -> None:
        super().__init__()
        self.sign = EdeSchedule(t_min, t_max)

    def before_sign(self, weight: Tensor) -> Tensor:
        return standardize(weight)[0]


class LibraSign(StandardisedSign):
    """2^s sign(z) (IR-Net, CVPR 2020, Sec. 3.2).

    The power of two nearest to mean |z_o| is a bit shift; no gradient passes through it.
    """

    def forward(self, weight: Tensor) -> Tensor:
        z = self.before_sign(weight)
        shift = mean_abs(z.detach(), "channel").log2().round().exp2()
        signs: Tensor = self.sign(z)
        return signs * shift


class AdaBinWeight(StandardisedSign):
    """mean_o + std_o sign(z): two levels per output channel (AdaBin, ECCV 2022)."""

    def forward(self, weight: Tensor) -> Tensor:
        z, mean, std = standardize(weight)
        signs: Tensor = self.sign(z)
        return torch.addcmul(mean, std, signs)


def standardize(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights with mean 0 and standard deviation 1 per output channel, and those means and deviations [O, 1, 1, 1]."""
    dims = tuple(range(1, weight.dim()))
    mean = weight.mean(dims, keepdim=True)
    centered = weight - mean
    std = centered.square().mean(dims, keepdim=True).clamp_min(1e-24).sqrt()
    return centered / std, mean, std


class Bases(WeightQuantizer):
    """sum_m alpha_m B_m over M binary bases, alpha by least squares (ABC-Net, NIPS 2017, Sec. 3.1.1).

    B_m = sign(W - mean(W) + u_m std(W)) over the whole layer, u_m equally spaced in [-1, 1] (0 for M = 1). The gradient
    passes each basis unchanged: dW = (sum_m alpha_m) g.
    """

    def __init__(self, bases: int = 1) -> None:
        super().__init__()
        self.bases = bases
        self.shifts = [0.0] if bases == 1 else [2.0 * m / (bases - 1) - 1.0 for m in range(bases)]

    def before_sign(self, weight: Tensor) -> Tensor:
        return weight - weight.mean()

    def forward(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            centered, std = weight - weight.mean(), weight.std(correction=0)
            bases = torch.stack([binary_sign(centered + u * std) for u in self.shifts]).flatten(1)  # [M, O*I*k*k]
            alpha = self._least_squares(bases, weight.flatten())
            value = (alpha.view(-1, 1) * bases).sum(0).view_as(weight)
        return straight_through(value, alpha.sum() * weight)

    def _least_squares(self, bases: Tensor, target: Tensor) -> Tensor:
        """The alpha [M] that minimises |target - sum alpha_m bases_m|; evenly shared where bases coincide."""
        right = (bases * target).mean(1)
        if self.bases == 1:
            return right
        # Sums, and float64 for the small system: a matrix product would run in half precision under autocast. The ridge
        # stands in for a pseudo-inverse, whose eigenvalues would make the host wait for the device.
        gram = torch.stack([(row * bases).mean(1) for row in bases]).double()
        ridge = 1e-9 * torch.eye(self.bases, dtype=gram.dtype, device=gram.device)
        alpha: Tensor = torch.linalg.solve_ex(gram + ridge, right.double()).result
        return alpha.to(target.dtype)

    def extra_repr(self) -> str:
        return f"bases={self.bases}"


class Circulant(WeightQuantizer):
    """beta sign(W) of 3x3 weights made of K turned copies of one stored filter set (CBCN, CVPR 2019).

    Stored: [O/K, I, 3, 3], its inputs as I/K groups of K. Copy r rolls each group by r and turns the outer ring of the
    3x3 by r/K of a full turn; copies are stacked along the outputs. beta is one mean |W| per layer, the sign's gradient
    that of ``sign_approx``.
    """

    turns: Tensor

    def __init__(self, orientations: int = 4) -> None:
        super().__init__()
        self.orientations = orientations
        turns = [self._turned(r * 8 // orientations) for r in range(orientations)]
        self.register_buffer("turns", torch.tensor(turns), persistent=False)

    @staticmethod
    def _turned(places: int) -> list[int]:
        """Where each of the 9 positions is read from when the outer ring turns clockwise by ``places`` of 8."""
        ring = (0, 1, 2, 5, 8, 7, 6, 3)
        source = list(range(9))
        for i, position in enumerate(ring):
            source[position] = ring[(i - places) % 8]
        return source

    def stored_shape(self, out_channels: int, in_channels: int, kernel_size: int) -> tuple[int, ...]:
        """[O/K, I, 3, 3]. Raises ValueError where K does not divide the channels or the kernel is not 3x3."""
        k = self.orientations
        if kernel_size != 3 or out_channels % k or in_channels % k:
            raise ValueError(f"circulant filters need 3x3 kernels and channels divisible by {k}")
        return (out_channels // k, in_channels, 3, 3)

    def expand(self, stored: Tensor) -> Tensor:
        """[O/K, I, 3, 3] -> [O, I, 3, 3]."""
        rows, c_in = stored.shape[:2]
        flat = stored.reshape(rows, c_in // self.orientations, self.orientations, 9)
        copies = [flat.roll(r, 2)[..., self.turns[r]] for r in range(self.orientations)]
        return torch.cat(copies).reshape(rows * self.orientations, c_in, 3, 3)

    def forward(self, weight: Tensor) -> Tensor:
        full = self.expand(weight)
        return sign_approx(full) * mean_abs(full, "tensor")


class Projected(WeightQuantizer):
    """a sign(Z), Z = mean(P) C, with learned projections P [J, k, k] and a = mean |C| per layer (PCNN, AAAI 2019).

    With J > 1 the stored C has O/J filters and the J projections' outputs are stacked. ``weight_loss`` pulls Z to its
    quantised values; the paper's eta-delta term in it, which needs the last step's gradient, is left out.
    """

    def __init__(self, kernel_size: int, projections: int = 1, penalty: float = 1e-4, clip: float = 1.0) -> None:
        super().__init__()
        self.projections, self.penalty, self.clip = projections, penalty, clip
        self.projection = nn.Parameter(torch.ones(projections, kernel_size, kernel_size))

    def stored_shape(self, out_channels: int, in_channels: int, kernel_size: int) -> tuple[int, ...]:
        """[O/J, I, k, k]. Raises ValueError where J does not divide the output channels."""
        if out_channels % self.projections:
            raise ValueError(f"output channels must be divisible by {self.projections} projections")
        return (out_channels // self.projections, in_channels, kernel_size, kernel_size)

    def projected(self, weight: Tensor) -> Tensor:
        """Z [O, I, k, k]."""
        factors = self.projection.mean((1, 2)).view(-1, 1, 1, 1, 1)  # [J, 1, 1, 1, 1]
        return (factors * weight).flatten(0, 1)

    def before_sign(self, weight: Tensor) -> Tensor:
        return self.projected(weight)

    def forward(self, weight: Tensor) -> Tensor:
        return sign_clip(self.projected(weight), self.clip) * weight.abs().mean()

    def weight_loss(self, weight: Tensor) -> Tensor:
        """Loss penalty / 2 * sum (Q - Z)^2, with Q held fixed."""
        z = self.projected(weight)
        target = (binary_sign(z) * weight.abs().mean()).detach()
        return 0.5 * self.penalty * (target - z).square().sum()

    def extra_repr(self) -> str:
        return f"projections={self.projections}, penalty={self.penalty}"
