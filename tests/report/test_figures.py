"""What stands in each figure: its artists, where they are, labels and small print; not only that a file was written."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import FancyArrowPatch

from bars.errors import RecordError
from bars.report.artifacts import FIGURES
from bars.report.figures import scatter, style, write_figure
from bars.report.paper import row2, table2
from bars.report.tree import Results
from bars.space import SHORTCUT

CONV3 = "binary_conv_3x3"


Drawn = tuple[Figure, list[dict[str, Any]]]
_CACHE: dict[tuple[str, Path], Drawn] = {}


def drawn(name: str, tree: Any) -> Drawn:
    """The figure and the rows it was drawn from; those of the complete tree, which nobody edits, are drawn once."""
    if tree.folder.parent.name.startswith("whole") and (name, tree.folder) in _CACHE:
        return _CACHE[name, tree.folder]
    module = importlib.import_module(f"bars.report.figures.{name}")
    results = Results(tree.params, None, tree.folder)
    rows = module.data(results)
    with style.look(tree.params.report.figures):
        _CACHE[name, tree.folder] = module.draw(rows, results), rows
    return _CACHE[name, tree.folder]


def words(figure: Figure) -> str:
    """All text of a figure, line breaks as spaces."""
    return " ".join(
        text.get_text().replace("\n", " ") for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))
    )


def points(axes: Axes) -> dict[str, tuple[float, float]]:
    """Label -> (x, y) of every error bar point."""
    bars = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    return {bar.get_label(): (bar[0].get_xdata()[0], bar[0].get_ydata()[0]) for bar in bars}


# ------------------------------------------------------------------------------------------------------ all figures
@pytest.fixture(scope="module")
def written(whole_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from bars.pipeline.load import load_params

    params = load_params(Path(__file__).parent / "params.yaml")
    folder = tmp_path_factory.mktemp("figures")
    for name in FIGURES:
        write_figure(name, params, None, whole_folder, folder)
    yield folder


@pytest.mark.parametrize("name", FIGURES)
def test_three_files_without_dates(written: Path, name: str) -> None:
    pdf, png = (written / f"{name}.pdf").read_bytes(), (written / f"{name}.png").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf
    assert png.startswith(b"\x89PNG")
    assert b"tEXt" not in png
    rows = list(csv.DictReader((written / f"{name}.csv").read_text().splitlines()))
    assert rows
    assert all(row["scale"] in ("tiny", "the paper's") for row in rows)
    assert not list(written.glob(".*"))


@pytest.mark.parametrize("name", ["fig2", "fig6"])
def test_the_same_data_give_the_same_bytes(whole: Any, written: Path, tmp_path: Path, name: str) -> None:
    for path in write_figure(name, whole.params, None, whole.folder, tmp_path):
        assert path.read_bytes() == (written / path.name).read_bytes()


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "fig2"])
def test_nothing_to_draw_is_an_error_not_an_empty_picture(tree: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordError, match="nothing to"):
        write_figure(name, tree.params, None, tree.folder, tmp_path)
    assert not list(tmp_path.glob("fig*"))


@pytest.mark.parametrize("name", FIGURES)
def test_scale_and_data_set_stand_in_the_figure(whole: Any, name: str) -> None:
    text = words(drawn(name, whole)[0])
    assert "cale tiny" in text
    assert "data set cifar10" in text


def tick_labels(figure: Figure) -> set[int]:
    """Labels of ticks, which exist beyond the limits of their axis too."""
    ticks = (
        t
        for a in figure.axes
        for axis in (a.xaxis, a.yaxis)
        for t in (*axis.get_major_ticks(), *axis.get_minor_ticks())
    )
    return {id(label) for tick in ticks for label in (tick.label1, tick.label2)}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off(whole: Any, name: str) -> None:
    figure, _ = drawn(name, whole)
    with style.look(whole.params.report.figures):
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        ticks = tick_labels(figure)
        for text in figure.findobj(lambda artist: hasattr(artist, "get_text")):
            if text.get_visible() and text.get_text().strip() and id(text) not in ticks:
                box = text.get_window_extent(renderer)
                assert box.x0 >= -1, text.get_text()
                assert box.y0 >= -1, text.get_text()
                assert box.x1 <= figure.bbox.width + 1, text.get_text()
                assert box.y1 <= figure.bbox.height + 1, text.get_text()


# ------------------------------------------------------------------------------------------------------ Figure S2
def test_figS2_puts_times_against_accuracy_and_both_sums(editable: Any) -> None:  # noqa: N802
    editable.latency({"bars-a": 0.2, "bars-b": 0.4, "resnet18-xnor": 0.8, "bars-d": 1.6}, speedup=4.0)
    figure, rows = drawn("figS2", editable)
    panels = figure.axes[:3]
    left, by_64, by_32 = (points(axes) for axes in panels)
    metrics = editable.results.runs("bars-b").metrics[0]
    assert left["BARS-B"] == (pytest.approx(0.4), pytest.approx(100 * metrics.top1))
    assert by_64["BARS-B"] == (pytest.approx(metrics.equivalent_ops_64 / 1e6), pytest.approx(0.4))
    assert by_32["BARS-B"] == (pytest.approx(metrics.equivalent_ops_32 / 1e6), pytest.approx(0.4))
    assert not any("BARS-D" in label for label in left)  # of other images
    assert set(by_64) == set(by_32) == {"BARS-A", "BARS-B", "BARS-D, ImageNet", "ResNet-18 (XNOR)"}
    assert [row["n"] for row in rows if row["kind"] != "network"] == [4, 4, 4]
    fit = next(row for row in rows if row["kind"] == "convention" and row["divisor"] == 32)
    text = words(figure)
    assert f"τ = {fit['kendall']:.2f}" in text
    assert "n = 4 networks" in text and "A planted CPU" in text and "Time of an image (ms)" in text
    wanted = sum(e.group in ("searched", "baselines") for e in editable.grid.runnable())
    assert f"Not timed: {wanted - 4} of {wanted}." in text


@pytest.mark.parametrize("times", [{"bars-a": 0.2}, {"bars-a": 0.2, "resnet18-xnor": 0.8}])
def test_figS2_of_too_few_networks_says_nothing_of_predictions(times: dict[str, float], editable: Any) -> None:  # noqa: N802
    editable.latency(times)
    figure, rows = drawn("figS2", editable)
    assert len(points(figure.axes[1])) == len(rows) == len(times)
    assert "too few to say how well operations predict time" in words(figure) and "τ" not in words(figure)


def test_figS2_shows_networks_without_a_packed_form_by_open_markers(editable: Any) -> None:  # noqa: N802
    editable.latency({"bars-a": 0.2, "bars-b": 0.4, "resnet18-xnor": 0.8})
    path = editable.folder / "tiny/latency/latency.json"
    record = json.loads(path.read_text())
    del record["networks"][2]["times"][0]["ms_per_image"]["packed"]
    record["networks"][2]["times"][0]["speedup"] = None
    path.write_text(json.dumps(record))
    figure, _ = drawn("figS2", editable)
    faces = {bar.get_label(): to_hex(bar[0].get_markerfacecolor()) for bar in figure.axes[1].containers}
    assert [label for label, face in faces.items() if face == "#ffffff"] == ["ResNet-18 (XNOR)"]
    assert points(figure.axes[1])["ResNet-18 (XNOR)"][1] == pytest.approx(5 * 0.8)  # in floats
    assert "Open: in floats" in words(figure)


# ------------------------------------------------------------------------------------------------------ Figures 1, 4
def test_fig1_puts_our_means_and_the_printed_values_where_they_belong(whole: Any) -> None:
    figure, rows = drawn("fig1", whole)
    found = points(figure.axes[0])
    unit = np.mean(list(whole.results.runs("resnet18-xnor").values("equivalent_ops_64").values()))
    printed_unit = next(row for row in table2() if row.experiment == "resnet18-xnor").equivalent(64)
    for row in table2():
        if row.slot != "cifar10":
            continue
        runs = whole.results.runs(row.experiment)
        x = np.mean(list(runs.values("equivalent_ops_64").values())) / unit
        y = 100 * np.mean(list(runs.values("top1").values()))
        assert found[f"{row.label}, measured"] == (pytest.approx(x), pytest.approx(y))
        assert found[f"{row.label}, printed"] == (
            pytest.approx(row.equivalent(64) / printed_unit),
            row.number("top1").value,
        )
    assert "ReActNet-18, measured" in found
    assert "ReActNet-18, printed" not in found
    assert len(rows) == 11 + 5 + 11
    assert figure.axes[0].get_xscale() == "log"
    assert "n = 3" in words(figure)


@pytest.mark.parametrize("name", ["fig1", "fig4"])
def test_full_precision_is_a_level_that_does_not_stretch_the_axis(name: str, tree: Any) -> None:
    """Its cost is far from the others', and goes to the foot."""
    tree.top1("bars-b", [0.8, 0.82])
    tree.top1("resnet18-xnor", [0.7, 0.71], counts=(10**6, 64 * 10**6, 10**6))
    tree.top1("resnet18-react", [0.9, 0.92], counts=(50 * 10**6, 0, 10**6))
    figure, rows = drawn(name, tree)
    assert len(rows) > 2 and any(row["experiment"] == "resnet18-react" for row in rows)
    for axes in figure.axes:
        assert not any("ReActNet" in label for label in points(axes)) and axes.get_xlim()[1] < 25
    levels = [line for axes in figure.axes for line in axes.lines if line.get_label() == "ReActNet-18, measured"]
    assert levels and all(list(level.get_ydata()) == [pytest.approx(91)] * 2 for level in levels)
    assert "Dotted: ReActNet-18, 25 times ResNet-18 (XNOR)'s equivalent operations." in words(figure)


