"""Figure 6: the cells that BARS discovered, stage by stage, against those of a search without its stabilisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from bars.errors import RecordError
from bars.report import text
from bars.report.artifacts import FAILED, FULL
from bars.report.failure import failure
from bars.report.figures import style
from bars.report.stats import mean
from bars.report.tree import Results
from bars.space import NONE, Genotype

# The paper calls the first one failed; whether ours did is for report.claims to say.
SEARCHES = {FAILED: "Unstabilised search", FULL: "BARS-B"}
COLUMNS = 4
UNUSED = 0.3  # opacity of a cell that the network has none of
Edge = tuple[int, int]


def data(results: Results) -> list[dict[str, Any]]:
    """One row per edge of the drawn seed's cells, and per count of a primitive in a cell type and seed."""
    rows: list[dict[str, Any]] = []
    for name in SEARCHES:
        genotypes = results.genotypes(name)
        if genotypes:
            seed = min(genotypes)
            rows += _edge_rows(name, seed, genotypes[seed])
            rows += [row for s, genotype in genotypes.items() for row in _count_rows(name, s, genotype)]
    if not rows:
        raise RecordError(
            f"nothing to draw in fig6: neither {FAILED} nor {FULL} has a genotype at scale {results.scale}",
            where=str(results.folder / results.scale),
            do="run the searches first: snakemake --cores 2 figures/fig6.pdf",
        )
    outcome = {FAILED: _outcome(results), FULL: None}
    return [{**row, "outcome": outcome[row["experiment"]], "scale": results.scale} for row in rows]


def _edge_rows(name: str, seed: int, genotype: Genotype) -> list[dict[str, Any]]:
    return [
        {
            "kind": "edge",
            "experiment": name,
            "seed": seed,
            "cell_type": cell,
            "source": source,
            "target": target,
            "primitive": edges[source, target],
            **_layout(genotype, cell),
        }
        for cell, edges in genotype.cells.items()
        for source, target in genotype.space.edges
    ]


def _layout(genotype: Genotype, cell: str) -> dict[str, Any]:
    """Depth and width of the stage that a cell type belongs to, where it belongs to one."""
    parts = cell.split("-")
    if parts[0] != "normal" or len(parts) != 2:
        return {}
    stage = genotype.stages[int(parts[1]) - 1]
    return {"depth": stage.depth, "width": stage.width}


def _count_rows(name: str, seed: int, genotype: Genotype) -> list[dict[str, Any]]:
    return [
        {"kind": "count", "experiment": name, "seed": seed, "cell_type": cell, "primitive": primitive, "count": count}
        for cell, counts in genotype.counts().items()
        for primitive, count in counts.items()
    ]


