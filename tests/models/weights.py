"""A derived network with the weights of a supernet: what a one-hot sample through that must agree with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bars.models.cell import Cell
from bars.models.ends import ConvNorm, Stem
from bars.models.network import Network
from bars.models.supernet import Supernet
from bars.models.unit import BinaryUnit
from bars.models.width import Width


@torch.no_grad()
def with_weights(network: Network, supernet: Supernet) -> Network:
    """The network of an architecture of the supernet's space, whose weights become the supernet's."""
    _copy_stem(supernet.stem, network.stem, network.stem.c)
    for shape, cell in zip(network.shapes, network.cells, strict=True):
        reduces = shape.index is None
        source = supernet.reductions[shape.stage] if reduces else supernet.stages[shape.stage][shape.index]
        assert isinstance(source, Cell) and isinstance(cell, Cell)
        _copy_cell(source, cell)
    active = network.head.c
    weight = supernet.head.weight.view(-1, supernet.head.nodes, supernet.head.c)[:, :, :active]
    network.head.weight.copy_(weight.reshape(network.head.weight.shape))
    network.head.bias.copy_(supernet.head.bias)
    return network


def _copy_unit(source: BinaryUnit, target: BinaryUnit, rows: Sequence[int] | None = None) -> None:
    """Copy what ``target`` has of ``source``: the edges ``rows`` (None: all) at its widths."""
    for wide, narrow in zip(source.conv_list(), target.conv_list(), strict=True):
        _, _, c_out, _, c_in = narrow.blocks
        narrow.weight.copy_(wide.active(rows, Width(c_in), Width(c_out)).flatten(0, 1))
    for name in ("gain", "bias"):
        vector = getattr(source, name)
        if vector is not None:
            getattr(target, name).copy_(source.active(vector, rows, Width(target.c_in)).flatten())


def _copy_cell(source: Cell, target: Cell) -> None:
    _copy_unit(source.preprocess, target.preprocess)
    for node in range(target.nodes):
        for name, unit in target.units_of(node).items():
            rows = [source.edges_of(node, name).index(edge) for edge in target.edges_of(node, name)]
            _copy_unit(source.units_of(node)[name], unit, rows)
    if source.shortcut is not None and target.shortcut is not None:
        _copy_unit(source.shortcut, target.shortcut)


def _copy_stem(source: Stem, target: Stem, active: int) -> None:
    for wide, narrow in zip(source.convs, target.convs, strict=True):
        assert isinstance(wide, ConvNorm) and isinstance(narrow, ConvNorm)
        c_out, c_in = narrow.conv.weight.shape[:2]
        narrow.conv.weight.copy_(wide.conv.weight[:c_out, :c_in])
        narrow.norm.weight.copy_(wide.norm.weight[:c_out])
        narrow.norm.bias.copy_(wide.norm.bias[:c_out])
    if source.expand is not None and target.expand is not None:
        weight = source.expand.conv.weight.view(source.nodes, source.c, source.c, 1, 1)[:, :active, :active]
        target.expand.conv.weight.copy_(weight.reshape(target.expand.conv.weight.shape))
        for name in ("weight", "bias"):
            by_node = getattr(source.expand.norm, name).view(source.nodes, source.c)[:, :active]
            getattr(target.expand.norm, name).copy_(by_node.reshape(-1))
