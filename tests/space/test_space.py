from __future__ import annotations

import copy
import json
import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bars.errors import BarsError, GenotypeError, SpaceError
from bars.space import Genotype, SearchSpace, StageGenotype
from tests.architectures import random_genotype, random_space, space_params


def test_edges_are_dense() -> None:
    space = SearchSpace.from_params(space_params())
    assert len(space.edges) == 1 + 2 + 3 + 4
    assert set(space.edges) == {(i, j) for j in range(1, 5) for i in range(j)}


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (3**10) ** 4 * 3**3 * 4**3),
        ({"cells_per_stage": 3}, (3**10) ** 4 * 4**3 * 4**3),
        ({"cell_types": "cell"}, (3**10) ** 7 * 3**3 * 4**3),
        ({"cell_types": "shared"}, 3**20 * 27 * 64),
        ({"search_width": False}, (3**10) ** 4 * 3**3),
        ({"search_depth": False}, (3**10) ** 4 * 4**3),
    ],
)
def test_size_is_the_specifications(changes: dict[str, object], size: int) -> None:
    assert SearchSpace.from_params(space_params(**changes)).size() == size


def test_size_counts_every_architecture() -> None:
    params = space_params(stages=2, cells_per_stage=1, nodes=1, widths=(0.5, 1.0), primitives=("shortcut", "none"))
    space = SearchSpace.from_params(params)
    found = set()
    for ops in product(space.primitives, repeat=len(space.all_types)):
        for macro in product(product(space.depths, space.width_choices), repeat=space.stages):
            found.add((ops, macro))
    assert space.size() == len(found)


@pytest.mark.parametrize("widths", [(0.25, 0.5), (1.0, 0.5), (0.0, 1.0), (0.5, 0.5, 1.0), ()])
def test_bad_widths_are_refused(widths: tuple[float, ...]) -> None:
    with pytest.raises(SpaceError, match="width"):
        SearchSpace.from_params(space_params(widths=widths))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_genotype_survives_json(seed: int) -> None:
    rng = random.Random(seed)
    space = SearchSpace.from_params(random_space(rng))
    genotype = random_genotype(space, rng)
    again = Genotype.from_json(json.loads(json.dumps(genotype.to_json())), space)
    assert again == genotype and again.to_json() == genotype.to_json()


def test_hash_does_not_depend_on_order() -> None:
    rng = random.Random(0)
    genotype = random_genotype(SearchSpace.from_params(space_params()), rng)
    cells = {name: dict(reversed(list(edges.items()))) for name, edges in reversed(list(genotype.cells.items()))}
    assert Genotype(genotype.space, genotype.stages, cells).sha256 == genotype.sha256


@pytest.mark.parametrize(
    ("cell_types", "used"),
    [
        ("stage", ("normal-1", "normal-3", "reduction")),
        ("shared", ("normal", "reduction")),
        ("cell", ("normal-1-1", "normal-3-1", "normal-3-2", "reduction")),
    ],
)
def test_used_types_are_those_that_the_network_has_cells_of(cell_types: str, used: tuple[str, ...]) -> None:
    space = SearchSpace.from_params(space_params(stages=3, cells_per_stage=2, cell_types=cell_types))
    genotype = random_genotype(space, random.Random(0))
    stages = tuple(StageGenotype(depth, 1.0) for depth in (1, 0, 2))
    assert Genotype(space, stages, genotype.cells).used_types == used
    none = Genotype(space, (StageGenotype(0, 1.0),) * 3, genotype.cells)
    assert none.used_types == ("reduction",) and set(none.counts()) == {"reduction"}


def test_none_is_written() -> None:
    space = SearchSpace.from_params(space_params(primitives=("none",)))
    value = random_genotype(space, random.Random(0)).to_json()
    assert all(len(edges) == 10 for edges in value["cells"].values())


def test_genotype_of_another_space_is_refused() -> None:
    genotype = random_genotype(SearchSpace.from_params(space_params()), random.Random(0))
    other = SearchSpace.from_params(space_params(cells_per_stage=3))
    with pytest.raises(GenotypeError, match="another search space"):
        Genotype.from_json(genotype.to_json(), other)


def test_edited_genotype_is_refused() -> None:
    value = random_genotype(SearchSpace.from_params(space_params()), random.Random(0)).to_json()
    value["stages"][0]["depth"] = 2 - value["stages"][0]["depth"] if value["stages"][0]["depth"] != 1 else 2
    with pytest.raises(GenotypeError, match="sha256"):
        Genotype.from_json(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_any_damage_is_a_named_error(junk: object, seed: int) -> None:
    """Replace one random part of a valid genotype by junk: it is refused by name, or was the same value."""
    rng = random.Random(seed)
    good = random_genotype(SearchSpace.from_params(space_params(stages=2, nodes=2)), rng).to_json()
    value = copy.deepcopy(good)
    parts: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
        for key, child in children:
            parts.append((node, key))
            walk(child)

    walk(value)
    node, key = rng.choice(parts)
    node[key] = junk  # type: ignore[index]
    try:
        genotype = Genotype.from_json(value)
    except BarsError as error:
        assert "\n" in str(error) or error.what
    else:
        assert genotype.to_json() == good
