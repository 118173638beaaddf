"""What each claim rests on: one function per quantity, from a results tree to a number with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bars.report import stats
from bars.report.artifacts import BARS, COLLAPSED, FAILED, FULL, STABILISED
from bars.report.distribution import mean_entropy, mean_largest, mean_shortcut
from bars.report.failure import failure
from bars.report.paper import table2
from bars.report.stats import Interval
from bars.report.summary import joined
from bars.report.tables.claims.quantities import Measured, NotMeasured, Quantities, shared_seeds
from bars.report.timed import SINGLE, measured_on, of_grid
from bars.space import SHORTCUT, Genotype


def all_binary(*names: str) -> Callable[[Quantities], Measured]:
    """1 per run that is fully binarised."""

    def measure(quantities: Quantities) -> Measured:
        flags, seeds, datasets, missing = list[float](), set[int](), set[str](), list[str]()
        for name in names:
            runs = quantities.results.runs(name)
            flags += [float(metrics.fully_binarized) for metrics in runs.metrics.values()]
            seeds |= set(runs.metrics)
            datasets |= {runs.dataset} if runs.dataset else set()
            missing += [f"{name}: {runs.absence}"] if runs.absence else []
        if not flags:
            raise NotMeasured("; ".join(missing))
        value = stats.interval(flags, quantities.claims.confidence)
        return Measured(value, tuple(sorted(seeds)), " + ".join(sorted(datasets)), "; ".join(missing))

    return measure


def cifar_baselines() -> list[str]:
    """The hand-made networks of Table 2's CIFAR-10 rows."""
    return [row.experiment for row in table2() if row.slot == "cifar10" and not row.ours]


def printed_beaten(divisor: int) -> str:
    """How many printed CIFAR-10 baselines have a printed BARS network of fewer equivalent ops and no less accuracy."""
    points = {}
    for row in table2():
        points[row.experiment] = (row.equivalent(divisor) or 0.0, row.number("top1").known)
    beaten = [
        any(points[ours][0] < points[theirs][0] and points[ours][1] >= points[theirs][1] for ours in BARS)
        for theirs in cifar_baselines()
    ]
    return f"{sum(beaten)} of {len(beaten)}"


def beaten(quantities: Quantities) -> Measured:
    """Share of the CIFAR-10 baselines that were run which a cheaper BARS network beats: by means, surely, and maybe."""
    ours = [name for name in BARS if quantities.results.runs(name).metrics]
    theirs = [name for name in cifar_baselines() if quantities.results.runs(name).metrics]
    if not ours or not theirs:
        raise NotMeasured("no result of " + ("a CIFAR-10 baseline" if ours else "BARS-A, -B, -C"))

    def cost(name: str) -> float:
        return stats.mean([*quantities.results.runs(name).values("equivalent_ops_64").values()])

    surely, maybe, by_mean = list[str](), list[str](), list[str]()
    for name in theirs:
        gaps = [quantities.gain(one, name).value for one in ours if cost(one) < cost(name)]
        if not gaps:
            continue
        low, high = max(gaps, key=lambda gap: gap.mean).bounds
        surely += [name] if low > 0 else []
        maybe += [name] if high >= 0 else []
        by_mean += [name] if max(gap.mean for gap in gaps) >= 0 else []
    mean, low, high = (len(names) / len(theirs) for names in (by_mean, surely, maybe))
    value = Interval(mean, low, high, min(len(quantities.results.runs(name).metrics) for name in (*ours, *theirs)))
    noise, lost = [n for n in maybe if n not in surely], [n for n in theirs if n not in maybe]
    note = "; ".join(
        f"{words} {', '.join(names)}"
        for words, names in (("beaten:", surely), ("within noise:", noise), ("not beaten:", lost))
        if names
    )
    runs = quantities.results.runs(ours[0])
    return Measured(value, tuple(runs.metrics), runs.dataset or "", note)


def least_flops(quantities: Quantities) -> Measured:
    """FLOPs of BARS-B over those of the CIFAR-10 baseline with the fewest."""
    there = [name for name in cifar_baselines() if quantities.results.runs(name).metrics]
    if not there:
        raise NotMeasured("no result of a CIFAR-10 baseline")
    least = min(there, key=lambda name: stats.mean([*quantities.results.runs(name).values("flops").values()]))
    measured = quantities.share("flops", FULL, least)
    return Measured(measured.value, measured.seeds, measured.dataset, joined(f"least FLOPs: {least}", measured.note))