def draw(rows: style.Rows, results: Results) -> Figure:
    """Upper: the unstabilised search's cells and how often each primitive was chosen; lower: the cells of BARS-B."""
    there = {name: _cells(rows, name) for name in SEARCHES}
    heights = {name: -(-max(len(cells), 1) // COLUMNS) for name, cells in there.items()}
    figure = style.new(0.95 + 1.3 * sum(heights.values()))
    parts = style.rows(figure, list(heights.values()), hspace=0.02)
    for part, (name, cells) in zip(parts, there.items(), strict=True):
        part.suptitle(_title(rows, results, name), x=0.01, ha="left", fontsize="medium", fontweight="bold")
        grid = part.add_gridspec(heights[name], COLUMNS)
        for i, (cell, edges) in enumerate(cells.items()):
            axes = part.add_subplot(grid[i // COLUMNS, i % COLUMNS])
            depth = _depth(rows, name, cell)
            draw_cell(axes, edges, _cell_title(rows, name, cell), strength=UNUSED if depth == 0 else 1.0)
        free = heights[name] * COLUMNS - len(cells)
        if name == FAILED and free >= 2:
            _draw_counts(part.add_subplot(grid[-1, COLUMNS - 2 :]), rows)
    present = {row["primitive"] for row in rows}
    primitives = [p for p in style.PRIMITIVES if p in present]
    figure.legend(handles=[_handle(p) for p in primitives], loc="upper right", ncols=len(primitives), borderaxespad=0.1)
    style.foot(figure, *_notes(rows, results))
    return figure


def _cells(rows: style.Rows, name: str) -> dict[str, dict[Edge, str]]:
    cells: dict[str, dict[Edge, str]] = {}
    for row in rows:
        if row["kind"] == "edge" and row["experiment"] == name:
            cells.setdefault(row["cell_type"], {})[row["source"], row["target"]] = row["primitive"]
    return cells


def draw_cell(axes: Axes, edges: Mapping[Edge, str], title: str, strength: float = 1.0) -> None:
    """One cell: node 0 is its input, each edge an arrow in the colour of its primitive; none is dotted and faint.

    ``strength`` in [0, 1] is the opacity of its arrows.
    """
    nodes = 1 + max(target for _, target in edges)
    for (source, target), primitive in sorted(edges.items(), key=lambda item: item[1] != NONE):
        absent = primitive == NONE
        axes.add_patch(
            FancyArrowPatch(
                (source, 0),
                (target, 0),
                connectionstyle=f"arc3,rad={_bend(target - source)}",
                arrowstyle="-" if absent else "-|>",
                mutation_scale=6.5,
                shrinkA=6,
                shrinkB=6,
                linewidth=0.7 if absent else 1.9 if primitive.startswith("binary_conv") else 1.4,
                linestyle=(0, (1, 2.5)) if absent else "-",
                color=style.primitive_colour(primitive),
                alpha=strength,
                zorder=1 if absent else 2,
                label=f"{source}-{target} {primitive}",
            )
        )
    for node in range(nodes):
        axes.add_patch(Circle((node, 0), 0.19, facecolor="white", edgecolor=style.INK, linewidth=0.9, zorder=4))
        axes.text(
            node, -0.012, "in" if node == 0 else str(node), ha="center", va="center", fontsize="x-small", zorder=5
        )
    axes.set_xlim(-0.35, nodes - 0.65)
    axes.set_ylim(-0.85, 1.35)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title, fontsize="small", fontweight="normal", loc="center", pad=1)


def _bend(span: int) -> float:
    """Neighbours are joined straight; longer arcs alternate above and below, so that few cross."""
    return {1: 0.0, 2: -0.5, 3: 0.5}.get(span, -0.62 if span % 2 == 0 else 0.55)


def _of(rows: style.Rows, name: str, cell: str) -> dict[str, Any]:
    return next(r for r in rows if r["kind"] == "edge" and r["experiment"] == name and r["cell_type"] == cell)


def _depth(rows: style.Rows, name: str, cell: str) -> int | None:
    """Of the one stage that the cell type belongs to; None where there is no such stage."""
    return _of(rows, name, cell).get("depth")


def _cell_title(rows: style.Rows, name: str, cell: str) -> str:
    depth, row = _depth(rows, name, cell), _of(rows, name, cell)
    if depth is None:
        return cell
    times = "unused (depth 0)" if depth == 0 else f"depth {depth}, width {row['width']:g}"
    return f"{cell}\n{times}"


def _title(rows: style.Rows, results: Results, name: str) -> str:
    seeds = {row["seed"] for row in rows if row["kind"] == "edge" and row["experiment"] == name}
    title = SEARCHES[name]
    if not seeds:
        return f"{title}: {results.absence(name, 'genotype')}"
    outcome = next(row["outcome"] for row in rows if row["experiment"] == name)
    return f"{title} (seed {min(seeds)})" + (f":\n{outcome}" if outcome else "")


def _outcome(results: Results) -> str:
    """Whether the search that failed in the paper failed here, and by which criterion."""
    runs = results.runs(FAILED)
    outcome = failure(runs, results.genotypes(FAILED), results.params.report.claims)
    if not runs.metrics:
        return "not evaluated yet"
    return str(outcome) or f"did not fail in any of {outcome.of}"


def _draw_counts(axes: Axes, rows: style.Rows) -> None:
    """Edges per cell type and primitive, mean over the seeds whose network has cells of that type."""
    bars: list[tuple[str, dict[str, float]]] = []
    for name in SEARCHES:
        own = [row for row in rows if row["kind"] == "count" and row["experiment"] == name]
        of = len({row["seed"] for row in own})
        for cell in sorted({row["cell_type"] for row in own}):
            counts: dict[str, list[float]] = {}
            for row in own:
                if row["cell_type"] == cell:
                    counts.setdefault(row["primitive"], []).append(row["count"])
            n = max(map(len, counts.values()))
            label = f"{SEARCHES[name].split()[0]} {cell}" + (f", n = {n}" if n < of else "")
            bars.append((label, {p: mean(values) for p, values in counts.items()}))
    for i, (_, counts_of) in enumerate(bars):
        start = 0.0
        for primitive, count in counts_of.items():
            colour = style.primitive_colour(primitive)
            axes.barh(i, count, left=start, height=0.7, color=colour, edgecolor="white", linewidth=0.5)
            if count >= 0.8:
                middle, ink = start + count / 2, style.text_on(colour)
                axes.text(middle, i, f"{count:.2g}", ha="center", va="center", color=ink, fontsize="x-small")
            start += count
    axes.set_yticks(range(len(bars)), [label for label, _ in bars])
    axes.tick_params(axis="y", length=0, labelsize="small")
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.set_title("Edges per cell, mean over the seeds that keep it", fontsize="small", pad=3)


def _handle(primitive: str) -> Line2D:
    absent = primitive == NONE
    return Line2D(
        [],
        [],
        color=style.primitive_colour(primitive),
        linewidth=0.9 if absent else 2.0,
        linestyle=(0, (1, 2.5)) if absent else "-",
        label=style.primitive_name(primitive),
    )


def _notes(rows: style.Rows, results: Results) -> Sequence[str]:
    notes = []
    for name, title in SEARCHES.items():
        seeds = {row["seed"] for row in rows if row["kind"] == "count" and row["experiment"] == name}
        experiment = results.experiment(name)
        if seeds and experiment is not None:
            missing = tuple(seed for seed in experiment.seeds if seed not in seeds)
            notes.append(
                f"{title}{results.aside(name)}: n = {len(seeds)} of {len(experiment.seeds)} seeds"
                + (f", {text.seeds(missing)} missing." if missing else ".")
            )
    experiment = next((e for n in SEARCHES if (e := results.experiment(n)) and not e.reason), None)
    label = f", data set {experiment.search_data.name}" if experiment else ""
    lead = f"Scale {results.scale}{label}. {' '.join(notes)}"
    return [f"{lead} in: the preprocessed input; every node's output is concatenated."]
