"""Seeds of everything random in a run, one for each purpose."""

from __future__ import annotations

import hashlib

import torch


def seed_of(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose of one run, so that no stage depends on how many numbers another one drew."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose of one run."""
    return torch.Generator().manual_seed(seed_of(seed, *purpose))
