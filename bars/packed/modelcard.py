"""What a model file says of its network, checked where a user of it relies on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from bars.errors import PackedError

_Colour = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Input(BaseModel):
    mean: _Colour
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]


class _Needed(BaseModel):
    classes: Annotated[list[str], Field(min_length=2)]
    image_size: Annotated[int, Field(ge=1, le=4096)]
    input: _Input


def checked(path: Path, card: dict[str, Any]) -> dict[str, Any]:
    """The card, if it says how images are fed and what the classes are. Raises PackedError."""
    try:
        _Needed.model_validate(card)
    except ValidationError as error:
        first = error.errors()[0]
        raise PackedError(
            f"the card of a model file is malformed: {first['msg']}",
            where=f"{path}: " + ".".join(map(str, first["loc"])),
            do="write it again with `bars export`",
        ) from None
    return card
