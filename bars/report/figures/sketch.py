"""Boxes and arrows of drawings that are no plots."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from bars.report.figures import style


def canvas(parent: Any, width: float, height: float) -> Axes:
    """Axes over a whole part of a figure, in units of a drawing and without ticks."""
    axes: Axes = parent.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    return axes


def box(
    axes: Axes, x: float, y: float, w: float, h: float, *, face: str, edge: str, round_: float = 0.8, **more: Any
) -> None:
    """A box with round corners, from its lower left."""
    axes.add_patch(
        FancyBboxPatch(
            (x + round_, y + round_),
            w - 2 * round_,
            h - 2 * round_,
            boxstyle=f"round,pad={round_},rounding_size={round_}",
            facecolor=face,
            edgecolor=edge,
            linewidth=more.pop("linewidth", 0.9),
            **more,
        )
    )


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = style.INK, **more: Any
) -> None:
    """An arrow between two places."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle=more.pop("arrowstyle", "-|>"),
            mutation_scale=more.pop("mutation_scale", 7),
            linewidth=more.pop("linewidth", 1.0),
            shrinkA=more.get("shrink", 0),
            shrinkB=more.pop("shrink", 0),
            color=colour,
            **more,
        )
    )


def tint(colour: str, share: float = 0.12) -> str:
    """A colour mixed into white."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return str(to_hex((red, green, blue)))
