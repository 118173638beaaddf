"""Every claim of the paper as one row: what was measured for it here, and whether that supports it.

A claim is judged by the t-interval of its quantity over seeds (report.claims of params.yaml), never by a mean alone:

* a gain of c points is supported when its interval lies above 0 and reaches c, not supported when it lies below c or
  below 0, and within noise when it holds 0;
* a share of at most r is supported when its interval lies below r (with ratio_tolerance), not supported when above;
* fewer than min_seeds runs: not tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bars.params import ClaimsParams
from bars.report import stats, text
from bars.report.evidence import Evidence, Measured, NotMeasured, mean_entropy, mean_largest, mean_shortcut
from bars.report.failure import failure
from bars.report.inputs import BARS, COLLAPSED, FAILED, FULL, RANDOM, STABILISED
from bars.report.paper import TABLE2, TEXT, row1, row2
from bars.report.results import Results
from bars.report.stats import Interval
from bars.report.tabular import EMPTY, Column, Row, Table, Value
from bars.space import SHORTCUT, Genotype

SUPPORTED, NOT_SUPPORTED, NOISE, NOT_TESTED = "supported", "not supported", "within noise", "not tested"
VERDICTS = (SUPPORTED, NOT_SUPPORTED, NOISE, NOT_TESTED)
ONE_HOT = 0.9  # mean probability of the likeliest primitive that counts as "close to one-hot"


# ------------------------------------------------------------------------------------------------------ judging
Rule = Callable[[Interval, ClaimsParams], tuple[str, str]]


def gains(points: float = 0.0) -> Rule:
    """The quantity is positive and, by its interval, may be as large as claimed."""

    def rule(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
        low, high = _bounds(value)
        if high < 0:
            return NOT_SUPPORTED, "the interval lies below 0"
        if low <= 0:
            return NOISE, "the interval holds 0"
        if high < points:
            return NOT_SUPPORTED, f"above 0, but the interval ends below the {points:g} that are claimed"
        return SUPPORTED, "the interval lies above 0" + (f" and reaches {points:g}" if points else "")

    return rule


def at_most(limit: float, *, tolerant: bool = True) -> Rule:
    """The quantity stays below a limit (widened by ratio_tolerance)."""

    def rule(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
        bound = limit * (1 + claims.ratio_tolerance) if tolerant else limit
        low, high = _bounds(value)
        if high <= bound:
            return SUPPORTED, f"the interval lies below {bound:.3g}"
        if low > bound:
            return NOT_SUPPORTED, f"the interval lies above {bound:.3g}"
        return NOISE, f"the interval holds {bound:.3g}"

    return rule


def at_least(limit: float) -> Rule:
    """The quantity stays above a limit."""

    def rule(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
        low, high = _bounds(value)
        if low >= limit:
            return SUPPORTED, f"the interval lies above {limit:.3g}"
        if high < limit:
            return NOT_SUPPORTED, f"the interval lies below {limit:.3g}"
        return NOISE, f"the interval holds {limit:.3g}"

    return rule


def always(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
    """A yes-or-no property (1 or 0 per run): every run has it. More than chance only if all agree."""
    if value.mean == 1:
        return SUPPORTED, f"holds in all {value.n}"
    if value.mean == 0:
        return NOT_SUPPORTED, f"holds in none of {value.n}"
    return NOISE, f"holds in {value.mean:.0%} of {value.n}"


def _bounds(value: Interval) -> tuple[float, float]:
    """Interval bounds; unbounded where one run alone gives none."""
    return (
        float("-inf") if value.low is None else value.low,
        float("inf") if value.high is None else value.high,
    )


# ------------------------------------------------------------------------------------------------------ a claim
@dataclass(frozen=True)
class Claim:
    """What the paper says, in our words, and how it is tested here. ``why_not``: no experiment of the grid tests it."""

    id: str
    claim: str
    where: str
    quantity: str
    unit: str = ""
    printed: str = ""
    measure: Callable[[Evidence], Measured] | None = None
    rule: Rule = always
    why_not: str = ""

    def row(self, evidence: Evidence) -> dict[str, Value]:
        """The claim judged on a results tree."""
        about: dict[str, Value] = {
            "id": self.id,
            "claim": self.claim,
            "where": self.where,
            "quantity": self.quantity,
            "unit": self.unit,
            "printed": self.printed,
            "scale": evidence.results.scale,
            "confidence": evidence.claims.confidence,
        }
        try:
            if self.measure is None:
                raise NotMeasured(self.why_not)
            measured = self.measure(evidence)
        except NotMeasured as reason:
            return {**about, "verdict": NOT_TESTED, "why": str(reason)}
        value, needed = measured.value, evidence.claims.min_seeds
        about.update(
            value=value.mean,
            low=value.low,
            high=value.high,
            n=value.n,
            paired=value.paired,
            seeds=" ".join(str(seed) for seed in measured.seeds),
            data_set=measured.dataset,
        )
        if value.n < needed:
            return {
                **about,
                "verdict": NOT_TESTED,
                "why": _joined(f"{value.n} of the {needed} seeds needed", measured.note),
            }
        verdict, why = self.rule(value, evidence.claims)
        return {**about, "verdict": verdict, "why": _joined(why, measured.note)}


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def table(results: Results) -> Table:
    """All claims, judged."""
    evidence = Evidence(results)
    rows = [claim.row(evidence) for claim in CLAIMS]
    counts = {verdict: sum(1 for row in rows if row["verdict"] == verdict) for verdict in VERDICTS}
    claims = evidence.claims
    return Table(
        name="claims",
        title="The paper's claims, tested",
        caption=(
            f"Scale {results.scale}. "
            + ", ".join(f"{verdict}: {count}" for verdict, count in counts.items())
            + f". Values are means over seeds with their {claims.confidence:.0%} t-intervals; differences are paired "
            "by seed where both sides share seeds. What is found at a reduced scale says nothing about the paper's own."
        ),
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"A claim needs {claims.min_seeds} seeds to be tested. A gain is supported when its interval lies above 0 "
            "and reaches what is claimed, not supported when below that or below 0, and within noise when it holds 0.",
            f"A share is held to the claimed ratio with a tolerance of {claims.ratio_tolerance:.0%}.",
        ),
    )


def _value_text(row: Row) -> str:
    value, low, high = row.get("value"), row.get("low"), row.get("high")
    if not isinstance(value, int | float):
        return EMPTY
    show = (lambda number: f"{number:.2f}") if row["unit"] == "points" else text.significant
    shown = show(value)
    if isinstance(low, float) and isinstance(high, float):
        shown += f" [{show(low)}, {show(high)}]"
    return f"{shown} {row['unit']}".strip() + f" (n={row['n']}{', paired' if row['paired'] else ''})"


COLUMNS = (
    Column("id", "Id", align="l"),
    Column("claim", "Claim", align="l"),
    Column("where", "Where", align="l"),
    Column("quantity", "Measured quantity", align="l"),
    Column("unit"),
    Column("printed", "Paper", align="l"),
    Column("value", "Ours", _value_text, align="l"),
    Column("low"),
    Column("high"),
    Column("confidence"),
    Column("n"),
    Column("paired"),
    Column("seeds"),
    Column("scale"),
    Column("data_set", "Data", align="l"),
    Column("verdict", "Verdict", align="l"),
    Column("why", "Why", align="l"),
)


# ------------------------------------------------------------------------------------------------------ building blocks
def _gain(id: str, claim: str, where: str, one: str, other: str, points: float = 0.0, printed: str = "") -> Claim:
    return Claim(
        id,
        claim,
        where,
        f"top-1 of {one} - {other}",
        "points",
        printed or _printed_gain(one, other),
        lambda evidence: evidence.gain(one, other),
        gains(points),
    )


def _printed_gain(one: str, other: str) -> str:
    values = [row2(name).number("top1").value for name in (one, other)]
    assert values[0] is not None and values[1] is not None
    return f"{values[0] - values[1]:+.2f} points"


def _share(
    id: str, claim: str, where: str, key: str, one: str, other: str, limit: float, *, tolerant: bool = True
) -> Claim:
    printed = [row2(name).number(key.removesuffix("_64")).value for name in (one, other)]
    assert printed[0] is not None and printed[1] is not None
    return Claim(
        id,
        claim,
        where,
        f"{key} of {one} / {other}",
        "",
        f"{printed[0] / printed[1]:.2f}",
        lambda evidence: evidence.share(key, one, other),
        at_most(limit, tolerant=tolerant),
    )


def _ablation(experiment: str, claim: str, where: str = "Sec. 5.3; Table 1") -> Claim:
    full, without = row1(FULL).number.value, row1(experiment).number.value
    assert full is not None and without is not None
    id = f"ablation-{experiment}"
    return _gain(id, claim, where, FULL, experiment, printed=f"{full - without:+.2f} points")


def _untested(id: str, claim: str, where: str, why: str) -> Claim:
    return Claim(id, claim, where, EMPTY, why_not=why)


# ------------------------------------------------------------------------------------------------------ own quantities
def _all_binary(*names: str) -> Callable[[Evidence], Measured]:
    def measure(evidence: Evidence) -> Measured:
        flags, seeds, datasets, missing = list[float](), set[int](), set[str](), list[str]()
        for name in names:
            runs = evidence.results.runs(name)
            flags += [float(metrics.fully_binarized) for metrics in runs.metrics.values()]
            seeds |= set(runs.metrics)
            datasets |= {runs.dataset} if runs.dataset else set()
            missing += [f"{name}: {runs.absence}"] if runs.absence else []
        if not flags:
            raise NotMeasured("; ".join(missing))
        value = stats.interval(flags, evidence.claims.confidence)
        return Measured(value, tuple(sorted(seeds)), " + ".join(sorted(datasets)), "; ".join(missing))

    return measure


CIFAR_BASELINES = tuple(row.experiment for row in TABLE2 if row.slot == "cifar10" and not row.ours)


def printed_beaten(divisor: int) -> str:
    """How many printed CIFAR-10 baselines have a printed BARS network of fewer equivalent ops and no less accuracy."""
    points = {}
    for row in TABLE2:
        ops, top1 = row.equivalent(divisor), row.number("top1").value
        assert top1 is not None
        points[row.experiment] = (ops or 0.0, top1)
    beaten = [
        any(points[ours][0] < points[theirs][0] and points[ours][1] >= points[theirs][1] for ours in BARS)
        for theirs in CIFAR_BASELINES
    ]
    return f"{sum(beaten)} of {len(beaten)}"


def _beaten(evidence: Evidence) -> Measured:
    """Share of the CIFAR-10 baselines that were run which a cheaper BARS network beats: by means, surely, and maybe."""
    ours = [name for name in BARS if evidence.results.runs(name).metrics]
    theirs = [name for name in CIFAR_BASELINES if evidence.results.runs(name).metrics]
    if not ours or not theirs:
        raise NotMeasured("no result of " + ("a CIFAR-10 baseline" if ours else "BARS-A, -B, -C"))

    def cost(name: str) -> float:
        return stats.mean([*evidence.results.runs(name).values("equivalent_ops_64").values()])

    surely, maybe, by_mean = list[str](), list[str](), list[str]()
    for name in theirs:
        gaps = [evidence.gain(one, name).value for one in ours if cost(one) < cost(name)]
        if not gaps:
            continue
        low, high = _bounds(max(gaps, key=lambda gap: gap.mean))
        surely += [name] if low > 0 else []
        maybe += [name] if high >= 0 else []
        by_mean += [name] if max(gap.mean for gap in gaps) >= 0 else []
    mean, low, high = (len(names) / len(theirs) for names in (by_mean, surely, maybe))
    value = Interval(mean, low, high, min(len(evidence.results.runs(name).metrics) for name in (*ours, *theirs)))
    noise, lost = [n for n in maybe if n not in surely], [n for n in theirs if n not in maybe]
    note = "; ".join(
        f"{words} {', '.join(names)}"
        for words, names in (("beaten:", surely), ("within noise:", noise), ("not beaten:", lost))
        if names
    )
    runs = evidence.results.runs(ours[0])
    return Measured(value, tuple(runs.metrics), runs.dataset or "", note)


def beats_all(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
    """Every baseline surely beaten supports; one that surely is not refutes. ``low`` and ``high`` are those shares."""
    low, high = _bounds(value)
    if low >= 1:
        return SUPPORTED, ""
    return (NOT_SUPPORTED, "") if high < 1 else (NOISE, "")


def _least_flops(evidence: Evidence) -> Measured:
    """FLOPs of BARS-B over those of the CIFAR-10 baseline with the fewest."""
    there = [name for name in CIFAR_BASELINES if evidence.results.runs(name).metrics]
    if not there:
        raise NotMeasured("no result of a CIFAR-10 baseline")
    least = min(there, key=lambda name: stats.mean([*evidence.results.runs(name).values("flops").values()]))
    measured = evidence.share("flops", FULL, least)
    return Measured(measured.value, measured.seeds, measured.dataset, _joined(f"least FLOPs: {least}", measured.note))


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


def _pareto(evidence: Evidence) -> Measured:
    """Mean gap of the two fronts of Figure 3 where their costs overlap, by seed."""
    widened = [e.name for e in evidence.results.grid if e.group == "widened"]
    searched, expanded = [evidence.runs(name) for name in BARS], [evidence.runs(name) for name in widened]
    if not expanded:
        raise NotMeasured("no widened experiment in the grid")
    seeds = set.intersection(*(set(runs.metrics) for runs in (*searched, *expanded)))
    gaps = {}
    for seed in sorted(seeds):
        points = [
            [(runs.metrics[seed].equivalent_ops_64, 100 * runs.metrics[seed].top1) for runs in side]
            for side in (searched, expanded)
        ]
        if found := pareto_gaps(points[0], points[1]):
            gaps[seed] = stats.mean(found)
    if not gaps:
        raise NotMeasured("no seed with every network of both fronts, at overlapping costs")
    value = stats.interval(list(gaps.values()), evidence.claims.confidence, paired=True)
    return Measured(value, tuple(gaps), searched[0].dataset or "")


def _fails(evidence: Evidence) -> Measured:
    """Share of runs without Gumbel-Softmax that failed."""
    name = "without-gumbel-softmax"
    runs = evidence.runs(name)
    genotypes = evidence.results.genotypes(name)
    verdict = failure(runs, genotypes, evidence.claims)
    value = stats.interval([1.0] * verdict.failed + [0.0] * (verdict.of - verdict.failed), evidence.claims.confidence)
    return Measured(value, tuple(runs.metrics), runs.dataset or "", _joined(str(verdict), runs.absence))


def _less_shortcut_than(other: str) -> Callable[[Evidence], Measured]:
    def measure(evidence: Evidence) -> Measured:
        return evidence.against(
            other, evidence.at_end(other, mean_shortcut), FULL, evidence.at_end(FULL, mean_shortcut)
        )

    return measure


def _explores(evidence: Evidence) -> Measured:
    """Entropy of the first half of the epochs, BARS - collapsed search."""

    def early(name: str) -> dict[int, float]:
        return {
            seed: stats.mean([mean_entropy(edges) for epoch, edges in epochs.items() if epoch <= max(epochs) / 2])
            for seed, epochs in evidence.probs(name).items()
        }

    return evidence.against(FULL, early(FULL), COLLAPSED, early(COLLAPSED))


def _sharpens(evidence: Evidence) -> Measured:
    """Entropy before the first epoch minus after the last, by seed."""
    falls = {
        seed: mean_entropy(epochs[min(epochs)]) - mean_entropy(epochs[max(epochs)])
        for seed, epochs in evidence.probs(FULL).items()
    }
    return evidence.per_seed(FULL, falls)


def _one_hot(evidence: Evidence) -> Measured:
    return evidence.per_seed(FULL, evidence.at_end(FULL, mean_largest))


def _gap_closes(evidence: Evidence) -> Measured:
    return evidence.against(COLLAPSED, evidence.derive_gap(COLLAPSED), FULL, evidence.derive_gap(FULL))


def _no_cell_collapsed(evidence: Evidence) -> Measured:
    """1 per BARS-A, -B, -C run of which no cell type consists of shortcuts only."""
    flags, seeds = [], set[int]()
    for name in BARS:
        for seed, genotype in evidence.results.genotypes(name).items():
            flags.append(float(not any(_all_shortcuts(genotype, cell) for cell in genotype.cells)))
            seeds.add(seed)
    if not flags:
        raise NotMeasured("no genotype of BARS-A, -B, -C")
    value = stats.interval(flags, evidence.claims.confidence)
    return Measured(value, tuple(sorted(seeds)), evidence.results.runs(FULL).dataset or "")


def _all_shortcuts(genotype: Genotype, cell: str) -> bool:
    return set(genotype.cells[cell].values()) == {SHORTCUT}


def _failed_collapsed(evidence: Evidence) -> Measured:
    """1 per failed search whose normal cells consist of shortcuts only."""
    flags = {
        seed: float(all(_all_shortcuts(genotype, cell) for cell in genotype.space.normal_types))
        for seed, genotype in evidence.genotypes(FAILED).items()
    }
    return evidence.per_seed(FAILED, flags)


def _early_minus_late(late_minus_early: bool, counted: Callable[[str], bool]) -> Callable[[Evidence], Measured]:
    """Edges with a primitive, first minus last stage's cells (or the reverse), BARS-A to -C by seed."""

    def measure(evidence: Evidence) -> Measured:
        by_seed: dict[int, list[float]] = {}
        for name in BARS:
            for seed, genotype in evidence.results.genotypes(name).items():
                stages, cells = genotype.space.stages, genotype.space.cells_per_stage
                first, last = (
                    stats.mean(
                        [sum(counted(p) for p in genotype.normal(stage, cell).values()) for cell in range(cells)]
                    )
                    for stage in (0, stages - 1)
                )
                by_seed.setdefault(seed, []).append(last - first if late_minus_early else first - last)
        if not by_seed:
            raise NotMeasured("no genotype of BARS-A, -B, -C")
        return evidence.per_seed(FULL, {seed: stats.mean(values) for seed, values in by_seed.items()})

    return measure


