"""One look for all figures, and files that have the same bytes whenever they are drawn from the same data."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, MaxNLocator

from bars.params import FiguresParams
from bars.pipeline import formats
from bars.pipeline.files import atomic_write
from bars.report.tree import Runs

Rows = Sequence[dict[str, Any]]
WIDTH = 7.0  # inches: the text width of a two-column page
INK, GRAY, FAINT = "#262626", "#8c8c8c", "#d9d9d9"

_LOOK = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "svg.hashsalt": "bars",
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#595959",
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}


@contextmanager
def look(settings: FiguresParams) -> Iterator[None]:
    """Draw and save inside this: fonts, lines and colours of report.figures."""
    import seaborn  # takes a second, and is not needed before the results have been read and checked

    scaled = seaborn.plotting_context(settings.context, font_scale=0.82)
    ticks = {f"{axis}tick.{which}.{part}": value for axis in "xy" for which, part, value in _TICKS}
    colours = {"axes.prop_cycle": cycler(color=seaborn.color_palette(settings.palette))}
    values: Any = {**matplotlib.rcParamsDefault, **scaled, **_LOOK, **ticks, **colours}
    with matplotlib.rc_context(values):
        yield


_TICKS = (("major", "size", 3.0), ("minor", "size", 1.8), ("major", "width", 0.7), ("minor", "width", 0.5))


def colour(index: int) -> str:
    """Colour of the palette in use, as a hex code."""
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    return str(matplotlib.colors.to_hex(cycle[index % len(cycle)]))


PRIMITIVES = ("binary_conv_3x3", "binary_conv_5x5", "shortcut", "none")


def primitive_colour(name: str) -> str:
    """Colour of a primitive, the same in every figure."""
    return {
        "binary_conv_3x3": colour(0),
        "binary_conv_5x5": colour(4),
        "shortcut": colour(1),
        "none": "#b3b3b3",
    }.get(name, colour(6))


def text_on(background: str) -> str:
    """INK or white, whichever contrasts more with a colour (relative luminance of WCAG 2)."""
    from matplotlib.colors import to_rgb

    def luminance(shade: str) -> float:
        parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(shade))
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    dark, light, behind = (luminance(shade) + 0.05 for shade in (INK, "white", background))
    return INK if behind / dark > light / behind else "white"


def primitive_name(name: str) -> str:
    """A primitive for readers."""
    return {"binary_conv_3x3": "conv 3×3", "binary_conv_5x5": "conv 5×5"}.get(name, name)


def new(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of width x height inches, without any global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def rows(parent: Figure | SubFigure, heights: Sequence[float], hspace: float = 0.0) -> list[SubFigure]:
    """Parts of a figure, one above the other."""
    made: Any = parent.subfigures(len(heights), 1, height_ratios=list(heights), hspace=hspace, squeeze=False)
    return [part for line in made for part in line]


def columns(parent: Figure | SubFigure, widths: Sequence[float], wspace: float = 0.0) -> list[SubFigure]:
    """Parts of a figure, side by side."""
    made: Any = parent.subfigures(1, len(widths), width_ratios=list(widths), wspace=wspace, squeeze=False)
    return [part for line in made for part in line]


def foot(figure: Figure, *lines: str) -> None:
    """Small print under a figure: scale, data, seeds, what is missing; the figure grows by what is beyond two lines."""
    size = matplotlib.rcParams["font.size"] * 0.8
    columns = int(figure.get_figwidth() * 72 / (0.57 * size))
    wrapped = [part for line in lines if line for part in textwrap.wrap(line, columns)]
    figure.set_figheight(figure.get_figheight() + max(0, len(wrapped) - 2) * 1.2 * size / 72)
    figure.supxlabel("\n".join(wrapped), fontsize=size, color="#595959", x=0.01, ha="left")


def provenance(many: Sequence[Runs], scale: str) -> str:
    """Scale and data sets of what is drawn."""
    datasets = sorted({runs.dataset for runs in many if runs.dataset})
    return f"Scale {scale}, data set {' and '.join(datasets)}."


def absences(many: Sequence[Runs]) -> str:
    """Which runs are missing, and why."""
    reasons: dict[str, list[str]] = {}
    for runs in many:
        if runs.absence:
            reasons.setdefault(runs.absence, []).append(runs.name)
    if not reasons:
        return ""
    return "Missing: " + "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items()) + "."


def seeds_drawn(counts: Sequence[int]) -> str:
    """The number of seeds behind the points, and what the bars are."""
    bars = "; bars: sample standard deviation" if max(counts) > 1 else "; one seed: no spread"
    return f"Means over seeds, {how_many(counts)}{bars}."


def how_many(counts: Sequence[int]) -> str:
    """``n = 3``, or ``n = 2 to 3``."""
    low, high = min(counts), max(counts)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def log_axis(axes: Axes, which: Literal["x", "y"] = "x") -> None:
    """A logarithmic axis with plain numbers at its ticks, close enough to read; call it when all is drawn."""
    axes.set(**{f"{which}scale": "log"})
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    decades = math.log10(high / low)
    steps = (1.0,) if decades > 1.6 else (1.0, 2.0, 5.0) if decades > 0.8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    narrow = sum(low <= step * 10**power <= high for step in steps for power in range(-12, 13)) < 2
    # where fewer than two of them lie, a LogLocator would fall back to ticks that touch each other
    axis.set_major_locator(MaxNLocator(3) if narrow else LogLocator(subs=steps))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: "")


def label_points(axes: Axes, labels: Sequence[tuple[float, float, str]], offset: tuple[int, int], **look: Any) -> None:
    """Write (x, y, label) beside points, ``offset`` in points; labels in one place to the eye become one, "B, C".

    The axes must have their scale and margins already.
    """
    axes.get_xlim(), axes.get_ylim()  # matplotlib settles the limits when they are asked for
    apart = matplotlib.rcParams["font.size"] * axes.figure.dpi / 72  # pixels that a label needs for itself
    places: dict[tuple[float, float], list[str]] = {}
    for x, y, label in labels:
        here = axes.transData.transform((x, y))
        near = (place for place in places if abs(axes.transData.transform(place) - here).max() < apart)
        places.setdefault(next(near, (x, y)), []).append(label)
    right, up = offset
    joined = {place: ", ".join(there) for place, there in places.items()}
    _make_room(axes, joined, offset)
    for place, text in joined.items():
        axes.annotate(
            text,
            place,
            offset,
            textcoords="offset points",
            ha="left" if right > 0 else "right",
            va="bottom" if up > 0 else "top",
            **look,
        )


def _make_room(axes: Axes, labels: Mapping[tuple[float, float], str], offset: tuple[int, int]) -> None:
    """Move the limits on the two sides of the labels so far that none crosses them."""
    pixels = axes.figure.dpi / 72
    size = matplotlib.rcParams["font.size"] * pixels
    corner = axes.transAxes.transform([float(step > 0) for step in offset])
    for along, step in enumerate(offset):
        sign = 1 if step > 0 else -1
        ends = (
            axes.transData.transform(place)[along] + step * pixels + sign * size * (1.1 if along else 0.75 * len(text))
            for place, text in labels.items()  # of wide letters: the layout still moves the axes a little
        )
        beyond = max((sign * (end - corner[along]) for end in ends), default=0.0)
        if beyond > 0:
            limit = axes.transData.inverted().transform(corner + sign * beyond)[along]
            if along:
                axes.set_ylim(**{"top" if sign > 0 else "bottom": limit})
            else:
                axes.set_xlim(**{"right" if sign > 0 else "left": limit})


def legend_on_top(axes: Axes, title: str, columns: int, others: Sequence[Axes] = ()) -> None:
    """A title, and between it and the axes the legend in a row, of the axes and of ``others`` below them."""
    size = matplotlib.rcParams["font.size"]
    axes.set_title(title, pad=2.4 * size)
    entries = [pair for one in (axes, *others) for pair in zip(*one.get_legend_handles_labels(), strict=True)]
    handles, labels = [handle for handle, _ in entries], [label for _, label in entries]
    look: dict[str, Any] = {"ncols": columns, "columnspacing": 1.6, "borderaxespad": 0.2}
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.01, 1.0), **look)


# ------------------------------------------------------------------------------------------------------ files
def save(figure: Figure, rows: Rows, folder: Path, name: str, dpi: int) -> list[Path]:
    """Write pdf, png and the csv of the drawn data; no dates, so that the same data give the same bytes."""
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
        "png": {"Software": None},
    }
    paths = []
    for kind, values in metadata.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=values)
        paths.append(folder / f"{name}.{kind}")
        atomic_write(paths[-1], buffer.getvalue())
    paths.append(folder / f"{name}.csv")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    atomic_write(paths[-1], formats.csv_text(columns, rows))
    return paths
