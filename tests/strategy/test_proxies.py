"""Predictors without training, recomputed by other means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bars.cost import uniform_genotype
from bars.models.network import Network
from bars.params import BinarizeParams
from bars.space import SearchSpace
from bars.strategy.proxies import gradient_norm, naswot
from tests.architectures import space_params
from tests.blocks import block

SPACE = space_params(stages=2, cells_per_stage=1, nodes=2, init_channels=4)


def network(primitive: str = "binary_conv_3x3") -> Network:
    torch.manual_seed(0)
    genotype = uniform_genotype(SearchSpace.from_params(SPACE), primitive, 1, 1.0)
    return Network(SPACE, block(BinarizeParams), genotype, 8, 4)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, 8, 8, generator=g), torch.randint(0, 4, (6,), generator=g)


def test_gradient_norm_is_the_sum_over_parameters() -> None:
    model, (images, labels) = network(), batch()
    got = gradient_norm(model, images, labels)
    model.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    assert got == pytest.approx(sum(float(p.grad.norm()) for p in model.parameters() if p.grad is not None), rel=1e-5)


def test_naswot_counts_agreeing_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    import bars.models.cell_conv as cell_conv

    model, (images, _) = network(), batch()
    seen: list[np.ndarray] = []
    plain = cell_conv.CellConv2d.forward

    def spy(self: object, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        seen.append(x.flatten(1).numpy().copy())
        return plain(self, x, weight)  # type: ignore[arg-type]

    monkeypatch.setattr(cell_conv.CellConv2d, "forward", spy)
    got = naswot(model, images)
    kernel = sum((code[:, None, :] == code[None, :, :]).sum(-1) for code in seen)
    assert got == pytest.approx(np.linalg.slogdet(kernel.astype(float))[1], rel=1e-9)
    assert naswot(network("none"), images) != got