def test_without_the_reference_costs_are_absolute_and_nothing_printed_is_drawn(tree: Any) -> None:
    tree.top1("bars-b", [0.8, 0.82, 0.84])
    for name, unit in (("fig1", "(millions)"), ("fig4", "(millions)")):
        figure, _ = drawn(name, tree)
        assert figure.axes[0].get_xlabel().endswith(unit)
        assert not any(label.endswith("printed") for label in points(figure.axes[0]))
        assert "without ResNet-18 (XNOR)" in words(figure)


@pytest.mark.parametrize("name", ["fig1", "fig3", "fig4"])
def test_nothing_printed_is_drawn_beside_data_that_are_not_cifar(tree: Any, name: str) -> None:
    for experiment in ("bars-a", "bars-b", "bars-c", "compact", "resnet18-xnor"):
        tree.top1(experiment, [0.8, 0.82, 0.84], dataset="my-images")
    figure, rows = drawn(name, tree)
    assert any(row["source"] == "printed" for row in rows)
    legends = [legend for part in (figure, *figure.subfigs, *figure.axes) if (legend := legend_of(part))]
    texts = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert texts
    assert not any("printed" in text or "NiN" in text for text in texts)
    assert not any(label.endswith("printed") for axes in figure.axes for label in points(axes))
    assert "they are of CIFAR-10, ours of my-images" in words(figure)


