"""The record of the stage ``latency``: milliseconds per image of networks in several runtimes, and on what machine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bars.pipeline.records import Count, Record, Sha256

PACKED: Literal["packed"] = "packed"
TWIN: Literal["openvino float"] = "openvino float"  # the same network in floats, in the runtime of the packed one
ORT: Literal["onnxruntime float"] = "onnxruntime float"
TORCH: Literal["torch"] = "torch"  # the network as it was trained, its weights made binary at every call
RuntimeName = Literal["packed", "openvino float", "onnxruntime float", "torch"]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Batch = Annotated[int, Field(ge=1)]


class Spread(Record):
    """A number over the rounds: median and quartiles."""

    median: Positive
    low: Positive
    high: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.median <= self.high:
            raise ValueError("the median lies outside of the quartiles")
        return self


class RuntimeTimes(Record):
    """Milliseconds per image of one network in each runtime, at one batch size.

    ``speedup``: the float twin's time over the packed network's, of each round.
    """

    batch: Batch
    ms_per_image: dict[RuntimeName, Spread]
    speedup: Spread | None

    @model_validator(mode="after")
    def _has_what_it_compares(self) -> Self:
        if (self.speedup is not None) != {PACKED, TWIN}.issubset(self.ms_per_image):
            raise ValueError("speedup is of the packed network and its float twin, and there where both are")
        return self


class SameClasses(Record):
    """Images that get the same class as from the network itself in torch, and the largest distance of a logit."""

    images: Annotated[int, Field(ge=1)]
    same: Count
    largest_difference: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class NetworkLatency(Record):
    """What was timed of one network; ``reason``: why it has no packed form, or is not in every runtime."""

    experiment: str
    seed: Count
    slot: str
    image_size: Annotated[int, Field(ge=1)]
    checkpoint_sha256: Sha256
    packed_bytes: Annotated[int, Field(ge=1)] | None
    float_bytes: Annotated[int, Field(ge=1)] | None
    reason: str
    packed_check: SameClasses | None
    times: tuple[RuntimeTimes, ...]

    @model_validator(mode="after")
    def _batches_once(self) -> Self:
        batches = [found.batch for found in self.times]
        if len(set(batches)) != len(batches):
            raise ValueError(f"a batch size stands twice: {batches}")
        return self

    def at(self, batch: int) -> RuntimeTimes | None:
        """The times at one batch size."""
        return next((found for found in self.times if found.batch == batch), None)


class Latency(Record):
    """latency/latency.json: the times of a scale's networks, all taken by one process on one machine.

    ``cores``: those that it kept to; ``load``: the machine's load average just before, where the system tells it;
    ``clock``: one thread's times are the processor's own, to which other processes do not add.
    """

    format: Literal["bars-latency/1"] = "bars-latency/1"
    scale: str
    machine: dict[str, str]
    threads: Annotated[int, Field(ge=1)]
    cores: tuple[int, ...]
    load: float | None
    clock: Literal["processor", "wall"]
    rounds: Annotated[int, Field(ge=2)]
    round_ms: Positive
    networks: tuple[NetworkLatency, ...]

    @model_validator(mode="after")
    def _networks_once(self) -> Self:
        names = [found.experiment for found in self.networks]
        if len(set(names)) != len(names):
            raise ValueError("a network stands twice")
        return self
