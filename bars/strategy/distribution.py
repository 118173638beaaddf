"""The architecture distribution: logits (alphas) of every decision, relaxed samples and discrete draws from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bars.errors import RecordError
from bars.models.supernet import DECISIONS, Sample
from bars.space import Genotype, SearchSpace, StageGenotype


def gumbel_noise(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise -log(-log u) from a CPU generator."""
    uniform = torch.rand(shape, generator=generator).clamp_(torch.finfo(torch.float32).tiny, 1 - 2**-24)
    return -torch.log(-torch.log(uniform))


def relax(alpha: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """softmax((alpha + g) / tau) over the last axis: BARS Eq. 5; without a generator g = 0, as in DARTS."""
    scores = alpha if generator is None else alpha + gumbel_noise(alpha.shape, generator)
    return torch.softmax(scores / temperature, dim=-1)


def straight_through(relaxed: Tensor) -> Tensor:
    """One-hot at the largest entry, with the gradient of the relaxed draw."""
    hard = torch.zeros_like(relaxed).scatter_(-1, relaxed.argmax(-1, keepdim=True), 1.0)
    return hard + (relaxed - relaxed.detach())  # in this order exactly one-hot


class Distribution(nn.Module):
    """Independent categorical choices: a primitive per edge of each cell type, a depth and a width per stage.

    alpha_op [types, edges, primitives], alpha_depth [stages, cells + 1], alpha_width [stages, widths]; the last two are
    None where the space does not search them. They live on the CPU: they are tiny, and drawing never waits for a GPU.
    """

    def __init__(self, space: SearchSpace, init_std: float = 0.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.space = space

        def logits(*shape: int) -> nn.Parameter:
            return nn.Parameter(init_std * torch.randn(shape, generator=generator))

        self.alpha_op = logits(len(space.all_types), len(space.edges), len(space.primitives))
        self.alpha_depth = logits(space.stages, len(space.depths)) if space.search_depth else None
        self.alpha_width = logits(space.stages, len(space.width_choices)) if space.search_width else None

    def alphas(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The logits of ops, depths and widths."""
        return self.alpha_op, self.alpha_depth, self.alpha_width

    def probs(self) -> tuple[Tensor, Tensor, Tensor]:
        """softmax of the alphas in float64; a decision that is not searched has probability one for its only choice."""
        op, depth, width = (None if a is None else torch.softmax(a.double(), -1) for a in self.alphas())
        assert op is not None
        if depth is None:
            depth = torch.zeros(self.space.stages, self.space.cells_per_stage + 1, dtype=torch.float64)
            depth[:, -1] = 1.0
        if width is None:
            width = torch.ones(self.space.stages, 1, dtype=torch.float64)
        return op, depth, width

    def sample(
        self, sampling: str, temperature: float, generator: torch.Generator, one_hot: Sequence[str] = ()
    ) -> Sample:
        """A relaxed architecture (BARS Eq. 5), the decisions ``one_hot`` of it one-hot with straight-through gradients.

        ``softmax`` draws nothing and is relaxed throughout; ``hard`` is one-hot throughout. The sample names the
        genotype of what is one-hot, so that nothing else of that need be computed.
        """
        noise = None if sampling == "softmax" else generator
        relaxed = [None if a is None else relax(a, temperature, noise) for a in self.alphas()]
        drawn = {"gumbel": tuple(one_hot), "hard": DECISIONS, "softmax": ()}[sampling]
        op, depth, width = (
            straight_through(value) if value is not None and decision in drawn else value
            for decision, value in zip(DECISIONS, relaxed, strict=True)
        )
        return Sample(op, depth, width, self._genotype(relaxed) if drawn else None, drawn)

    def draw(self, generator: torch.Generator) -> Genotype:
        """A discrete architecture, each decision with its probability (BARS Sec. 4.3)."""
        with torch.no_grad():
            return self._genotype([None if a is None else a + gumbel_noise(a.shape, generator) for a in self.alphas()])

    def argmax(self) -> Genotype:
        """The most likely architecture."""
        return self._genotype(list(self.alphas()))

    def entropy(self) -> Tensor:
        """Sum of the entropies of all decisions in nats: BARS Eq. 6, on probabilities."""
        return torch.stack([self._entropies(a).sum() for a in self.alphas() if a is not None]).sum()

    @torch.no_grad()
    def mean_entropy(self) -> float:
        """Mean entropy of a decision as a share of its largest value, in [0, 1]."""
        shares = [
            self._entropies(a) / torch.tensor(float(a.shape[-1])).log()
            for a in self.alphas()
            if a is not None and a.shape[-1] > 1
        ]
        return float(torch.cat([s.flatten() for s in shares]).mean()) if shares else 0.0

    @staticmethod
    def _entropies(alpha: Tensor) -> Tensor:
        log_p = torch.log_softmax(alpha, -1)
        return -(log_p.exp() * log_p).sum(-1)

    def _genotype(self, scores: list[Tensor | None]) -> Genotype:
        op, depth, width = (None if s is None else s.argmax(-1).tolist() for s in scores)
        space = self.space
        assert op is not None
        cells = {
            name: {edge: space.primitives[op[t][i]] for i, edge in enumerate(space.edges)}
            for t, name in enumerate(space.all_types)
        }
        depths = [space.cells_per_stage] * space.stages if depth is None else [space.depths[i] for i in depth]
        widths = [1.0] * space.stages if width is None else [space.width_choices[i] for i in width]
        return Genotype(space, tuple(StageGenotype(d, w) for d, w in zip(depths, widths, strict=True)), cells)

    def to_json(self, status: str, epochs: int) -> dict[str, Any]:
        """The content of distribution.json."""
        op, depth, width = (None if a is None else a.detach().tolist() for a in self.alphas())
        assert op is not None
        return {
            "format": "bars-distribution/1",
            "space": self.space.signature(),
            "status": status,
            "epochs": epochs,
            "op": dict(zip(self.space.all_types, op, strict=True)),
            "depth": depth,
            "width": width,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], space: SearchSpace) -> Distribution:
        """Rebuild the distribution of ``space``; logits of another shape are a RecordError."""
        distribution = cls(space)
        if value.get("space") != space.signature():
            raise RecordError(
                "the distribution belongs to another search space",
                where="distribution.json",
                got=value.get("space"),
                allowed=str(space.signature()),
                do="search again",
            )
        wanted = {"op": distribution.alpha_op, "depth": distribution.alpha_depth, "width": distribution.alpha_width}
        for key, parameter in wanted.items():
            logits = value.get(key)
            if key == "op" and isinstance(logits, dict):
                logits = [logits.get(name) for name in space.all_types]
            try:
                tensor = None if logits is None else torch.tensor(logits, dtype=torch.float32)
            except (TypeError, ValueError):
                tensor = torch.empty(0)
            expected = None if parameter is None else tuple(parameter.shape)
            if (None if tensor is None else tuple(tensor.shape)) != expected:
                raise RecordError(
                    "logits of another shape",
                    where=f"distribution.json: {key}",
                    allowed=str(expected),
                    do="search again",
                )
            if parameter is not None and tensor is not None:
                parameter.data.copy_(tensor)
        return distribution