def over_chance(searched: Sequence[str], chance: Sequence[str]) -> Callable[[Quantities], Measured]:
    """Top-1 of searched networks - of random ones of each, mean over the networks by seed."""

    def measure(quantities: Quantities) -> Measured:
        measured = quantities.mean_gain(searched, chance)
        pairs = list(zip(searched, chance, strict=True))
        flops, biops = (
            stats.mean([quantities.compare(key, *pair, _of_means).value.mean for pair in pairs])
            for key in ("flops", "biops")
        )
        note = f"the searched networks have {flops:.2f} times as many FLOPs and {biops:.2f} times as many BiOps"
        return replace(measured, note=joined(note, measured.note))

    return measure


def _of_means(one: dict[int, float], other: dict[int, float], confidence: float) -> Interval:
    """A mean over another, where seeds pair nothing."""
    return Interval(
        stats.mean(list(one.values())) / stats.mean(list(other.values())), None, None, min(len(one), len(other))
    )


def pareto_gaps(searched: list[tuple[float, float]], expanded: list[tuple[float, float]]) -> list[float]:
    """Accuracy of the searched front (joined by lines) minus each expanded point's, where their costs overlap."""
    front = sorted(searched)
    gaps = []
    for cost, accuracy in expanded:
        for (c0, a0), (c1, a1) in zip(front, front[1:], strict=False):
            if c0 <= cost <= c1 and c1 > c0:
                gaps.append(a0 + (a1 - a0) * (cost - c0) / (c1 - c0) - accuracy)
                break
    return gaps


def pareto(quantities: Quantities) -> Measured:
    """Mean gap of the two fronts of Figure 3 where their costs overlap, by seed."""
    widened = [e.name for e in quantities.results.grid if e.group == "widened"]
    searched, expanded = [quantities.runs(name) for name in BARS], [quantities.runs(name) for name in widened]
    if not expanded:
        raise NotMeasured("no widened experiment in the grid")
    gaps = {}
    for seed in shared_seeds((*searched, *expanded)):
        points = [
            [(runs.metrics[seed].equivalent_ops_64, 100 * runs.metrics[seed].top1) for runs in side]
            for side in (searched, expanded)
        ]
        if found := pareto_gaps(points[0], points[1]):
            gaps[seed] = stats.mean(found)
    if not gaps:
        raise NotMeasured("no seed with every network of both fronts, at overlapping costs")
    value = stats.interval(list(gaps.values()), quantities.claims.confidence, paired=True)
    return Measured(value, tuple(gaps), searched[0].dataset or "")


def fails(quantities: Quantities) -> Measured:
    """Share of runs without Gumbel-Softmax that failed."""
    name = "without-gumbel-softmax"
    runs = quantities.runs(name)
    genotypes = quantities.results.genotypes(name)
    verdict = failure(runs, genotypes, quantities.claims)
    value = stats.interval([1.0] * verdict.failed + [0.0] * (verdict.of - verdict.failed), quantities.claims.confidence)
    return Measured(value, tuple(runs.metrics), runs.dataset or "", joined(str(verdict), runs.absence))


def less_shortcut_than(other: str, one: str = FULL) -> Callable[[Quantities], Measured]:
    """Final probability of the shortcut, another search - BARS-B (or ``one``)."""

    def measure(quantities: Quantities) -> Measured:
        return quantities.against(
            other, quantities.at_end(other, mean_shortcut), one, quantities.at_end(one, mean_shortcut)
        )

    return measure


def explores(quantities: Quantities) -> Measured:
    """Entropy of the first half of the epochs, BARS - collapsed search."""

    def early(name: str) -> dict[int, float]:
        return {
            seed: stats.mean([mean_entropy(edges) for epoch, edges in epochs.items() if epoch <= max(epochs) / 2])
            for seed, epochs in quantities.probs(name).items()
        }

    return quantities.against(FULL, early(FULL), COLLAPSED, early(COLLAPSED))


def sharpens(quantities: Quantities) -> Measured:
    """Entropy before the first epoch minus after the last, by seed."""
    falls = {
        seed: mean_entropy(epochs[min(epochs)]) - mean_entropy(epochs[max(epochs)])
        for seed, epochs in quantities.probs(FULL).items()
    }
    return quantities.per_seed(FULL, falls)


def one_hot(quantities: Quantities) -> Measured:
    """Mean largest probability of an edge after the last epoch."""
    return quantities.per_seed(FULL, quantities.at_end(FULL, mean_largest))


