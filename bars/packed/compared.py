"""One network in every runtime that it is timed in."""

from __future__ import annotations

from bars.packed import runtimes
from bars.packed.network import Network
from bars.packed.runtimes import Runtime

# The same network in floats, in the runtime of the packed one and in the one that ONNX files are mostly run with.
FLOAT = {"openvino float": runtimes.openvino, "onnxruntime float": runtimes.onnxruntime}


def compared(network: Network, batch: int, threads: int) -> dict[str, Runtime]:
    """Packed, where it is and can be run as such, then in floats. Raises PackedError where a package is missing."""
    found = {"packed": network.runtime(batch)} if network.is_fast else {}
    return found | {name: run(network.plain, batch, threads) for name, run in FLOAT.items()}