def _is_conv(primitive: str) -> bool:
    return primitive.startswith("binary_conv")


def _bigger_kernels(evidence: Evidence) -> Measured:
    """5x5 minus 3x3 convolutions over all edges, in the search over both, by seed."""
    differences = {}
    for seed, genotype in evidence.genotypes(STABILISED).items():
        counts = genotype.counts().values()
        differences[seed] = float(
            sum(count.get("binary_conv_5x5", 0) - count.get("binary_conv_3x3", 0) for count in counts)
        )
    return evidence.per_seed(STABILISED, differences)


# ------------------------------------------------------------------------------------------------------ the claims
def _claims() -> Iterator[Claim]:
    gain, third, tenth = TEXT.cifar_gain.value, TEXT.cifar_biops.value, TEXT.cifar_flops.value
    imagenet, with_fp, without_fp = TEXT.imagenet_gain.value, TEXT.drop_with.value, TEXT.drop_without.value
    assert gain and third and tenth and imagenet and with_fp and without_fp
    reference, fp, binary = "resnet34-xnor", "imagenet-resnet18-xnor-fp", "imagenet-resnet18-xnor"
    both = "Abstract; Sec. 5.1"

    yield _gain(
        "cifar-gain", "BARS-B is 1.5 points more accurate than a hand-made network", both, FULL, reference, gain
    )
    yield _gain("cifar-gain-resnet18", "and more accurate than ResNet-18", "Table 2; Fig. 1", FULL, "resnet18-xnor")
    yield _share("cifar-biops", "with two thirds of its binary operations", both, "biops", FULL, reference, third)
    yield _share("cifar-flops", "with a tenth of its floating-point operations", both, "flops", FULL, reference, tenth)
    yield _share("cifar-params", "and a tenth of its parameters", "Sec. 5.1", "params", FULL, reference, tenth)
    yield Claim(
        "cifar-all-baselines",
        "BARS networks are better than the baselines at lower cost",
        "Sec. 1, contributions; Table 2 and Fig. 1, captions",
        "share of CIFAR-10 baselines that a BARS network with fewer equivalent ops (1/64) beats",
        printed=f"{printed_beaten(64)} by 1/64, {printed_beaten(32)} by 1/32",
        measure=_beaten,
        rule=beats_all,
    )
    yield _gain(
        "smaller-gain", "BARS-A is more accurate than ResNet-18", "Sec. 1, contributions", "bars-a", "resnet18-xnor"
    )
    yield _share(
        "smaller-params",
        "although it is smaller",
        "Sec. 1, contributions",
        "params",
        "bars-a",
        "resnet18-xnor",
        1.0,
        tolerant=False,
    )
    yield Claim(
        "fewest-flops",
        "BARS networks need far fewer floating-point operations than any baseline",
        "Sec. 1, contributions; Fig. 4, caption",
        f"flops of {FULL} / the CIFAR-10 baseline with the fewest",
        printed="0.18",
        measure=_least_flops,
        rule=at_most(1.0, tolerant=False),
    )
    yield Claim(
        "fully-binarised",
        "all of BARS's networks are binary but for stem and classifier",
        "Table 2, caption; Sec. 5.1",
        "share of BARS-A to -E runs that are fully binarised",
        printed="all",
        measure=_all_binary(*BARS, "bars-d", "bars-e"),
    )
    yield _gain("imagenet-gain", "BARS-E is 3 points more accurate than ResNet-18", both, "bars-e", fp, imagenet)
    yield _share("imagenet-cost", "at similar cost", both, "equivalent_ops_64", "bars-e", fp, 1.0)
    yield Claim(
        "imagenet-no-downsample",
        "without its float downsampling",
        both,
        "share of BARS-E runs that are fully binarised",
        printed="all",
        measure=_all_binary("bars-e"),
    )
    yield _gain(
        "imagenet-small-gain", "BARS-D is clearly better than a fully binary ResNet-18", "Sec. 5.1", "bars-d", binary
    )
    for key, words in (
        ("flops", "floating-point operations"),
        ("biops", "binary operations"),
        ("params", "parameters"),
    ):
        yield _share(
            f"imagenet-small-{key}", f"with fewer {words}", "Sec. 5.1", key, "bars-d", binary, 1.0, tolerant=False
        )
    yield _gain(
        "downsample-matters",
        "ResNet-18 loses accuracy without its float downsampling",
        "Sec. 5.1",
        fp,
        binary,
        round(with_fp - without_fp, 6),
    )
    yield _gain(
        "better-than-random",
        "the search finds better architectures than chance does within its budget",
        "Sec. 1, contributions (implied)",
        FULL,
        RANDOM,
        printed=EMPTY,
    )
    yield _gain(
        "width-helps",
        "a wider binary network is more accurate",
        "Sec. 1; Sec. 4.1.1",
        "compact-x2",
        "compact",
        printed=EMPTY,
    )
    yield Claim(
        "capacity-search",
        "searching for capacity gives a better front than widening a compact network",
        "Sec. 4.2.3; Fig. 3, caption",
        "top-1 of the BARS-A, -B, -C front - widened networks, at equal equivalent ops (1/64)",
        "points",
        "shown in Fig. 3",
        _pareto,
        gains(),
    )
    yield from _search_claims()
    yield from _cell_claims()
    yield from _untested_claims()