def legend_of(part: Any) -> Any:
    """The legend of axes or of a part of a figure."""
    return part.get_legend() if hasattr(part, "get_legend") else next(iter(part.legends), None)


def test_fig5_says_what_is_missing_within_its_panel(editable: Any) -> None:
    for seed in range(3):
        editable.path("collapsed-search", "search", "alphas.parquet", seed).unlink()
    figure, _ = drawn("fig5", editable)
    with style.look(editable.params.report.figures):
        figure.draw_without_rendering()
        (text,) = (text for axes in figure.axes for text in axes.texts)
        inside, box = text.axes.get_window_extent(), text.get_window_extent()
    assert "no logged alphas" in " ".join(text.get_text().split())
    assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
    assert inside.y0 <= box.y0 <= box.y1 <= inside.y1


def test_a_figure_grows_by_its_small_print() -> None:
    figures = [style.new(3.0) for _ in range(2)]
    style.foot(figures[0], "short")
    style.foot(figures[1], "words " * 200)
    assert figures[0].get_figheight() == 3.0
    assert figures[1].get_figheight() > 3.5


def test_fig1_tells_printed_from_measured_by_open_gray_markers(whole: Any) -> None:
    figure, _ = drawn("fig1", whole)
    for bar in figure.axes[0].containers:
        face = to_hex(bar[0].get_markerfacecolor())
        if bar.get_label().endswith("printed"):
            assert (face, to_hex(bar[0].get_markeredgecolor())) == ("#ffffff", style.GRAY)
        else:
            assert face not in ("#ffffff", style.GRAY)
    shapes = {bar.get_label(): bar[0].get_marker() for bar in figure.axes[0].containers}
    assert shapes["NiN (XNOR), measured"] == shapes["NiN (XNOR), printed"]
    assert len({marker for label, marker in shapes.items() if label.endswith("measured")}) == 1 + 13


def test_fig1_bars_are_the_sample_std_over_seeds(tree: Any) -> None:
    tree.top1("bars-b", [0.80, 0.82, 0.87])
    figure, rows = drawn("fig1", tree)
    bar = next(c for c in figure.axes[0].containers if c.get_label() == "BARS-B, measured")
    (segment,) = (s for collection in bar[2] for s in collection.get_segments() if s[0][1] != s[1][1])
    std = float(np.std([80, 82, 87], ddof=1))
    assert (segment[0][1], segment[1][1]) == (pytest.approx(83 - std), pytest.approx(83 + std))
    assert (rows[0]["n"], rows[0]["n_declared"]) == (3, 3)


