"""Every claim of the paper, in a sentence that stands alone, with what measures it and the rule that judges it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from bars.report.artifacts import (
    BARS,
    CHANCE,
    COLLAPSED,
    FAILED,
    FLOAT,
    FULL,
    MATCHED,
    NO_OP_SHORTCUT,
    PLAIN,
    STABILISED,
    WIDER,
)
from bars.report.layout import EMPTY
from bars.report.paper import cell, in_text, row1
from bars.report.tables.claims import measures
from bars.report.tables.claims.judge import Claim, at_least, at_most, beats_all, gains
from bars.space import SHORTCUT

DOZENS = 12.0  # the fewest that the word can mean
ONE_HOT = 0.9  # mean probability of the likeliest primitive that counts as "close to one-hot"
BOTH = "Abstract; Sec. 5.1"
RESNET18, RESNET34 = "resnet18-xnor", "resnet34-xnor"
IMAGENET_FP, IMAGENET_BINARY = "imagenet-resnet18-xnor-fp", "imagenet-resnet18-xnor"


# What the abstract and the list of contributions promise, and what Table 1 and Figure 5 show of the parts of it.
MAIN = (
    "cifar-gain",
    "cifar-biops",
    "cifar-flops",
    "cifar-all-baselines",
    "imagenet-gain",
    "imagenet-no-downsample",
    "capacity-search",
    "collapse-prevented",
    "ablation-without-cell-shortcut",
    "ablation-normal-reduction-cell",
)


@functools.cache
def claims() -> tuple[Claim, ...]:
    """All of them, in the order of the table."""
    return (*_cifar(), *_imagenet(), *_design(), *_ablations(), *_search(), *_cells(), *_untested(), _acceleration())


# ------------------------------------------------------------------------------------------------------ kinds of claims
def _gain(
    id: str, claim: str, where: str, one: str, other: str, points: float = 0.0, printed: str | None = None
) -> Claim:
    return Claim(
        id,
        claim,
        where,
        f"top-1 of {one} - {other}",
        "points",
        _printed_gain(one, other) if printed is None else printed,
        lambda quantities: quantities.gain(one, other, images=True),
        gains(points),
    )


def _printed_gain(one: str, other: str) -> str:
    return f"{cell(one, 'top1') - cell(other, 'top1'):+.2f} points"


def _share(
    id: str, claim: str, where: str, key: str, one: str, other: str, limit: float, *, tolerant: bool = True
) -> Claim:
    column = key.removesuffix("_64")
    return Claim(
        id,
        claim,
        where,
        f"{key} of {one} / {other}",
        "",
        f"{cell(one, column) / cell(other, column):.2f}",
        lambda quantities: quantities.share(key, one, other),
        at_most(limit, tolerant=tolerant),
    )


def _ablation(experiment: str, claim: str, where: str = "Sec. 5.3; Table 1") -> Claim:
    printed = row1(FULL).number.known - row1(experiment).number.known
    return _gain(f"ablation-{experiment}", claim, where, FULL, experiment, printed=f"{printed:+.2f} points")


# ------------------------------------------------------------------------------------------------------ networks
def _cifar() -> Iterator[Claim]:
    yield _gain(
        "cifar-gain",
        "On CIFAR-10, BARS-B is 1.5 points more accurate than a hand-made binary network.",
        BOTH,
        FULL,
        RESNET34,
        in_text("5.1/cifar-gain").known,
    )
    yield _gain(
        "cifar-gain-resnet18",
        "On CIFAR-10, BARS-B is more accurate than a binary ResNet-18.",
        "Table 2; Fig. 1",
        FULL,
        RESNET18,
    )
    for key, share, of in (
        ("biops", "two thirds", "binary operations"),
        ("flops", "a tenth", "floating-point operations"),
        ("params", "a tenth", "parameters"),
    ):
        yield _share(
            f"cifar-{key}",
            f"BARS-B needs {share} of the {of} of that hand-made binary network.",
            "Sec. 5.1" if key == "params" else BOTH,
            key,
            FULL,
            RESNET34,
            in_text(f"5.1/cifar-{key}").known,
        )
    yield Claim(
        "cifar-all-baselines",
        "On CIFAR-10, BARS networks are better than all baselines at lower cost.",
        "Sec. 1, contributions; Table 2 and Fig. 1, captions",
        "share of CIFAR-10 baselines that a BARS network with fewer equivalent ops (1/64) beats",
        printed=f"{measures.printed_beaten(64)} by 1/64, {measures.printed_beaten(32)} by 1/32",
        measure=measures.beaten,
        rule=beats_all,
    )
    where = "Sec. 1, contributions"
    yield _gain("smaller-gain", "BARS-A is more accurate than a binary ResNet-18.", where, "bars-a", RESNET18)
    yield _share(
        "smaller-params",
        "BARS-A has fewer parameters than a binary ResNet-18.",
        where,
        "params",
        "bars-a",
        RESNET18,
        1.0,
        tolerant=False,
    )
    yield Claim(
        "fewest-flops",
        "BARS networks need fewer floating-point operations than any baseline.",
        "Sec. 1, contributions; Fig. 4, caption",
        f"flops of {FULL} / the CIFAR-10 baseline with the fewest",
        printed="0.18",
        measure=measures.least_flops,
        rule=at_most(1.0, tolerant=False),
    )
    yield Claim(
        "fully-binarised",
        "All BARS networks are binary but for stem and classifier.",
        "Table 2, caption; Sec. 5.1",
        "share of BARS-A to -E runs that are fully binarised",
        printed="all",
        measure=measures.all_binary(*BARS, "bars-d", "bars-e"),
    )


def _over_chance(id: str, chance: Mapping[str, str], at: str) -> Iterator[Claim]:
    """What searching is worth, by data set and by network; ``chance``: the random architectures of each network."""
    words, where = "The search finds better architectures than chance does", "Sec. 1, contributions (implied)"
    for slot, networks in (("CIFAR-10", BARS), ("ImageNet", ("bars-d", "bars-e"))):
        others = [chance[name] for name in networks]
        yield Claim(
            f"better-than-{id}-{slot.partition('-')[0].lower()}",
            f"{words} {at} ({slot}, mean over budgets).",
            where,
            f"mean top-1 of {', '.join(networks)} - of {', '.join(others)}",
            "points",
            measure=measures.over_chance(networks, others),
            rule=gains(),
        )
    for name, random in chance.items():
        letter = name[-1]
        claim = f"{words} {at} (BARS-{letter.upper()}'s)."
        yield _gain(f"better-than-{id}-{letter}", claim, where, name, random, printed=EMPTY)


def _imagenet() -> Iterator[Claim]:
    gain = in_text("5.1/imagenet-gain").known
    words = "On ImageNet, BARS-E is 3 points more accurate than a binary ResNet-18."
    yield _gain("imagenet-gain", words, BOTH, "bars-e", IMAGENET_FP, gain)
    words = "BARS-E costs about as many operations as that binary ResNet-18."
    yield _share("imagenet-cost", words, BOTH, "equivalent_ops_64", "bars-e", IMAGENET_FP, 1.0)
    yield Claim(
        "imagenet-no-downsample",
        "BARS-E does without the floating-point downsampling of ResNet-18.",
        BOTH,
        "share of BARS-E runs that are fully binarised",
        printed="all",
        measure=measures.all_binary("bars-e"),
    )
    words = "On ImageNet, BARS-D is clearly more accurate than a fully binary ResNet-18."
    yield _gain("imagenet-small-gain", words, "Sec. 5.1", "bars-d", IMAGENET_BINARY)
    for key, of in (("flops", "floating-point operations"), ("biops", "binary operations"), ("params", "parameters")):
        words = f"BARS-D has fewer {of} than a fully binary ResNet-18."
        id = f"imagenet-small-{key}"
        yield _share(id, words, "Sec. 5.1", key, "bars-d", IMAGENET_BINARY, 1.0, tolerant=False)
    yield _gain(
        "downsample-matters",
        "On ImageNet, a binary ResNet-18 loses 4.8 points without its floating-point downsampling.",
        "Sec. 5.1",
        IMAGENET_FP,
        IMAGENET_BINARY,
        round(in_text("5.1/with-fp").known - in_text("5.1/without-fp").known, 6),
    )


def _design() -> Iterator[Claim]:
    yield from _over_chance("random", CHANCE, "within the same budget")
    yield from _over_chance("matched", MATCHED, "at equal FLOPs and BiOps")
    yield _gain(
        "width-helps",
        "A wider binary network of the same topology is more accurate.",
        "Sec. 1; Sec. 4.1.1",
        "compact-x2",
        "compact",
        printed=EMPTY,
    )
    yield _gain(
        "width-over-depth",
        "Binary networks gain more from width than from depth.",
        "Sec. 1",
        WIDER,
        RESNET34,
        printed=EMPTY,
    )
    yield _gain(
        "op-shortcut",
        "A shortcut across each binary convolution helps at little cost.",
        "Sec. 4.1.2",
        FULL,
        NO_OP_SHORTCUT,
        printed=EMPTY,
    )
    yield _gain(
        "strided-convolution",
        "Two staggered strided convolutions are better than one with as many operations.",
        "Sec. 4.1.2",
        FULL,
        PLAIN,
        printed=EMPTY,
    )
    yield Claim(
        "capacity-search",
        "Searching for capacity gives a better front of accuracy and cost than widening a compact network.",
        "Sec. 4.2.3; Fig. 3, caption",
        "top-1 of the BARS-A, -B, -C front - widened networks, at equal equivalent ops (1/64)",
        "points",
        "shown in Fig. 3",
        measures.pareto,
        gains(),
    )


# ------------------------------------------------------------------------------------------------------ the search
def _ablations() -> Iterator[Claim]:
    yield Claim(
        "ablation-without-gumbel-softmax",
        "The search fails without Gumbel-Softmax sampling.",
        "Sec. 5.3; Table 1",
        "share of runs without it that failed",
        printed="Failed",
        measure=measures.fails,
    )
    yield _ablation("normal-reduction-cell", "A network is more accurate when each stage has a cell of its own.")
    yield _ablation(
        "without-cell-shortcut",
        "Shortcuts across its cells make a binary network more accurate.",
        "Sec. 4.1.2; Sec. 5.3; Table 1",
    )
    yield _ablation("without-width-search", "Searching for the width of each stage makes the network more accurate.")
    yield _ablation("without-depth-search", "Searching for the depth of each stage makes the network more accurate.")
    where = "Sec. 4.2.2; Table 1"
    yield _ablation("without-entropy-reg", "Entropy regularisation makes the found network more accurate.", where)
    where = "Sec. 4.2.3; Table 1"
    yield _ablation("without-flops-reg", "Capacity regularisation makes the found network more accurate.", where)
    words = "Choosing among sampled architectures gives a better network than taking the likeliest one."
    yield _ablation("without-sampling-in-derive", words, "Sec. 4.3; Table 1")


def _search() -> Iterator[Claim]:
    yield Claim(
        "collapse-prevented",
        "Gumbel-Softmax sampling and entropy regularisation keep the search from collapsing to shortcuts.",
        "Sec. 5.2; Fig. 5",
        f"mean final shortcut probability of normal edges, {COLLAPSED} - {FULL}",
        printed="shown in Fig. 5",
        measure=measures.less_shortcut_than(COLLAPSED),
        rule=gains(),
    )
    yield Claim(
        "harder-collapse",
        "Binary operations make the collapse of a search worse than floating-point ones do.",
        "Abstract; Sec. 1",
        f"mean final shortcut probability of normal edges, {COLLAPSED} - {FLOAT}",
        measure=measures.less_shortcut_than(COLLAPSED, FLOAT),
        rule=gains(),
    )
    yield Claim(
        "early-exploration",
        "Early in the search BARS's distribution over primitives stays closer to uniform than without its stabilisers.",
        "Sec. 5.2; Fig. 5",
        f"mean entropy share of normal edges in the first half, {FULL} - {COLLAPSED}",
        printed="shown in Fig. 5",
        measure=measures.explores,
        rule=gains(),
    )
    yield Claim(
        "late-confidence",
        "Towards its end BARS's search grows more confident in its choices.",
        "Sec. 5.2",
        f"mean entropy share of normal edges, before the first - after the last epoch of {FULL}",
        measure=measures.sharpens,
        rule=gains(),
    )
    yield Claim(
        "one-hot",
        "At its end the distribution of BARS's search is close to one-hot.",
        "Sec. 5.2",
        f"mean largest probability of normal edges at the end of {FULL}",
        measure=measures.one_hot,
        rule=at_least(ONE_HOT),
    )
    yield Claim(
        "derive-gap",
        "A confident search narrows the gap in accuracy between the supernet and the derived network.",
        "Sec. 4.2.1; Sec. 5.2",
        f"validation points lost by deriving, {COLLAPSED} - {FULL}",
        "points",
        measure=measures.gap_closes,
        rule=gains(),
    )


def _cells() -> Iterator[Claim]:
    where = "Sec. 5.4; Fig. 6"
    yield Claim(
        "cells-not-collapsed",
        "No cell type of a BARS network consists of shortcuts only.",
        where,
        "share of BARS-A, -B, -C runs without such a cell type",
        printed="all",
        measure=measures.no_cell_collapsed,
    )
    yield Claim(
        "failed-cells-collapsed",
        "The normal cell that the failed search finds consists of shortcuts only.",
        where,
        f"share of {FAILED} runs with such normal cells",
        printed="all",
        measure=measures.failed_collapsed,
    )
    yield Claim(
        "convolutions-early",
        "Early stages of BARS networks have more convolutions than late ones.",
        where,
        "convolutions per normal cell, first - last stage, BARS-A to -C",
        "edges",
        "shown in Fig. 6",
        measures.early_minus_late(False, measures.is_conv),
        gains(),
    )
    yield Claim(
        "shortcuts-late",
        "Late stages of BARS networks have more shortcuts than early ones.",
        where,
        "shortcuts per normal cell, last - first stage, BARS-A to -C",
        "edges",
        "shown in Fig. 6",
        measures.early_minus_late(True, lambda primitive: primitive == SHORTCUT),
        gains(),
    )
    yield Claim(
        "shared-cells-collapse",
        "One cell topology for all stages makes the collapse to shortcuts worse.",
        "Sec. 2.2; Sec. 5.4",
        f"mean final shortcut probability of normal edges, normal-reduction-cell - {FULL}",
        measure=measures.less_shortcut_than("normal-reduction-cell"),
        rule=gains(),
    )
    yield Claim(
        "bigger-kernels",
        "Offered both, the search prefers 5x5 to 3x3 binary convolutions.",
        "Sec. 5.4",
        f"5x5 - 3x3 convolutions in all cells of {STABILISED}",
        "edges",
        measure=measures.bigger_kernels,
        rule=gains(),
    )


def _acceleration() -> Claim:
    return Claim(
        "acceleration",
        "Bitwise operations run dozens of times faster than floating-point ones.",
        "Sec. 2.1",
        "time of a network in floats / packed, whole networks on one CPU, one image at a time; mean over networks",
        "times",
        "dozens",
        measures.packed_speedup,
        at_least(DOZENS),
    )


# ------------------------------------------------------------------------------------------------------ no experiment
def _untested() -> Iterator[Claim]:
    yield Claim(
        "depthwise",
        "Depthwise convolutions do not suit binary networks.",
        "Sec. 1",
        EMPTY,
        why_not="outside the search space",
    )
