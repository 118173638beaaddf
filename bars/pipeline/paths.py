"""Where every file lives, relative to the results folder: the one place that spells these paths."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Stage = Literal["search", "derive", "retrain", "evaluate"]
STAGES: tuple[Stage, ...] = ("search", "derive", "retrain", "evaluate")
# Those that train: several processes can share one, it goes on from its checkpoint, and records its passes.
TRAINING: tuple[Stage, ...] = ("search", "retrain")

SPLIT = "split.json"
PROVENANCE = "provenance.json"
# Params files that Snakemake's --config amounts to, named by their content; beside the results, not in them.
MERGED = Path(".snakemake/params")
# What each stage writes beside its provenance.json; "data" is the split of a data set.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "data": (SPLIT,),
    "search": ("epochs.csv", "alphas.parquet", "distribution.json", "supernet.pt"),
    "derive": ("candidates.csv", "genotype.json"),
    "retrain": ("epochs.csv", "checkpoint.pt"),
    "evaluate": ("metrics.json", "predictions.parquet", "confusion.csv"),
    "latency": ("latency.json",),  # of all networks of a scale at once
}


def data_dir(scale: str, dataset: str) -> str:
    """Folder of a data set's split."""
    return f"{scale}/data/{dataset}"


def split_path(scale: str, dataset: str) -> str:
    """split.json of a data set."""
    return f"{data_dir(scale, dataset)}/{SPLIT}"


def latency_dir(scale: str) -> str:
    """Folder of the times of a scale's networks."""
    return f"{scale}/latency"


def run_dir(scale: str, group: str, experiment: str, seed: int) -> str:
    """Folder of one experiment at one seed, which holds one folder per stage."""
    return f"{scale}/{group}/{experiment}/seed-{seed}"


def stage_dir(scale: str, group: str, experiment: str, seed: int, stage: str) -> str:
    """Folder of one stage of one run."""
    return f"{run_dir(scale, group, experiment, seed)}/{stage}"
