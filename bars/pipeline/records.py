"""Schemas of every stage file, with their readers and writers; what is read is checked first."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bars.errors import GenotypeError, RecordError
from bars.pipeline import formats
from bars.pipeline.files import atomic_write, pretty_json, wide_json
from bars.pipeline.formats import AGAIN
from bars.pipeline.problems import check, explain
from bars.space import Genotype, SearchSpace

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A file inside the results folder: no absolute path, no way up.
InsidePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Status = Literal["completed", "diverged"]
SHARE_PREFIX = "share_"


class Record(BaseModel):
    """A validated, immutable file or row; NaN and infinity only where a diverged run may leave them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ----------------------------------------------------------------------------------------------------- rows
class SearchEpoch(Record):
    """A row of search/epochs.csv, NaN where it diverged.

    ``flips`` and ``flip_rate``: shares of binary weights whose sign differs from the start and from the epoch before;
    ``gradient_*``: length of the mean gradient of the alphas, by term; ``shares``: mean prob per primitive in normal
    cells.
    """

    epoch: Count
    temperature: float
    entropy_weight: float
    weight_lr: float
    train_loss: float
    train_top1: float
    valid_loss: float
    valid_top1: float
    flips: float
    flip_rate: float
    entropy: float
    expected_biops: float
    budget_ratio: float
    capacity_exponent: float
    capacity_factor: float
    gradient_data: float
    gradient_capacity: float
    gradient_entropy: float
    shares: dict[str, float] = Field(default_factory=dict)


class RetrainEpoch(Record):
    """A row of retrain/epochs.csv."""

    epoch: Count
    lr: float
    train_loss: float
    train_top1: Share
    flips: Share
    flip_rate: Share


class Candidate(Record):
    """A row of derive/candidates.csv; loss and accuracy are empty where a candidate was not scored.

    ``thrown_away``: draws before it that missed the budget. Of a ranked architecture there is a row for each supernet
    that scored it (``index`` is its seed), with two predictors that need no training.
    """

    index: Count
    genotype_sha256: Sha256
    valid_loss: float | None
    valid_top1: Share | None
    biops: Count
    flops: Count
    params: Count
    thrown_away: Count
    gradient_norm: float | None = None
    naswot: float | None = None
    chosen: bool
    argmax: bool
    genotype: dict[str, Any]


class AlphaRow(NamedTuple):
    """A row of search/alphas.parquet: one logit at one epoch (0: before the first).

    ``kind`` is op, depth or width; ``group`` the cell type or stage; an edge is (source, target), else -1.
    """

    epoch: int
    kind: str
    group: str
    source: int
    target: int
    choice: str
    logit: float
    prob: float


# ----------------------------------------------------------------------------------------------------- JSON files
class Verdict(Record):
    """Whether a search worked, by search.health: what was judged at its last epoch, and its failures in words."""

    train_loss: float | None = None
    guess_loss: float | None = Field(None, description="log of the number of classes")
    flips: float | None = None
    budget_ratio: float | None = None
    entropy: float | None = None
    gradient_entropy: float | None = None
    gradient_data: float | None = None
    failures: tuple[str, ...]


class Distribution(Record):
    """search/distribution.json: final logits of every choice, and whether the search worked."""

    format: Literal["bars-distribution/1"]
    space: dict[str, Any]
    status: Status
    epochs: Count
    op: dict[str, list[list[float]]]
    depth: list[list[float]] | None
    width: list[list[float]] | None
    verdict: Verdict


