"""A ranked architecture is scored by every supernet exactly as derive scores it."""

from __future__ import annotations

from typing import Any

from bars.params import BinarizeParams, DeriveParams, RuntimeParams
from bars.space import Genotype
from bars.stages.derive import Scorer
from bars.stages.ranking import rank
from tests.blocks import block
from tests.stages.test_search import BASE, BUDGET, SPACE, Images, run

OPTIONS = block(DeriveParams, method="sample", samples=5, batch_size=8, budget_tolerance=0.1, max_draws=5000)
STATES = {4: BASE.state, 9: run(seed=1).state}


def ranked(seed: int) -> Any:
    valid: Any = Images(1)
    return rank(SPACE, block(BinarizeParams), OPTIONS, block(RuntimeParams, device="cpu"), BUDGET, valid, STATES, seed)


def test_there_is_a_row_for_each_supernet_with_the_score_of_derive() -> None:
    result, valid = ranked(0), Images(1)
    assert [row["index"] for row in result.candidates] == [4, 9]
    for row, state in zip(result.candidates, STATES.values(), strict=True):
        scorer: Any = Scorer(SPACE, block(BinarizeParams), block(RuntimeParams, device="cpu"), state, valid, OPTIONS)  # type: ignore[arg-type]
        genotype = Genotype.from_json(row["genotype"])
        assert (row["valid_loss"], row["valid_top1"]) == scorer(genotype)
        assert genotype == result.genotype
        assert abs(row["biops"] / BUDGET - 1) <= 0.1
    assert result.candidates[0]["valid_loss"] != result.candidates[1]["valid_loss"]
    assert len({row["gradient_norm"] for row in result.candidates}) == 1


def test_seeds_are_architectures_and_repeat() -> None:
    hashes = [ranked(seed).genotype.sha256 for seed in (0, 1, 2, 0)]
    assert len(set(hashes)) > 1
    assert hashes[0] == hashes[3]
