"""Operations and parameters of a built network, by hooks: the check on ``bars.cost``, and the count of baselines."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bars.binarize.layers import BinaryConv2d, is_float
from bars.binarize.weights import WeightQuantizer
from bars.cost import Cost


class _Counter:
    """Sums 2 x MACs of what runs."""

    def __init__(self) -> None:
        self.flops = self.biops = 0
        self.ran: set[nn.Module] = set()

    def conv(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Each output pixel and channel: I / groups * k * k multiply-adds, the last three axes of the weight in use.

        Some layers are called with it, as it may be a slice of what they hold.
        """
        assert isinstance(module, nn.Conv2d | BinaryConv2d)
        self.ran.add(module)
        weight = inputs[1] if len(inputs) > 1 else module.weight
        operations = 2 * output[0].numel() * weight.shape[-3:].numel()
        if isinstance(module, BinaryConv2d) and not is_float(module):
            self.biops += operations * module.bases
        else:
            self.flops += operations

    def linear(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Each logit: one multiply-add per input feature."""
        assert isinstance(module, nn.Linear)
        self.ran.add(module)
        self.flops += 2 * module.in_features * module.out_features


@torch.no_grad()
def count_model(model: nn.Module, input_shape: Sequence[int]) -> tuple[Cost, list[str]]:
    """Cost of one image through ``model`` (``input_shape`` is [N, 3, H, W]; N does not matter), in 2 x MACs.

    The list names what this count leaves out: modules of an unknown kind that hold a matrix of parameters (vectors act
    elementwise, as in batch norm, which is not counted), and layers that never ran. A copy of the model runs, where
    the model is: on a device, or on "meta" without computing anything (which takes torch a second to prepare).
    """
    shadow = copy.deepcopy(model).eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    counter = _Counter()
    handles: list[RemovableHandle] = []
    unknown: list[str] = []
    multiplying: dict[str, nn.Module] = {}
    for path, module in shadow.named_modules():
        if isinstance(module, BinaryConv2d | nn.Conv2d | nn.Linear):
            hook = counter.linear if isinstance(module, nn.Linear) else counter.conv
            handles.append(module.register_forward_hook(hook))
            multiplying[path] = module
        elif not isinstance(module, WeightQuantizer) and any(p.dim() > 1 for p in module.parameters(recurse=False)):
            unknown.append(f"{path} ({type(module).__name__}): unknown kind")
    shadow(torch.zeros(1, *input_shape[1:], device=device))
    for handle in handles:
        handle.remove()
    idle = [f"{path} ({type(m).__name__}): never ran" for path, m in multiplying.items() if m not in counter.ran]
    parameters = sum(p.numel() for p in model.parameters())
    return Cost(counter.flops, counter.biops, parameters), unknown + idle
