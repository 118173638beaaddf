"""``python -m benchmarks NAME``: print the tables of one benchmark, both sides of each comparison in turn."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from bars.training.runtime import Runtime
from benchmarks.inputs import runtime_params
from benchmarks.options import Options, Row
from benchmarks.timing import environment, markdown, write_json

NAMES = {
    "supernet": "search steps against the plain formulation, time and memory",
    "train": "retraining steps against float and against composed signs",
    "passes": "search and retraining steps, native passes against torch's (CPU)",
    "data": "the in-memory pipeline against a DataLoader",
    "pipeline": "start-up, jobs, drivers with nothing to do",
    "scaling": "search step over channels, cells, image size",
    "latency": "an image at the paper's size: packed, in floats, in torch (CPU)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one benchmark, or all in turn, and print markdown tables."""
    listing = "\n".join(f"  {name:9} {what}" for name, what in NAMES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"{listing}\n\nOn a CUDA device `python -m benchmarks.gpu_plan` measures more, in a given time.",
    )
    parser.add_argument("names", nargs="+", choices=[*NAMES, "all"], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default: 7)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads, as runtime.threads (default: 1)")
    parser.add_argument("--device", default="auto", help="as runtime.device (default: auto)")
    parser.add_argument("--directory", type=Path, default=Path(), help="pipeline: a folder with a finished run")
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16], help="passes: channels (default: 8 16)")
    parser.add_argument("--pixels", type=int, nargs="+", default=[32], help="passes: sides of an image (default: 32)")
    parser.add_argument("--out", type=Path, help="also write NAME.json to this folder")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, says nothing about speed")
    chosen = parser.parse_args(arguments)
    runtime = Runtime.resolve(runtime_params(device=chosen.device, threads=chosen.threads))
    sizes = tuple(chosen.channels), tuple(chosen.pixels)
    options = Options(chosen.rounds, chosen.threads, runtime.device, chosen.quick, chosen.directory, *sizes)
    print(", ".join(f"{key} {value}" for key, value in environment(runtime.device).items()))
    for name in NAMES if "all" in chosen.names else chosen.names:
        measured: list[Row] = []
        for title, rows in importlib.import_module(f"benchmarks.{name}").measure(options):
            print(f"\n{name}: {title}\n\n{markdown(rows)}", flush=True)
            measured += [{"table": title, **row} for row in rows]
        if chosen.out is not None:
            chosen.out.mkdir(parents=True, exist_ok=True)
            write_json(chosen.out / f"{name}.json", name, measured, runtime.device)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
