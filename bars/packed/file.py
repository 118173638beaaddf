"""The file of a packed network: a zip of its card (JSON) and its graph (ONNX). Nothing in it is code.

Both are hashed: the graph as it is, and the signs of its weights once more as one byte each, so that bits in another
order are found out. Plain ONNX files carry the same card among their metadata.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bars.errors import PackedError
from bars.packed.bits import ORDER, hash_of
from bars.packed.convert import binary_convs
from bars.packed.modelcard import checked
from bars.pipeline.files import atomic_write, canonical_json

if TYPE_CHECKING:
    from onnx import ModelProto

FORMAT = "bars-packed/1"
CARD, GRAPH = "card.json", "graph.onnx"
METADATA = "bars.card"
_LARGEST = 2**31  # what a member may unpack to, in bytes: more is no network of this kind
_MADE = (1980, 1, 1, 0, 0, 0)  # the same network is the same file, whenever it was written


def write(path: Path, model: ModelProto, card: dict[str, Any]) -> None:
    """Write a packed graph and its card, whole or not at all. Raises OutputError."""
    graph = model.SerializeToString(deterministic=True)
    hashes = {
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "signs_sha256": hash_of(conv.signs for conv in binary_convs(model)),
    }
    said = card | {"format": FORMAT, "bit_order": ORDER} | hashes
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in ((CARD, canonical_json(said).encode()), (GRAPH, graph)):
            archive.writestr(zipfile.ZipInfo(name, _MADE), data, zipfile.ZIP_DEFLATED, 9)
    atomic_write(path, content.getvalue())


def read(path: Path) -> tuple[dict[str, Any], ModelProto]:
    """Card and packed graph. Raises PackedError for a file that is missing, truncated, foreign or altered."""
    members = _members(path)
    card = _json(path, members[CARD])
    if card.get("format") != FORMAT:
        raise PackedError("a model file of another format", where=str(path), got=card.get("format"), allowed=FORMAT)
    if hashlib.sha256(members[GRAPH]).hexdigest() != card.get("graph_sha256"):
        raise _damaged(path, "its graph is not the one that was written")
    model = _parsed(path, members[GRAPH])
    try:
        signs = hash_of(conv.signs for conv in binary_convs(model))
    except (KeyError, ValueError) as error:
        raise _damaged(path, f"a convolution is malformed: {error}") from None
    if signs != card.get("signs_sha256") or card.get("bit_order") != ORDER:
        raise PackedError(
            "the weights are not those that were packed: bits in another order, or altered",
            where=str(path),
            got=f"bit order {card.get('bit_order')!r}",
            allowed=f"{ORDER!r}: the first weight is the lowest bit",
            do="export the network again",
        )
    return checked(path, card), model


def embed(path: Path, card: dict[str, Any]) -> None:
    """Put a card among the metadata of an ONNX file."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA: canonical_json(card)})
    atomic_write(path, model.SerializeToString(deterministic=True))


def read_plain(path: Path) -> tuple[dict[str, Any], ModelProto]:
    """Card and graph of an ONNX file that ``embed`` wrote into. Raises PackedError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    model = _parsed(path, content)
    card = next((entry.value for entry in model.metadata_props if entry.key == METADATA), None)
    if card is None:
        raise PackedError(
            "an ONNX file without a card", where=str(path), do="use one that `bars export` wrote, or its network.bars"
        )
    return checked(path, _json(path, card.encode())), model


def _members(path: Path) -> dict[str, bytes]:
    """What is in the zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = {info.filename: info.file_size for info in archive.infolist()}
            if set(found) != {CARD, GRAPH} or max(found.values()) > _LARGEST:
                raise PackedError(
                    "this is no packed network",
                    where=str(path),
                    got=", ".join(sorted(found)[:5]) or "an empty archive",
                    allowed=f"{CARD} and {GRAPH}",
                )
            return {name: archive.read(name) for name in found}
    except OSError as error:
        raise _unreadable(path, error) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from None


def _parsed(path: Path, content: bytes) -> ModelProto:
    """The graph, checked for what a reader relies on."""
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own DecodeError, whose package has no types
        raise _damaged(path, f"its graph cannot be parsed: {error}") from None
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        raise _damaged(path, "its graph has not one input and one output")
    return model


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        card = json.loads(content)
    except ValueError as error:
        raise _damaged(path, f"its card is no JSON: {error}") from None
    if not isinstance(card, dict):
        raise _damaged(path, "its card is no JSON object")
    return card


def _unreadable(path: Path, error: OSError) -> PackedError:
    return PackedError("a model file cannot be read", where=str(path), got=error.strerror or str(error))


def _damaged(path: Path, got: str) -> PackedError:
    return PackedError(
        "a model file is truncated, damaged or of another program",
        where=str(path),
        got=got,
        do="copy it again, or write it with `bars export`",
    )