def gap_closes(quantities: Quantities) -> Measured:
    """Points lost by deriving, collapsed search - BARS-B."""
    return quantities.against(COLLAPSED, quantities.derive_gap(COLLAPSED), FULL, quantities.derive_gap(FULL))


def no_cell_collapsed(quantities: Quantities) -> Measured:
    """1 per BARS-A, -B, -C run of which no cell type consists of shortcuts only."""
    flags, seeds = [], set[int]()
    for name in BARS:
        for seed, genotype in quantities.results.genotypes(name).items():
            flags.append(float(not any(_all_shortcuts(genotype, cell) for cell in genotype.used_types)))
            seeds.add(seed)
    if not flags:
        raise NotMeasured("no genotype of BARS-A, -B, -C")
    value = stats.interval(flags, quantities.claims.confidence)
    return Measured(value, tuple(sorted(seeds)), quantities.results.runs(FULL).dataset or "")


def _all_shortcuts(genotype: Genotype, cell: str) -> bool:
    return set(genotype.cells[cell].values()) == {SHORTCUT}


def failed_collapsed(quantities: Quantities) -> Measured:
    """1 per failed search whose network has normal cells, and they consist of shortcuts only."""
    flags = {}
    for seed, genotype in quantities.genotypes(FAILED).items():
        normal = [cell for cell in genotype.used_types if cell in genotype.space.normal_types]
        flags[seed] = float(bool(normal) and all(_all_shortcuts(genotype, cell) for cell in normal))
    return quantities.per_seed(FAILED, flags)


def early_minus_late(late_minus_early: bool, counted: Callable[[str], bool]) -> Callable[[Quantities], Measured]:
    """Edges with a primitive, first minus last stage's cells (or the reverse), BARS-A to -C by seed.

    Over the networks that have cells in both stages.
    """

    def measure(quantities: Quantities) -> Measured:
        by_seed: dict[int, list[float]] = {}
        for name in BARS:
            for seed, genotype in quantities.results.genotypes(name).items():
                first, last = (_per_cell(genotype, stage, counted) for stage in (0, genotype.space.stages - 1))
                if first is not None and last is not None:
                    by_seed.setdefault(seed, []).append(last - first if late_minus_early else first - last)
        if not by_seed:
            raise NotMeasured("no genotype of BARS-A, -B, -C with normal cells in the first and in the last stage")
        return quantities.per_seed(FULL, {seed: stats.mean(values) for seed, values in by_seed.items()})

    return measure


def _per_cell(genotype: Genotype, stage: int, counted: Callable[[str], bool]) -> float | None:
    """Edges that count in a cell of a stage, mean over the cells that the stage keeps; None where it keeps none."""
    cells = range(genotype.stages[stage].depth)
    return stats.mean([sum(map(counted, genotype.normal(stage, cell).values())) for cell in cells]) if cells else None


def is_conv(primitive: str) -> bool:
    """Any binary convolution."""
    return primitive.startswith("binary_conv")


def bigger_kernels(quantities: Quantities) -> Measured:
    """5x5 minus 3x3 convolutions over all edges, in the search over both, by seed."""
    differences = {}
    for seed, genotype in quantities.genotypes(STABILISED).items():
        counts = genotype.counts().values()
        differences[seed] = float(
            sum(count.get("binary_conv_5x5", 0) - count.get("binary_conv_3x3", 0) for count in counts)
        )
    return quantities.per_seed(STABILISED, differences)


def packed_speedup(quantities: Quantities) -> Measured:
    """How many times as fast each packed network is as in floats, in the same runtime; ``n`` counts networks."""
    record = quantities.results.latency
    if record is None:
        raise NotMeasured("no times were taken at this scale: snakemake latency takes them")
    found, seeds, datasets = dict[str, float](), set[int](), set[str]()
    for runs, own in of_grid(quantities.results):
        times = None if own is None else own.at(SINGLE)
        if own is not None and times is not None and times.speedup is not None:
            found[runs.name] = times.speedup.median
            seeds.add(own.seed)
            datasets.add(runs.dataset or "")
    if not found:
        raise NotMeasured("no packed network was timed")
    value = stats.interval(list(found.values()), quantities.claims.confidence)
    most = max(found, key=lambda name: found[name])
    note = f"n counts networks; the most: {found[most]:.1f} times ({most}); {measured_on(record)}"
    return Measured(value, tuple(sorted(seeds)), " + ".join(sorted(datasets)), note)
