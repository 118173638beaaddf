"""The source that params.yaml names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bars.data import cifar10, digits, imagefolder
from bars.data.sources import Source
from bars.errors import DataError

if TYPE_CHECKING:
    from bars.params import DataParams


def load_source(params: DataParams) -> Source:
    """The source of a data set, digits, cifar10 or an image folder, restricted to ``params.classes``."""
    if params.source != "imagefolder" and params.in_memory == "never":
        raise DataError(
            f"the source {params.source} cannot be streamed",
            where="data.in_memory",
            got=params.in_memory,
            allowed="auto, always; never for source: imagefolder only",
            do="remove in_memory: never",
        )
    opener = {"digits": digits.open_digits, "cifar10": cifar10.open_cifar10, "imagefolder": imagefolder.open_folder}
    return opener[params.source](params)