@pytest.mark.parametrize("low", [0.0453, 0.061, 1.1, 95_000.0])
def test_a_narrow_logarithmic_axis_has_ticks_that_do_not_touch(low: float) -> None:
    figure = Figure(figsize=(2.2, 3))
    axes = figure.subplots()
    axes.plot([low, 1.35 * low], [0.0, 1.0])
    style.log_axis(axes)
    figure.draw_without_rendering()
    left, right = axes.get_xlim()
    there = [label for label in axes.get_xticklabels() if left <= label.get_position()[0] <= right]
    boxes = [label.get_window_extent() for label in there if label.get_text()]
    assert len(boxes) >= 2
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize("name", ["fig1", "fig4"])
def test_a_legend_of_many_networks_lies_within_its_figure_and_tells_them_apart(whole: Any, name: str) -> None:
    figure, rows = drawn(name, whole)
    with style.look(whole.params.report.figures):
        figure.draw_without_rendering()
        (legend,) = [legend for part in (figure, *figure.subfigs) for legend in part.legends]
        box, room = legend.get_window_extent(), figure.bbox
    assert room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
    looks = scatter.markers(rows)
    assert len(looks) > 15 and len(set(looks.values())) == len(looks) - 2  # BARS-A, -B and -C are one
    many = scatter.markers([{"series": "other", "experiment": str(i)} for i in range(40)])
    assert len(set(many.values())) == 41


@pytest.mark.parametrize(("name", "costs"), [("fig1", 1), ("fig4", 3)])
def test_accuracies_far_from_the_printed_ones_get_a_panel_of_their_own(tree: Any, name: str, costs: int) -> None:
    """At 45 % beside 91 % all of ours would lie on one line; the costs still share their axis."""
    for i, experiment in enumerate(("resnet18-xnor", "bars-a", "bars-b")):
        tree.top1(experiment, [0.44 + 0.01 * i, 0.45 + 0.01 * i])
    figure, _ = drawn(name, tree)
    assert len(figure.axes) == 2 * costs
    for upper, lower in zip(figure.axes[:costs], figure.axes[costs:], strict=True):
        assert {label.split(", ")[-1] for label in points(upper)} == {"printed"}
        assert {label.split(", ")[-1] for label in points(lower)} == {"measured"}
        assert upper.get_xlim() == lower.get_xlim()
        assert upper.get_ylim()[0] > 80 > 50 > lower.get_ylim()[1]
        assert "relative to ResNet-18 (XNOR)" in lower.get_xlabel()
    assert (figure.axes[0].get_ylabel(), figure.axes[costs].get_ylabel()) == ("Printed top-1 (%)", "Measured top-1 (%)")


def test_fig1_says_which_runs_are_missing(tree: Any) -> None:
    tree.top1("bars-b", [0.9, 0.91])
    text = words(drawn("fig1", tree)[0])
    assert "bars-b (incomplete: no result of seed 2)" in text
    assert "nin-xnor" in text
    assert "no result yet (seeds 0, 1, 2)" in text


def test_fig4_has_three_panels_in_the_papers_units(whole: Any) -> None:
    figure, _ = drawn("fig4", whole)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert [label.split("\n")[0] for label in labels] == ["FLOPs", "BiOps", "Parameters"]
    assert all("relative to ResNet-18 (XNOR)" in label for label in labels)
    for source in ("measured", "printed"):
        assert [points(axes)[f"ResNet-18 (XNOR), {source}"][0] for axes in figure.axes] == [1.0, 1.0, 1.0]
    means = [np.mean(list(whole.results.runs("bars-b").values(key).values())) for key in ("flops", "biops", "params")]
    units = whole.results.runs("resnet18-xnor").metrics[0]
    ours = [points(axes)["BARS-B, measured"][0] for axes in figure.axes]
    assert ours == pytest.approx([m / u for m, u in zip(means, (units.flops, units.biops, units.params), strict=True)])
    printed = [points(axes)["BARS-B, printed"][0] for axes in figure.axes]
    assert printed[1] == pytest.approx(2096 / 1094)
    assert "NiN (XNOR), printed" not in points(figure.axes[2])
    assert "No parameters are printed of WRN-40 (XNOR), NiN (XNOR)" in words(figure)


# ------------------------------------------------------------------------------------------------------ Figure 2
def test_fig2_draws_the_configuration(whole: Any) -> None:
    figure, rows = drawn("fig2", whole)
    text = words(figure)
    assert text.count("cell 1") == text.count("cell 2") == 3  # two cells in each of three stages
    assert "stage 1: 4 × 8 channels, 8 × 8" in text
    assert "stage 3: 4 × 32 channels, 2 × 2" in text
    for part in (
        "depth 0, 1, 2",
        "width 0.25 to 1",
        "each of 10 edges",
        "Gumbel-Softmax sampling",
        "8 samples",
        "12 epochs",
    ):
        assert part in text
    size = 3**40 * 27 * 64
    assert next(row["value"] for row in rows if row.get("key") == "space.size") == size
    assert r"2.1 \times 10^{22}" in text


