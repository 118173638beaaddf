"""Names of data sets: a slot's, or an experiment's own where it changes them; and how many classes one has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bars import params as models
from bars.errors import GridError
from bars.pipeline.home import beside


class DataSets:
    """The data sets of a grid by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, models.DataParams] = {}

    def names(self, name: str, slot: str, blocks: Mapping[str, models.Block]) -> tuple[str, str]:
        """Names of an experiment's data sets: the slot's unless it changes them, then its own; registers them."""
        if "data" not in blocks:
            return "", ""
        dataset = self._name(blocks["data"], slot, name)
        search = blocks.get("search_data", blocks["data"])
        if search == blocks["data"]:
            return dataset, dataset
        return dataset, self._name(search, f"{slot}-search", f"{name}-search")

    def _name(self, data: models.Block, shared: str, own: str) -> str:
        assert isinstance(data, models.DataParams)
        if self.by_name.get(shared) == data:
            return shared
        if self.by_name.setdefault(own, data) == data:
            return own
        raise GridError("two data sets have one name", got=own, do="rename the experiment")


def placed(block: models.Block, files: Iterable[Path]) -> models.Block:
    """The block, its images' folder as it is seen from the working directory; other blocks stay as they are."""
    if not isinstance(block, models.DataParams) or block.path is None:
        return block
    return block.model_copy(update={"path": beside(files, block.path)})


def num_classes(data: models.DataParams) -> int | None:
    """Number of classes without opening an image; None if only the absent image folder knows it."""
    if isinstance(data.classes, int):
        return data.classes
    if data.classes is not None:
        return len(data.classes)
    if data.source != "imagefolder":
        return 10
    root = Path(data.path or "")
    folder = root / "train" if (root / "train").is_dir() else root
    if not data.path or not folder.is_dir():
        return None
    return sum(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())
