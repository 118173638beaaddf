"""Every quantizer and its gradient against closed forms written out here."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bars.binarize.activations import ABCActivation, AdaBinActivation, ApproxSign, EdeSign, RSign, SignActivation
from bars.binarize.layers import AuxiliaryLoss, BinaryConv2d, set_progress
from bars.binarize.signs import EdeSchedule, sign_approx, sign_ede, straight_through
from bars.binarize.weights import AdaBinWeight, Bases, BiRealSign, Circulant, LibraSign, Projected, ScaledSign


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(3)


def sign(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def backward(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, incoming gradient, gradient of x."""
    x = x.detach().clone().requires_grad_()
    y = f(x)
    g = torch.randn_like(y)
    y.backward(g)
    assert x.grad is not None
    return y.detach(), g, x.grad


# ---------------------------------------------------------------------------------------------- signs
def test_sign_approx_gradient_is_the_triangle() -> None:
    x = torch.cat([torch.linspace(-2, 2, 81), torch.tensor([-0.0, 1e-30])])
    y, g, dx = backward(sign_approx, x)
    assert torch.equal(y, sign(x))
    torch.testing.assert_close(dx, g * (2 - 2 * x.abs()).clamp(min=0))


@pytest.mark.parametrize(("t", "k"), [(0.1, 10.0), (1.0, 1.0), (10.0, 1.0)])
def test_sign_ede_gradient_is_that_of_k_tanh(t: float, k: float) -> None:
    x = torch.linspace(-2, 2, 81, dtype=torch.float64)
    y, g, dx = backward(lambda v: sign_ede(v, torch.tensor(t), torch.tensor(k)), x)
    soft = x.clone().requires_grad_()
    (k * torch.tanh(torch.tensor(t).double() * soft)).backward(g)
    assert torch.equal(y, sign(x))
    torch.testing.assert_close(dx, soft.grad)


def test_ede_schedule_is_exponential_between_its_ends() -> None:
    schedule = EdeSchedule(0.1, 10.0)
    for p, t in ((0.0, 0.1), (0.25, 10**-0.5), (0.5, 1.0), (1.0, 10.0)):
        schedule.set_progress(p)
        assert math.isclose(float(schedule.t), t, rel_tol=1e-5)
        assert math.isclose(float(schedule.k), max(1 / t, 1.0), rel_tol=1e-5)


def test_progress_reaches_every_scheduled_quantizer_of_a_model() -> None:
    model = nn.Sequential(
        BinaryConv2d(2, 2, 3, weight_quantizer=LibraSign(), activation_quantizer=EdeSign()),
        BinaryConv2d(2, 2, 1, weight_quantizer=AdaBinWeight(), activation_quantizer=AdaBinActivation()),
    )
    schedules = [m for m in model.modules() if isinstance(m, EdeSchedule)]
    assert len(schedules) == 4
    for p in (0.0, 0.5, 1.0):
        set_progress(model, p)
        assert all(math.isclose(float(s.t), 10 ** (2 * p - 1), rel_tol=1e-5) for s in schedules)
    assert not model.state_dict().keys() & {"0.weight_quantizer.sign.t", "0.activation_quantizer.sign.t"}


def test_straight_through_is_exact() -> None:
    value, surrogate = torch.randn(50), torch.randn(50) * 1e3
    y, g, dx = backward(lambda v: straight_through(value, v * 2), surrogate)
    assert torch.equal(y, value)
    assert torch.equal(dx, 2 * g)


# ---------------------------------------------------------------------------------------------- weights
WEIGHT = (8, 4, 3, 3)


def test_centred_scaled_sign_ignores_a_shift_over_the_input_channels() -> None:
    weight = torch.randn(WEIGHT) * 0.3
    quantizer = ScaledSign("channel", center=True)
    torch.testing.assert_close(quantizer(weight), quantizer(weight + torch.randn(8, 1, 3, 3)))
    centred = weight - weight.mean(1, keepdim=True)
    torch.testing.assert_close(quantizer(weight), sign(centred) * centred.abs().mean((1, 2, 3), keepdim=True))


def test_bireal_weight_gradient_is_not_scaled() -> None:
    weight = torch.randn(WEIGHT)
    y, g, dw = backward(BiRealSign(), weight)
    torch.testing.assert_close(y, sign(weight) * weight.abs().mean((1, 2, 3), keepdim=True))
    torch.testing.assert_close(dw, g * (weight.abs() <= 1))