def test_fig2_schedules_are_those_of_the_search(whole: Any) -> None:
    figure, rows = drawn("fig2", whole)
    panels = {axes.get_title("left"): axes for axes in figure.axes}
    temperature = panels["Temperature τ (Eq. 5)"].lines[0]
    assert list(temperature.get_xdata()) == list(range(1, 13))
    assert temperature.get_ydata()[0] == pytest.approx(5.0)
    assert temperature.get_ydata()[-1] == pytest.approx(0.1)
    entropy = panels["Entropy weight λ (Eq. 6)"].lines[0]
    assert list(entropy.get_xdata()) == list(range(3, 13))  # after two epochs of warm-up
    assert (entropy.get_ydata()[0], entropy.get_ydata()[-1]) == (-0.01, 0.01)
    factor = {row["x"]: row["value"] for row in rows if row["key"] == "capacity_factor"}
    # exponent 4 per unit of log(E/F) and a multiplier that took one step of 0.02, both at most FAR from the budget
    assert factor[0.5] == pytest.approx(0.5 ** -(4.02 * 0.2))
    assert factor[max(factor)] == pytest.approx(max(factor) ** (4.02 * 0.2))


def test_fig2_follows_a_changed_configuration(tmp_path: Path) -> None:
    from bars.pipeline.load import load_params

    base = Path(__file__).parent / "params.yaml"
    changed = tmp_path / "params.yaml"
    changed.write_text(
        f"include: {base}\n"
        "defaults: {space: {search_depth: false, cells_per_stage: 3, cell_types: shared}, derive: {method: argmax}}\n"
    )
    module = importlib.import_module("bars.report.figures.fig2")
    params = load_params(changed)
    results = Results(params, None, tmp_path)
    with style.look(params.report.figures):
        text = words(module.draw(module.data(results), results))
    assert "skip paths" not in text
    assert len(re.findall(r"\bcell \d", text)) == 9
    assert "one for all stages" in text
    assert "likeliest choice" in text


# ------------------------------------------------------------------------------------------------------ Figure 3
def test_fig3_has_both_fronts_their_runs_and_the_printed_one(whole: Any) -> None:
    figure, rows = drawn("fig3", whole)
    axes = figure.axes[0]
    fronts = {bar.get_label(): bar[0] for bar in axes.containers}
    assert set(fronts) == {"searched under a budget", "compact network, widened uniformly"}
    searched = fronts["searched under a budget"]
    unit = np.mean(list(whole.results.runs("resnet18-xnor").values("equivalent_ops_64").values()))
    expected = sorted(
        (
            np.mean(list(runs.values("equivalent_ops_64").values())) / unit,
            100 * np.mean(list(runs.values("top1").values())),
        )
        for runs in (whole.results.runs(name) for name in ("bars-a", "bars-b", "bars-c"))
    )
    assert list(searched.get_xdata()) == pytest.approx([x for x, _ in expected])
    assert list(searched.get_ydata()) == pytest.approx([y for _, y in expected])
    assert len(fronts["compact network, widened uniformly"].get_xdata()) == 4
    printed = next(line for line in axes.lines if line.get_label() == "searched, as printed")
    assert list(printed.get_ydata()) == [91.25, 92.98, 93.43]
    assert to_hex(printed.get_markerfacecolor()) == "#ffffff"
    text = words(figure)
    assert all(label in text for label in ("×1", "×1.25", "×1.5", "×2"))
    assert sum(row["source"] == "run" for row in rows) == (7 + 1) * 3  # and the network that is the unit


def test_fig3_marks_the_joint_front_in_its_csv(tree: Any) -> None:
    for name, cost, top1 in (("bars-a", 1, 0.8), ("bars-b", 2, 0.9), ("compact", 1, 0.7), ("compact-x2", 9, 0.95)):
        tree.top1(name, [top1] * 3, counts=(0, 64_000 * cost, 1))
    _, rows = drawn("fig3", tree)
    front = {row["experiment"]: row["on_joint_front"] for row in rows if row["source"] == "mean"}
    assert front == {"bars-a": True, "bars-b": True, "compact": False, "compact-x2": True}


def test_fig3_draws_what_is_there(tree: Any) -> None:
    tree.top1("compact", [0.7, 0.7, 0.7])
    figure, _ = drawn("fig3", tree)
    assert [bar.get_label() for bar in figure.axes[0].containers] == ["compact network, widened uniformly"]
    assert "bars-a, bars-b, bars-c" in words(figure)


