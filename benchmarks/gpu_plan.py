"""One call that measures search and training steps on a CUDA device at the paper's sizes.

    PYTHONPATH=. python -m benchmarks.gpu_plan --out "$OUT" --budget 340

Needs torch, pydantic, PyYAML and this repository; nothing is installed. A variant that fails, or that runs into its
time limit, is reported and the rest goes on. ``--smoke`` runs every variant at a tiny size, on a CPU too.
"""

from __future__ import annotations

import argparse
import copy
import functools
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.models.supernet import Sample
from bars.models.unit import fuse
from bars.training.runtime import Runtime
from benchmarks.inputs import Batch, draws, space_of, supernet_of
from benchmarks.plan import OutOfTimeError, Plan, Step, time_limit
from benchmarks.projections import projections, ratios
from benchmarks.reference import reference_of
from benchmarks.timing import markdown, write_json
from benchmarks.variants import Size, compile_cells, retrain_step, search_step


def convolution(size: Size, part: str, device: torch.device, edges: int, grouped: bool, dtype: torch.dtype) -> Step:
    """One of forward, gradient of the input or of the weight, for the edges that leave a node, ten times."""
    c, groups = size.channels, edges if grouped else 1
    shape = (size.batch, c * groups, size.image, size.image)
    x = torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    w = torch.randn(c * groups, c, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    y = F.conv2d(x, w, None, 1, 1, 1, groups)
    mask = [part == "input", part == "weight", False]

    def call() -> Tensor | tuple[Tensor, ...]:
        for _ in range(10 * (1 if grouped else edges)):
            if part == "forward":
                out = F.conv2d(x, w, None, 1, 1, 1, groups)
            else:
                out = torch.ops.aten.convolution_backward(
                    y, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], groups, mask
                )
        return out

    return call


def run(plan: Plan, paper: Size, gpu: Size, compiling: bool) -> list[str]:
    """All variants, the most telling first; returns kernel profiles."""
    device = plan.device
    cuda = device.type == "cuda"
    eager, captured = (Runtime(device, bfloat16=cuda, capture=capture) for capture in (False, cuda))
    profiles: list[str] = []

    def search(size: Size, kind: str, variant: str, how: Runtime, compiled: str = "") -> None:
        plain, hard = variant.startswith("reference"), kind == "hard"
        plan.measure(
            f"{size}: {kind} step",
            variant,
            size.batch,
            lambda: search_step(
                size,
                "weight" if hard else kind,
                how,
                plain=plain,
                sampling="hard" if hard else "gumbel",
                compiled=compiled,
            ),
            limit_s=120 if compiled else 40,
        )

    def profile(title: str, compiled: str = "") -> None:
        make = functools.partial(search_step, paper, "weight", captured, compiled=compiled)
        profiles.append(plan.profile(title, make))

    for kind in ("weight", "alpha"):
        search(paper, kind, "reference, eager", eager)
        search(paper, kind, "ours, captured", captured)
        if compiling:
            search(paper, kind, "ours, elementwise fused, captured", captured, compiled="elementwise")
    profile("ours, captured, weight")
    if compiling:
        profile("ours, elementwise fused, captured, weight", "elementwise")
        for kind in ("weight", "alpha"):
            search(paper, kind, "ours, cells compiled, captured", captured, compiled="cells")
        profile("ours, cells compiled, captured, weight", "cells")
    search(paper, "hard", "ours, eager", eager)
    if compiling:
        check(plan)
    for kind in ("weight", "alpha"):
        search(gpu, kind, "reference, eager", eager)
        search(gpu, kind, "ours, captured", captured)
        search(gpu, kind, "ours, eager", eager)
        if compiling:
            search(gpu, kind, "ours, elementwise fused, captured", captured, compiled="elementwise")
    search(gpu, "hard", "ours, eager", eager)
    _cudnn_choices(plan, paper, captured)
    for what in ("network", "resnet18-xnor"):
        for variant, kind_, how, compiled in (
            ("float, captured", "float", captured, ""),
            ("composed, captured", "composed", captured, ""),
            ("ours, captured", None, captured, ""),
            ("ours, elementwise fused, captured", None, captured, "elementwise"),
        ):
            if compiled and not compiling:
                continue
            make = functools.partial(retrain_step, paper, what, how, kind=kind_, compiled=compiled)  # type: ignore[arg-type]
            plan.measure(f"{paper}: train {what}", variant, paper.batch, make, limit_s=60)
    _convolutions(plan, paper)
    for kind in ("weight", "alpha"):
        if compiling:
            search(gpu, kind, "ours, cells compiled, captured", captured, compiled="cells")
    return profiles