def _search_claims() -> Iterator[Claim]:
    yield Claim(
        "ablation-without-gumbel-softmax",
        "the search fails without Gumbel-Softmax sampling",
        "Sec. 5.3; Table 1",
        "share of runs without it that failed",
        printed="Failed",
        measure=_fails,
    )
    yield _ablation("normal-reduction-cell", "stages need cells of their own")
    yield _ablation(
        "without-cell-shortcut",
        "a binary network does not train without cell shortcuts",
        "Sec. 4.1.2; Sec. 5.3; Table 1",
    )
    yield _ablation("without-width-search", "searching for width helps")
    yield _ablation("without-depth-search", "searching for depth helps")
    yield _ablation("without-entropy-reg", "entropy regularisation helps", "Sec. 4.2.2; Table 1")
    yield _ablation("without-flops-reg", "capacity regularisation helps", "Sec. 4.2.3; Table 1")
    yield _ablation("without-sampling-in-derive", "choosing among sampled architectures helps", "Sec. 4.3; Table 1")
    yield Claim(
        "collapse-prevented",
        "Gumbel-Softmax and entropy regularisation keep the search from collapsing to shortcuts",
        "Sec. 5.2; Fig. 5",
        f"mean final shortcut probability of normal edges, {COLLAPSED} - {FULL}",
        "",
        "shown in Fig. 5",
        _less_shortcut_than(COLLAPSED),
        gains(),
    )
    yield Claim(
        "early-exploration",
        "early in the search the distribution stays nearly uniform",
        "Sec. 5.2; Fig. 5",
        f"mean entropy share of normal edges in the first half, {FULL} - {COLLAPSED}",
        "",
        "shown in Fig. 5",
        _explores,
        gains(),
    )
    yield Claim(
        "late-confidence",
        "it grows more confident towards the end",
        "Sec. 5.2",
        f"mean entropy share of normal edges, before the first - after the last epoch of {FULL}",
        measure=_sharpens,
        rule=gains(),
    )
    yield Claim(
        "one-hot",
        "and ends close to one-hot",
        "Sec. 5.2",
        f"mean largest probability of normal edges at the end of {FULL}",
        measure=_one_hot,
        rule=at_least(ONE_HOT),
    )
    yield Claim(
        "derive-gap",
        "which narrows the gap between search and derived network",
        "Sec. 4.2.1; Sec. 5.2",
        f"validation points lost by deriving, {COLLAPSED} - {FULL}",
        "points",
        measure=_gap_closes,
        rule=gains(),
    )