def test_fig3_gives_printed_values_far_above_ours_a_panel_of_their_own(tree: Any) -> None:
    for experiment, top1 in (("bars-a", 0.46), ("bars-b", 0.49), ("compact", 0.42), ("resnet18-xnor", 0.45)):
        tree.top1(experiment, [top1] * 3, dataset="cifar10")
    above, below = drawn("fig3", tree)[0].axes
    assert [line.get_label() for line in above.lines] == ["searched, as printed"]
    assert above.get_ylim()[0] > 80 > 60 > below.get_ylim()[1]
    assert above.get_xlim() == below.get_xlim()
    legend = legend_of(above)
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {
        "searched, as printed", "searched under a budget", "compact network, widened uniformly"
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ Figure 5
def test_fig5_has_a_line_per_edge_and_the_mean(whole: Any) -> None:
    figure, _ = drawn("fig5", whole)
    panels, last = figure.axes[:-1], figure.axes[-1]
    assert len(panels) == 2 * 3  # two searches, three primitives
    assert all(len(axes.lines) == 30 * 3 + 2 for axes in panels)  # 3 cell types x 10 edges x 3 seeds, mean, its halo
    titles = [axes.get_title("center") for axes in panels[:3]]
    assert titles == ["conv 3×3", "shortcut", "none"]
    lines = {line.get_label(): line for line in last.lines}
    logged = [row for rows in whole.results.alphas("bars-b").values() for row in rows if row.kind == "op"]
    shortcuts = [row for row in logged if row.group.startswith("normal") and row.choice == SHORTCUT]
    probs = [[row.prob for row in shortcuts if row.epoch == epoch] for epoch in (0, 12)]
    assert lines["BARS-B"].get_ydata()[0] == pytest.approx(np.mean(probs[0]))
    assert lines["BARS-B"].get_ydata()[-1] == pytest.approx(np.mean(probs[1]))
    assert lines["Unstabilised search"].get_ydata()[-1] > 0.95
    assert "Unstabilised, in floats" in lines
    assert len(last.findobj(PolyCollection)) == 3  # the spreads over seeds
    assert "n = 3 of 3 seeds" in words(figure)


def test_fig5_shows_one_search_and_says_that_the_other_is_missing(editable: Any) -> None:
    shutil.rmtree(editable.folder / "tiny/ablations/collapsed-search")
    figure, _ = drawn("fig5", editable)
    assert [line.get_label() for line in figure.axes[-1].lines] == ["Unstabilised, in floats", "BARS-B"]
    assert "collapsed-search: no logged alphas yet" in words(figure)


def test_fig5_says_where_a_search_stopped_early(editable: Any) -> None:
    from bars.pipeline import records

    path = editable.path("collapsed-search", "search", "alphas.parquet", 1)
    records.write_alphas(path, [row for row in records.read_alphas(path) if row.epoch <= 5])
    figure, rows = drawn("fig5", editable)
    assert "stopped early: seed 1 after epoch 5 of 12" in words(figure)
    counts = {
        r["epoch"]: r["n"] for r in rows if r["kind"] == "mean shortcut" and r["experiment"] == "collapsed-search"
    }
    assert (counts[5], counts[6]) == (3, 2)


# ------------------------------------------------------------------------------------------------------ Figure 6
def cells_of(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title("center"): axes for axes in figure.axes if axes.get_title("center")}


def test_fig6_draws_each_edge_in_its_primitives_colour(whole: Any) -> None:
    figure, _ = drawn("fig6", whole)
    cells = cells_of(figure)
    assert (
        list(cells)
        == [
            "normal",
            "reduction",
            *(f"normal-{i}\ndepth 2, width 0.75" for i in (1, 2, 3)),
        ]
        or len(cells) == 5
    )
    genotype = whole.results.genotypes("bars-b")[0]
    axes = cells["normal-1\ndepth 2, width 0.75"]
    edges = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(edges) == 10
    with style.look(whole.params.report.figures):
        for edge in edges:
            ends, primitive = edge.get_label().split(" ")
            source, target = (int(node) for node in ends.split("-"))
            assert genotype.cells["normal-1"][source, target] == primitive
            assert to_hex(edge.get_edgecolor()) == to_hex(style.primitive_colour(primitive))
            assert (edge.get_linestyle() != "-" and edge.get_linewidth() < 1) == (primitive == "none")


def luminance(colour: Any) -> float:
    rgb = np.array(to_rgb(colour))
    return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_fig6_shows_failed_cells_above_and_counts_over_seeds(whole: Any) -> None:
    figure, rows = drawn("fig6", whole)
    upper = cells_of(figure)["normal"]
    labels = [patch.get_label() for patch in upper.patches if isinstance(patch, FancyArrowPatch)]
    assert all(label.endswith(SHORTCUT) for label in labels)
    text = words(figure)
    assert "Unstabilised search (seed 0): failed in 3 of 3: over 90% of normal edges are shortcut or none" in text
    assert "BARS-B (seed 0)" in text
    counts = {
        (r["cell_type"], r["primitive"]): r["count"]
        for r in rows
        if r["kind"] == "count" and r["seed"] == 1 and r["experiment"] == "bars-b"
    }
    for (cell, primitive), count in counts.items():
        assert count == whole.results.genotypes("bars-b")[1].counts()[cell][primitive]
    bars = next(axes for axes in figure.axes if axes.get_title("left").startswith("Edges per cell"))
    labels = [label.get_text() for label in bars.get_yticklabels()]
    assert labels[:3] == ["Unstabilised normal", "Unstabilised reduction", "BARS-B normal-1"]
    assert len(labels) == 6
    assert sum(patch.get_width() for patch in bars.patches) == pytest.approx(6 * 10)
    for said in bars.texts:
        x, y = said.get_position()
        (behind,) = [
            p for p in bars.patches if p.get_x() < x < p.get_x() + p.get_width() and abs(p.get_y() + 0.35 - y) < 0.1
        ]
        shades = sorted(0.05 + luminance(colour) for colour in (behind.get_facecolor(), said.get_color()))
        assert shades[1] / shades[0] >= 4.5, said  # what WCAG asks of small text


def test_fig6_says_failed_only_where_the_criterion_does(editable: Any) -> None:
    for seed in (0, 1, 2):
        editable.genotype("failed-search", seed, lambda cell, source, target: "binary_conv_3x3")
    text = words(drawn("fig6", editable)[0])
    assert "did not fail in any of 3" in text
    assert "failed in" not in text


def test_fig6_says_what_is_missing(editable: Any) -> None:
    shutil.rmtree(editable.folder / "tiny/ablations/failed-search")
    shutil.rmtree(editable.folder / "tiny/searched/bars-b/seed-0")
    text = words(drawn("fig6", editable)[0])
    assert "Unstabilised search: no genotype yet" in text
    assert "BARS-B (seed 1)" in text
    assert "n = 2 of 3 seeds, seed 0 missing" in text


def test_a_depth_of_zero_is_said_and_drawn_faint(tree: Any) -> None:
    tree.genotype("bars-b", 0, lambda *edge: CONV3, depth=(0, 1, 0), width=0.5)
    cells = cells_of(drawn("fig6", tree)[0])
    opaque = {title: {patch.get_alpha() for patch in axes.patches[:10]} for title, axes in cells.items()}
    assert opaque["normal-1\nunused (depth 0)"] == opaque["normal-3\nunused (depth 0)"] == {0.3}
    assert opaque["normal-2\ndepth 1, width 0.5"] == opaque["reduction"] == {1.0}
    assert row2("bars-b").label == "BARS-B"


def test_fig6_counts_the_edges_of_cells_that_networks_have(tree: Any) -> None:
    tree.genotype("bars-b", 0, lambda *edge: CONV3, depth=(0, 1, 0))
    tree.genotype("bars-b", 1, lambda *edge: SHORTCUT, depth=(0, 2, 1))
    figure, rows = drawn("fig6", tree)
    counted = {(r["seed"], r["cell_type"]) for r in rows if r["kind"] == "count"}
    assert counted == {(0, "normal-2"), (1, "normal-2"), (1, "normal-3"), (0, "reduction"), (1, "reduction")}
    bars = next(axes for axes in figure.axes if axes.get_title("left").startswith("Edges per cell"))
    labels = [label.get_text() for label in bars.get_yticklabels()]
    assert labels == ["BARS-B normal-2", "BARS-B normal-3, n = 1", "BARS-B reduction"]


@pytest.mark.parametrize("name", ["fig1", "fig3"])
def test_points_in_one_place_have_one_label(tree: Any, name: str) -> None:
    tree.top1("bars-a", [0.90] * 3)
    for experiment in ("bars-b", "bars-c"):
        tree.top1(experiment, [0.93] * 3, counts=(60_000, 30_000_000, 600_000))
    axes = drawn(name, tree)[0].axes[0]
    ours = [text for text in axes.texts if text.get_fontweight() == "bold" and text.get_text() in "A, B, C"]
    assert {text.get_text(): tuple(text.xy) for text in ours} == {
        "A": (pytest.approx((60_000 + 20_000_000 / 64) / 1e6), pytest.approx(90.0)),
        "B, C": (pytest.approx((60_000 + 30_000_000 / 64) / 1e6), pytest.approx(93.0)),
    }


def test_epochs_are_whole_numbers(whole: Any) -> None:
    for axes in drawn("fig5", whole)[0].axes:
        assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_the_look_of_a_figure_is_that_of_params(whole: Any, tmp_path: Path) -> None:
    """Each of report.figures acts: palette on colours, context on sizes, dpi on pixels."""
    settings = whole.params.report.figures
    seen = []
    for changes in ({}, {"palette": "deep"}, {"context": "talk"}):
        with style.look(settings.model_copy(update=changes)):
            seen.append((rcParams["axes.prop_cycle"].by_key()["color"][0], rcParams["axes.labelsize"]))
    (colour, size), (other_colour, same_size), (same_colour, larger) = seen
    assert other_colour != colour == same_colour
    assert larger > size == same_size
    figure, rows = drawn("fig1", whole)
    widths = []
    for dpi in (50, 100):
        png = next(path for path in style.save(figure, rows, tmp_path, "fig1", dpi) if path.suffix == ".png")
        widths.append(imread(png).shape[1])
    assert widths[1] == pytest.approx(2 * widths[0], abs=2)


def test_labels_that_would_lie_on_each_other_become_one() -> None:
    figure = Figure(figsize=(3, 3))
    axes = figure.subplots()
    axes.plot([0.0, 1.0], [0.0, 1.0])
    style.label_points(axes, [(0.50, 0.50, "A"), (0.505, 0.50, "B"), (0.9, 0.50, "C")], (6, 6))
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("A, B", (0.50, 0.50)), ("C", (0.9, 0.50))]