def check(plan: Plan) -> None:
    """How far logits and sample gradients of each way to compute are from the reference, in float32 at a small size."""
    size = Size(10, 1, 8, 16)
    supernet = supernet_of(space_of(size.channels, size.cells), size.image, plan.device)
    batch, sample = Batch.random(size.batch, size.image, plan.device), draws(supernet, "gumbel", plan.device)()
    expected: list[Tensor] = []
    for variant in ("reference", "ours", "elementwise", "cells"):
        try:
            with time_limit(60):
                model: nn.Module = reference_of(supernet) if variant == "reference" else copy.deepcopy(supernet)
                if variant == "elementwise":
                    fuse(model)
                elif variant == "cells":
                    compile_cells(model)
                given = [t for t in (sample.op, sample.depth, sample.width) if t is not None]
                leaves = [t.detach().clone().requires_grad_() for t in given]
                logits = model(batch.images, Sample(leaves[0], leaves[1], leaves[2]))
                found = [logits.detach(), *torch.autograd.grad(F.cross_entropy(logits, batch.labels), leaves)]
            expected = expected or found
            errors = [float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]
            plan.rows.append({"what": "relative error of logits, gradients", "variant": variant, "errors": str(errors)})
            print(plan.rows[-1], flush=True)
        except (Exception, OutOfTimeError):
            plan.notes.append(f"check {variant}\n{traceback.format_exc()[-3000:]}")


def _cudnn_choices(plan: Plan, size: Size, how: Runtime) -> None:
    """What determinism costs."""
    for variant, deterministic, benchmark in (("not deterministic", False, False), ("benchmark", False, True)):
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark
        make = functools.partial(search_step, size, "weight", how)
        plan.measure(f"{size}: weight step", f"ours, captured, cudnn {variant}", size.batch, make, limit_s=40)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def _convolutions(plan: Plan, paper: Size) -> None:
    """Convolutions of a node's four edges, one by one or grouped, and one at channels around the paper's."""
    dtype = torch.bfloat16 if plan.device.type == "cuda" else torch.float32
    stages = [Size(paper.channels << s, 1, paper.image >> s, paper.batch) for s in range(3)]
    others = [Size(c, 1, paper.image, paper.batch) for c in (64, 80)]
    for size, edges, grouped in [(s, 4, g) for s in stages for g in (False, True)] + [(s, 1, False) for s in others]:
        for part in ("forward", "input", "weight"):
            make = functools.partial(convolution, size, part, plan.device, edges, grouped, dtype)
            what = f"10 x {edges} convolutions {size.channels} @ {size.image}"
            plan.measure(what, f"{part}{', grouped' if grouped else ''}", size.batch, make, limit_s=15)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print tables, write gpu-plan.json and profiles.txt to ``--out``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("."))
    parser.add_argument("--budget", type=float, default=340.0, help="seconds after which no variant is started")
    parser.add_argument("--steps", type=int, default=9, help="timed steps of a variant")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, on any device")
    parser.add_argument("--no-compile", action="store_true", help="leave out what compiles")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    paper, gpu = Size(72, 3, 32, 256), Size(36, 2, 32, 256)
    if options.smoke:
        torch.set_num_threads(1)
        paper, gpu = Size(8, 1, 8, 4), Size(4, 1, 8, 4)
    plan = Plan(device, 2 if options.smoke else options.steps, time.monotonic() + options.budget)
    profiles = run(plan, paper, gpu, compiling=not options.no_compile)
    ratios(plan.rows)
    projected = projections(plan.rows, {"gpu": gpu, "paper": paper})
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "gpu-plan.json", "gpu-plan", [*plan.rows, *projected], device)
    (options.out / "profiles.txt").write_text("\n\n".join([*profiles, *plan.notes]))
    print(markdown(plan.rows))
    print(markdown(projected))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