class Metrics(Record):
    """evaluate/metrics.json: accuracy on test, exact costs (2 x MACs) and the hashes of what they belong to."""

    format: Literal["bars-metrics/1"] = "bars-metrics/1"
    experiment: str
    group: str
    scale: str
    slot: str
    dataset: str
    seed: Count
    split: Literal["test"]
    n_examples: Annotated[int, Field(ge=1)]
    top1: Share
    class_top1: dict[str, Share] = Field(default_factory=dict)  # of classes with test images; older records have none
    loss: Annotated[float, Field(allow_inf_nan=False)]
    flops: Count
    biops: Count
    params: Count
    equivalent_ops_64: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    equivalent_ops_32: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    fully_binarized: bool
    float_parts: str
    search_status: Status | None
    search_failures: tuple[str, ...] = ()
    genotype_sha256: Sha256 | None
    split_sha256: Sha256
    checkpoint_sha256: Sha256

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        for divisor, value in ((64, self.equivalent_ops_64), (32, self.equivalent_ops_32)):
            if not math.isclose(value, self.flops + self.biops / divisor, rel_tol=1e-9, abs_tol=1e-6):
                raise ValueError(f"equivalent_ops_{divisor} is not flops + biops / {divisor}")
        return self


class Provenance(Record):
    """provenance.json of a stage folder; the only file with times and machine in it."""

    format: Literal["bars-provenance/1"] = "bars-provenance/1"
    stage: str
    experiment: str
    group: str | None
    scale: str
    seed: Count | None
    study: str | None = None  # bars.pipeline.ownership; None in records older than it
    code: dict[str, str | bool | None]
    params: dict[str, Any]
    params_sha256: Sha256
    inputs: dict[InsidePath, Sha256]
    outputs: dict[InsidePath, Sha256]
    libraries: dict[str, str | None]
    device: str
    precision: str | None = None
    passes: str | None = None
    threads: Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)] = 1
    started: str
    seconds: Annotated[float, Field(ge=0)]
    peak_memory_mb: Annotated[float, Field(ge=0)]
    peak_device_memory_mb: float | None = None


