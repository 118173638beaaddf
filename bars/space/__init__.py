"""The search space and its architectures as plain values; no torch (BARS Sec. 4.1)."""

from bars.space.genotype import Genotype, StageGenotype
from bars.space.search_space import NONE, SHORTCUT, Edge, SearchSpace, kernel_size

__all__ = ["NONE", "SHORTCUT", "Edge", "Genotype", "SearchSpace", "StageGenotype", "kernel_size"]