@pytest.mark.parametrize(("edge", "offset"), [((0.0, 1.0), (-6, 6)), ((1.0, 0.0), (6, -6))])
def test_labels_stay_inside_of_their_axes(edge: tuple[float, float], offset: tuple[int, int]) -> None:
    figure = Figure(figsize=(3, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([0.0, 1.0], [0.0, 1.0])
    x, y = edge
    style.label_points(axes, [(x, 0.50, "A"), (x, 0.505, "B"), (0.5, y, "C")], offset)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 2
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    assert all(axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1 for box in boxes)
    for low, high in (axes.get_xlim(), axes.get_ylim()):  # they grew, on one side
        assert (low, high) != (-0.05, 1.05) and low <= -0.05 and high >= 1.05


def test_fig6_says_how_the_search_failed_below_its_title_and_not_through_the_legend(whole: Any) -> None:
    figure, _ = drawn("fig6", whole)
    with style.look(whole.params.report.figures):
        figure.draw_without_rendering()
        (legend,) = figure.legends
        title = figure.subfigs[0]._suptitle  # matplotlib has no public name for it
        said, both, beside = title.get_text(), title.get_window_extent(), legend.get_window_extent()
        title.set_text(said.partition("\n")[0])
        first = title.get_window_extent()
        title.set_text(said)
    assert "\nfailed in 3 of 3" in said
    assert first.x1 < beside.x0
    assert beside.y0 > both.y0 + 0.4 * both.height  # above the second line


def test_searches_of_different_numbers_of_seeds_are_counted_as_they_are(tree: Any) -> None:
    for name, seeds in (("bars-a", (0, 1, 2)), ("bars-d", (0,))):
        for seed in seeds:
            tree.epochs(name, seed, 0.8)
            tree.metrics(name, seed)
    for seed in (0, 1):
        tree.epochs("collapsed-search-in-floats", seed, 0.8)
    figure, _ = drawn("figS1", tree)
    assert "One line per seed (n = 1 to 3)" in words(figure)
    flips = [axes for axes in figure.axes if any("no binary" in text.get_text() for text in axes.texts)]
    assert len(flips) == 1 and not flips[0].lines  # of the search in floats
    assert [style.how_many(counts) for counts in ([2, 2], [3, 1])] == ["n = 2", "n = 1 to 3"]


def test_figure_s1_says_what_the_searches_recorded_of_themselves(tree: Any) -> None:
    """Not what could be told from their logs again: those do not know how many classes there are."""
    for seed, failures in ((0, ()), (1, ("its supernet guessed (loss 2.31)", "its decisions stayed open"))):
        tree.epochs("bars-a", seed, 0.1, failures)
    tree.epochs("bars-b", 0, 0.8)
    figure, rows = drawn("figS1", tree)
    assert "Failed: bars-a, seed 1: its supernet guessed (loss 2.31); its decisions stayed open." in words(figure)
    named = {axes.get_ylabel().replace("\n", " "): axes for axes in figure.axes if axes.get_ylabel()}
    assert list(named) == ["BARS-A: failed", "BARS-B"]
    assert [row["failures"] for row in rows if row["experiment"] == "bars-b"] == [""]
    chance = named["BARS-B"].lines[-1].get_ydata()
    assert list(chance) == pytest.approx([0.1, 0.1])  # of the ten classes that were recorded
    assert "gray: a guess, and the criteria" in words(figure)


def test_figure_s1_does_not_speak_of_a_guess_that_no_search_recorded(tree: Any) -> None:
    tree.epochs("bars-b", 0, 0.8, guess=None)
    figure, rows = drawn("figS1", tree)
    assert "gray: the criteria" in words(figure) and "guess" not in words(figure)
    assert {row["guess_top1"] for row in rows} == {None}
    (top1,) = (axes for axes in figure.axes if axes.get_ylabel())
    assert len(top1.lines) == 1  # the search's own