def test_libra_weights_are_balanced_powers_of_two_and_its_gradient_passes_the_standardisation() -> None:
    weight = (torch.randn(WEIGHT, dtype=torch.float64) + 0.4) * 0.05
    quantizer = LibraSign()
    quantizer.sign.set_progress(0.5)
    y, g, dw = backward(quantizer, weight)
    shift = y.abs()
    torch.testing.assert_close(shift.log2(), shift.log2().round())
    assert (shift == shift[:, :1, :1, :1]).all()

    soft = weight.clone().requires_grad_()
    z = (soft - soft.mean((1, 2, 3), keepdim=True)) / soft.std((1, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(y, sign(z.detach()) * shift)
    (torch.tanh(z) * shift).backward(g)  # p = 0.5: t = k = 1
    torch.testing.assert_close(dw, soft.grad, rtol=1e-5, atol=1e-7)


def test_adabin_weights_have_the_mean_and_deviation_of_the_latent_ones() -> None:
    weight = torch.randn(WEIGHT, dtype=torch.float64) * 0.1 + 0.02
    quantizer = AdaBinWeight()
    quantizer.sign.set_progress(0.5)
    y, g, dw = backward(quantizer, weight)
    soft = weight.clone().requires_grad_()
    mean = soft.mean((1, 2, 3), keepdim=True)
    std = soft.std((1, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(y, (mean + std * sign(weight - mean)).detach())
    hard, smooth = sign((soft - mean).detach()), torch.tanh((soft - mean) / std)
    (mean + std * (hard + smooth - smooth.detach())).backward(g)
    torch.testing.assert_close(dw, soft.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_bases_are_the_least_squares_fit(m: int) -> None:
    weight = torch.randn(WEIGHT) * 0.2 + 0.05
    y, g, dw = backward(Bases(m), weight)
    shifts = torch.linspace(-1, 1, m) if m > 1 else torch.zeros(1)
    bases = torch.stack([sign(weight - weight.mean() + u * weight.std(correction=0)).flatten() for u in shifts], 1)
    alpha = torch.linalg.lstsq(bases.double(), weight.double().reshape(-1, 1)).solution.flatten()
    torch.testing.assert_close(y.flatten().double(), bases.double() @ alpha, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dw, g * float(alpha.sum()), rtol=1e-4, atol=1e-5)


def test_coinciding_bases_still_give_a_finite_fit() -> None:
    weight = torch.tensor([3.0, -3.0]).repeat(18).view(2, 2, 3, 3)  # every threshold within one deviation: equal signs
    y = Bases(3)(weight)
    torch.testing.assert_close(y, weight, rtol=1e-4, atol=1e-4)


def test_more_bases_fit_no_worse() -> None:
    weight = torch.randn(WEIGHT)
    errors = [float((Bases(m)(weight) - weight).square().sum()) for m in (1, 3, 5)]
    assert errors == sorted(errors, reverse=True)


def test_circulant_copies_are_quarter_turns() -> None:
    stored = torch.randn(2, 12, 3, 3)  # O = 8, I = 12
    full = Circulant(4).expand(stored)
    assert full.shape == (8, 12, 3, 3)
    for r in range(4):
        turned = torch.rot90(stored.view(2, 3, 4, 3, 3).roll(r, 2), -r, (3, 4))  # clockwise
        torch.testing.assert_close(full[2 * r : 2 * r + 2], turned.reshape(2, 12, 3, 3))


def test_circulant_gradient_is_the_sum_over_its_copies() -> None:
    stored = torch.randn(1, 4, 3, 3) * 0.4
    quantizer = Circulant(4)
    y, g, dv = backward(quantizer, stored)
    full = quantizer.expand(stored)
    beta = full.abs().mean()
    torch.testing.assert_close(y, beta * sign(full))
    slope = g * beta * (2 - 2 * full.abs()).clamp(min=0) + (g * sign(full)).sum() * sign(full) / full.numel()
    back = sum(torch.rot90(slope[r : r + 1], r, (2, 3)).roll(-r, 1) for r in range(4))
    torch.testing.assert_close(dv, back)


def test_circulant_refuses_channels_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        BinaryConv2d(6, 8, 3, weight_quantizer=Circulant(4), activation_quantizer=ApproxSign())


@pytest.mark.parametrize("j", [1, 2])
def test_projected_weights_and_their_loss(j: int) -> None:
    quantizer = Projected(3, j, penalty=0.5)
    with torch.no_grad():
        quantizer.projection.copy_(torch.rand_like(quantizer.projection) + 0.5 * torch.arange(1, j + 1).view(j, 1, 1))
    layer = BinaryConv2d(4, 8, 3, weight_quantizer=quantizer, activation_quantizer=SignActivation())
    assert layer.weight.shape == (8 // j, 4, 3, 3)
    c, p = layer.weight.detach(), quantizer.projection.detach()
    z = torch.cat([p[i].mean() * c for i in range(j)])
    q = sign(z) * c.abs().mean()
    torch.testing.assert_close(quantizer(layer.weight), q)
    loss = AuxiliaryLoss(nn.Sequential(layer))()
    assert loss is not None
    torch.testing.assert_close(loss, 0.25 * (q - z).square().sum())
    loss.backward()
    torch.testing.assert_close(
        layer.weight.grad,
        sum(0.5 * p[i].mean() * (p[i].mean() * c - q.chunk(j)[i]) for i in range(j)),
    )
    expected = torch.stack([0.5 * ((z.chunk(j)[i] - q.chunk(j)[i]) * c).sum() / 9 for i in range(j)])
    assert quantizer.projection.grad is not None
    torch.testing.assert_close(quantizer.projection.grad, expected.view(j, 1, 1).expand(j, 3, 3))


# ---------------------------------------------------------------------------------------------- activations
def test_rsign_learns_its_threshold() -> None:
    quantizer = RSign(5)
    with torch.no_grad():
        quantizer.bias.copy_(torch.randn(5) * 0.3)
    x = torch.randn(2, 5, 4, 4)
    y, g, dx = backward(quantizer, x)
    moved = x + quantizer.bias.detach().view(1, 5, 1, 1)
    slope = g * (2 - 2 * moved.abs()).clamp(min=0)
    assert torch.equal(y, sign(moved))
    torch.testing.assert_close(dx, slope)
    torch.testing.assert_close(quantizer.bias.grad, slope.sum((0, 2, 3)))


@pytest.mark.parametrize("n", [1, 3, 5])
def test_abc_activation_as_printed(n: int) -> None:
    quantizer = ABCActivation(n)
    with torch.no_grad():
        quantizer.scale.copy_(torch.rand(n) + 0.5)
    x = torch.randn(2, 3, 8, 8) * 2
    y, g, dx = backward(quantizer, x)
    v, beta = quantizer.shift.detach(), quantizer.scale.detach()
    clipped = torch.stack([(x + v[i]).clamp(0, 1) for i in range(n)])
    levels = 2 * (clipped >= 0.5).float() - 1
    inside = torch.stack([((x + v[i]) >= 0) & ((x + v[i]) <= 1) for i in range(n)]).float()
    torch.testing.assert_close(y, torch.tensordot(beta, levels, 1))
    torch.testing.assert_close(dx, g * torch.tensordot(beta, inside, 1))
    torch.testing.assert_close(quantizer.scale.grad, (g * levels).sum((1, 2, 3, 4)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(quantizer.shift.grad, beta * (g * inside).sum((1, 2, 3, 4)), rtol=1e-4, atol=1e-4)


def test_adabin_activation_has_two_learned_levels() -> None:
    quantizer = AdaBinActivation()
    with torch.no_grad():
        quantizer.scale.fill_(0.7)
        quantizer.shift.fill_(0.2)
    quantizer.sign.set_progress(0.5)
    x = torch.randn(4, 3, 5, 5)
    y, g, dx = backward(quantizer, x)
    torch.testing.assert_close(y, torch.where(x >= 0.2, 0.7 * 1.2, -0.7 * 0.8))
    torch.testing.assert_close(dx, g * (1 - torch.tanh((x - 0.2) / 0.7) ** 2))
    assert quantizer.scale.grad is not None and quantizer.shift.grad is not None


@pytest.mark.parametrize("quantizer", [SignActivation(1.3), ApproxSign(), EdeSign(), RSign(4)])
def test_sign_activations_are_binary_at_zero_too(quantizer: nn.Module) -> None:
    y = quantizer(torch.zeros(1, 4, 2, 2))
    assert torch.equal(y, torch.ones_like(y))