R = TypeVar("R", bound=Record)


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object. Raises RecordError if it is missing, truncated or something else."""
    text = formats.read_text(path)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RecordError(
            "a stage file is not valid JSON (truncated?)", where=str(path), got=str(error), do=AGAIN
        ) from None
    if not isinstance(value, dict):
        raise RecordError("a stage file is not a JSON object", where=str(path), got=type(value).__name__, do=AGAIN)
    return value


def read_record(path: str | Path, model: type[R]) -> R:
    """A validated JSON record. Raises RecordError that names the file and each wrong key."""
    return _validated(read_json(path), model, str(path))


def write_record(path: str | Path, record: Record) -> None:
    """Write a JSON record whole; keys in the order of its schema."""
    write_json(path, record.model_dump(mode="json"))


def write_json(path: str | Path, value: Mapping[str, Any], *, wide: bool = False) -> None:
    """Write a JSON object whole (``wide``: one line per key, for long lists). NaN and infinity are a RecordError."""
    try:
        text = wide_json(value) if wide else pretty_json(value)
    except ValueError as error:
        raise RecordError("a value cannot be written as JSON", where=str(path), got=str(error)) from None
    atomic_write(path, text)


def read_metrics(path: str | Path) -> Metrics:
    """evaluate/metrics.json."""
    return read_record(path, Metrics)


def read_distribution(path: str | Path) -> Distribution:
    """search/distribution.json."""
    return read_record(path, Distribution)


def read_genotype(path: str | Path, space: SearchSpace | None = None) -> Genotype:
    """derive/genotype.json, of ``space`` if one is given. Raises RecordError or GenotypeError naming the file."""
    try:
        return Genotype.from_json(read_json(path), space)
    except GenotypeError as error:
        raise error.at(f"{path}" + (f": {error.where}" if error.where else "")) from None


# ----------------------------------------------------------------------------------------------------- CSV files
def search_epoch(row: Mapping[str, Any]) -> SearchEpoch:
    """A row with share_<primitive> keys as a record."""
    shares = {k.removeprefix(SHARE_PREFIX): v for k, v in row.items() if k.startswith(SHARE_PREFIX)}
    return SearchEpoch.model_validate(
        {**{k: v for k, v in row.items() if not k.startswith(SHARE_PREFIX)}, "shares": shares}
    )


def write_search_epochs(path: str | Path, rows: Sequence[SearchEpoch], primitives: Sequence[str] = ()) -> None:
    """search/epochs.csv, one share_<primitive> column per primitive (named apart for a search without an epoch)."""
    columns = [
        *_columns(SearchEpoch, "shares"),
        *(SHARE_PREFIX + p for p in primitives or (rows[0].shares if rows else ())),
    ]
    atomic_write(path, formats.csv_text(columns, map(_search_row, rows)))


def read_search_epochs(path: str | Path) -> list[SearchEpoch]:
    """search/epochs.csv."""
    fixed = _columns(SearchEpoch, "shares")
    rows = []
    for line, row in formats.read_csv(path, fixed, free_prefix=SHARE_PREFIX):
        shares = {k.removeprefix(SHARE_PREFIX): v for k, v in row.items() if k.startswith(SHARE_PREFIX)}
        rest: dict[str, Any] = {k: v for k, v in row.items() if k in fixed}
        rows.append(_row({**rest, "shares": shares}, SearchEpoch, path, line))
    return rows


def write_retrain_epochs(path: str | Path, rows: Sequence[RetrainEpoch]) -> None:
    """retrain/epochs.csv."""
    atomic_write(path, formats.csv_text(_columns(RetrainEpoch), (row.model_dump() for row in rows)))


def read_retrain_epochs(path: str | Path) -> list[RetrainEpoch]:
    """retrain/epochs.csv."""
    return [_row(row, RetrainEpoch, path, line) for line, row in formats.read_csv(path, _columns(RetrainEpoch))]


def write_candidates(path: str | Path, rows: Sequence[Candidate]) -> None:
    """derive/candidates.csv; the genotype is a JSON text."""
    dumped = ({**row.model_dump(), "genotype": json.dumps(row.genotype, separators=(",", ":"))} for row in rows)
    atomic_write(path, formats.csv_text(_columns(Candidate), dumped))


def read_candidates(path: str | Path) -> list[Candidate]:
    """derive/candidates.csv. Raises RecordError unless exactly one candidate is chosen."""
    rows = []
    for line, row in formats.read_csv(path, _columns(Candidate)):
        try:
            genotype = json.loads(row["genotype"] or "")
        except ValueError as error:
            raise RecordError(
                "a genotype is not valid JSON", where=f"{path}, line {line}", got=str(error), do=AGAIN
            ) from None
        rows.append(_row({**row, "genotype": genotype}, Candidate, path, line))
    if sum(row.chosen for row in rows) != 1:
        chosen = [row.index for row in rows if row.chosen]
        raise RecordError("not exactly one candidate is chosen", where=str(path), got=str(chosen), do=AGAIN)
    return rows


def write_alphas(path: str | Path, rows: Iterable[AlphaRow]) -> None:
    """search/alphas.parquet; the same rows give the same bytes."""
    names = {int: "int32", float: "float64", str: "str"}
    types = {column: names[kind] for column, kind in get_type_hints(AlphaRow).items()}
    atomic_write(path, formats.parquet(types, rows))


def read_alphas(path: str | Path) -> list[AlphaRow]:
    """search/alphas.parquet as rows, in the order written."""
    return [AlphaRow(*row) for row in formats.read_parquet(path, get_type_hints(AlphaRow))]


# ----------------------------------------------------------------------------------------------------- helpers
def _validated(value: Mapping[str, Any], model: type[R], where: str) -> R:
    if problems := check(model, value):
        raise RecordError("a stage file is not valid:\n" + "\n".join(f"  {p}" for p in problems), where=where, do=AGAIN)
    return model.model_validate(value)


def _columns(model: type[Record], *without: str) -> list[str]:
    return [name for name in model.model_fields if name not in without]


def _search_row(row: SearchEpoch) -> dict[str, Any]:
    values = row.model_dump(exclude={"shares"})
    return {**values, **{SHARE_PREFIX + k: v for k, v in row.shares.items()}}


def _row(row: Mapping[str, Any], model: type[R], path: str | Path, line: int) -> R:
    try:
        return model.model_validate(row)
    except ValidationError as error:
        problems = "; ".join(explain(error, model, row))
        raise RecordError("a row is not valid", where=f"{path}, line {line}", got=problems, do=AGAIN) from None
