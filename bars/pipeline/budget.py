"""A search's budget in BiOps, of which the space must have an architecture."""

from __future__ import annotations

from bars import cost
from bars import params as models
from bars.errors import BudgetError
from bars.pipeline.datasets import num_classes
from bars.pipeline.experiment import Experiment


def in_biops(
    budget: models.Budget, space: models.SpaceParams, data: models.DataParams, reference: Experiment | None
) -> int:
    """A budget in BiOps; a fraction is one of the largest architecture of ``space``, the slot's own."""
    if budget.biops is not None:
        return budget.biops
    if reference is not None and budget.factor is not None:
        return round(budget.factor * _reference_biops(reference))
    assert budget.fraction is not None
    return round(budget.fraction * cost.max_biops(space, data.image_size, num_classes(data) or 1))


def with_budget(
    search: models.SearchParams, biops: int, space: models.SpaceParams, data: models.DataParams, name: str, where: str
) -> models.SearchParams:
    """The search of experiment ``name`` with its budget in BiOps. Raises BudgetError where no architecture has them."""
    classes = num_classes(data) or 1
    least, most = (count(space, data.image_size, classes) for count in (cost.min_biops, cost.max_biops))
    if not least <= biops <= most:
        said = search.budget.model_dump(exclude_none=True)
        raise BudgetError(
            f"no architecture of {name}'s search space meets its budget",
            where=where,
            got=f"{biops:,} BiOps" + (f" ({said})" if search.budget.biops is None else ""),
            allowed=f"{least:,}, the smallest architecture, to {most:,}, the largest",
            do="change search.budget or space.init_channels",
        )
    return search.model_copy(update={"budget": models.Budget(biops=biops)})


def _reference_biops(reference: Experiment) -> int:
    """BiOps of a hand-made residual network as it is trained at this scale."""
    model = reference.model
    stem = model.options.get("stem") or ("cifar" if reference.slot == "cifar10" else "imagenet")
    return cost.residual_biops(
        model.family,
        model.width,
        reference.data.image_size,
        imagenet_stem=stem != "cifar",
        binary_downsample=model.options.get("downsample") == "binary",
    )