def _cell_claims() -> Iterator[Claim]:
    where = "Sec. 5.4; Fig. 6"
    yield Claim(
        "cells-not-collapsed",
        "no cell type of BARS consists of shortcuts only",
        where,
        "share of BARS-A, -B, -C runs without such a cell type",
        printed="all",
        measure=_no_cell_collapsed,
    )
    yield Claim(
        "failed-cells-collapsed",
        "the failed search's normal cell consists of shortcuts only",
        where,
        f"share of {FAILED} runs with such normal cells",
        printed="all",
        measure=_failed_collapsed,
    )
    yield Claim(
        "convolutions-early",
        "early stages have more convolutions than late ones",
        where,
        "convolutions per normal cell, first - last stage, BARS-A to -C",
        "edges",
        "shown in Fig. 6",
        _early_minus_late(False, _is_conv),
        gains(),
    )
    yield Claim(
        "shortcuts-late",
        "late stages have more shortcuts than early ones",
        where,
        "shortcuts per normal cell, last - first stage, BARS-A to -C",
        "edges",
        "shown in Fig. 6",
        _early_minus_late(True, lambda primitive: primitive == SHORTCUT),
        gains(),
    )
    yield Claim(
        "shared-cells-collapse",
        "one topology for all stages makes the collapse worse",
        "Sec. 2.2; Sec. 5.4",
        f"mean final shortcut probability of normal edges, normal-reduction-cell - {FULL}",
        measure=_less_shortcut_than("normal-reduction-cell"),
        rule=gains(),
    )
    yield Claim(
        "bigger-kernels",
        "the search prefers 5x5 to 3x3 binary convolutions",
        "Sec. 5.4",
        f"5x5 - 3x3 convolutions in all cells of {STABILISED}",
        "edges",
        measure=_bigger_kernels,
        rule=gains(),
    )


def _untested_claims() -> Iterator[Claim]:
    yield _untested(
        "op-shortcut",
        "a shortcut across each binary convolution helps at little cost",
        "Sec. 4.1.2",
        "not an experiment of the paper",
    )
    yield _untested(
        "strided-convolution",
        "two staggered strided convolutions keep the information flowing",
        "Sec. 4.1.2",
        "not an experiment of the paper",
    )
    yield _untested(
        "width-over-depth",
        "binary networks favour width over depth",
        "Sec. 1",
        "no experiment trades them at equal cost",
    )
    yield _untested(
        "depthwise", "depthwise convolutions do not suit binary networks", "Sec. 1", "outside the search space"
    )
    yield _untested(
        "harder-collapse",
        "binary operations make the collapse worse than float ones",
        "Abstract; Sec. 1",
        "no float search is run",
    )
    yield _untested(
        "acceleration", "bitwise operations run dozens of times faster", "Sec. 2.1", "operations are counted, not timed"
    )


CLAIMS: tuple[Claim, ...] = tuple(_claims())
