"""The command line: one subcommand per stage and artifact. Exit status 0 done, 2 bad input, 1 a failure inside."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import bars
from bars.errors import BarsError
from bars.pipeline.home import home
from bars.pipeline.paths import STAGES

_FAILURE, _INTERRUPTED = 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; every error becomes one message on stderr and an exit status."""
    args = _parser().parse_args(argv)
    name = f"bars {args.command}"
    if args.params is None and args.command != "init":
        args.params = _params()
    try:
        status = _call(args)
        sys.stdout.flush()
        return status
    except BarsError as error:
        _explain(args, f"{name}: {error}")
        return error.exit_status
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # `bars experiments | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILURE
    except Exception as error:
        message = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {message[0]}" if message else type(error).__name__
        do = "use a smaller batch_size, or another device" if "OutOfMemory" in what else "--traceback shows where"
        _explain(args, f"{name}: a failure inside\n  got:     {what}\n  do:      {do}")
        return _FAILURE


def _params() -> Path:
    """params.yaml of this folder; without one, that of the package."""
    here = Path("params.yaml")
    if here.exists():
        return here
    packaged = home() / here
    print(f"bars: no params.yaml here, so that of the package: {packaged} (bars init makes a study)", file=sys.stderr)
    return packaged


def _explain(args: argparse.Namespace, message: str) -> None:
    if args.traceback:
        traceback.print_exc()
    print(message, file=sys.stderr)


def _call(args: argparse.Namespace) -> int:
    """Run the function of a command, whose module is imported only now, with those arguments that it names."""
    module, function = args.run.split(".")
    run = getattr(importlib.import_module(f"bars.commands.{module}"), function)
    return int(run(**{name: getattr(args, name) for name in inspect.signature(run).parameters}))


# ----------------------------------------------------------------------------------------------------- arguments
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bars",
        description="The BARS reproduction, one stage at a time; `snakemake` runs them all in order.",
        epilog="Exit status: 0 done, 2 bad input, 1 a failure inside.",
    )
    parser.add_argument("--version", action="version", version=f"bars {bars.__version__}")
    common = argparse.ArgumentParser(add_help=False)
    _add_common(parser, None, Path("results"), False)
    _add_common(common, argparse.SUPPRESS, argparse.SUPPRESS, argparse.SUPPRESS)
    scaled = argparse.ArgumentParser(add_help=False, parents=[common])
    scaled.add_argument("--scale", metavar="S", help="a scale of params.yaml other than the active one")

    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, what: str, run: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".", parents=[scaled])
        sub.set_defaults(run=run)
        return sub

    sub = commands.add_parser("init", help="write a folder for a study of your own", parents=[common])
    sub.set_defaults(run="init.init")
    sub.add_argument("folder", type=Path, metavar="DIR", help="where to")
    sub = command("experiments", "list every experiment of the grid", "listing.list_experiments")
    sub.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    sub = command("cost", "operations and parameters of an experiment's network", "times.show")
    sub.add_argument("name", metavar="NAME", help="an experiment (bars experiments lists them)")
    sub.add_argument("--seed", type=int, metavar="N", help="whose genotype (default: the first seed)")
    sub.add_argument("--time", action="store_true", help="instead: hours and memory of its stages, from recorded runs")
    sub.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    sub = command("data", "split a data set into train, valid and test", "data.run_data")
    sub.add_argument("name", metavar="DATASET", help="a slot (cifar10, imagenet), or SLOT-search")
    for stage in STAGES:
        sub = command(stage, f"the stage {stage} of one experiment at one seed", "run.run_stage")
        sub.set_defaults(stage=stage)
        sub.add_argument("name", metavar="NAME", help="an experiment (bars experiments lists them)")
        sub.add_argument("--seed", type=int, required=True, metavar="N", help="one of the scale's seeds")
    for kind, names in (("table", "table1, table2, claims, audit"), ("figure", "fig1 to fig6")):
        sub = command(kind, f"write one {kind} from the results", f"artifact.{kind}")
        sub.add_argument("name", metavar="NAME", help=names)
        sub.add_argument("--out", type=Path, metavar="DIR", help="where to (default: results, or figures)")
    sub = command("report", "write one page for reviewers: verdicts, figures, tables, what ran", "artifact.report")
    sub.add_argument("--figures", type=Path, metavar="DIR", help="the figures drawn (default: figures, beside results)")
    sub.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html")
    sub = command("export", "write a trained network as ONNX and packed, with its genotype and a card", "export.export")
    sub.add_argument("name", metavar="NAME", help="an experiment (bars experiments lists them)")
    sub.add_argument("--seed", type=int, required=True, metavar="N", help="one of the scale's seeds")
    sub.add_argument("--out", type=Path, metavar="DIR", help="where to (default: exports/SCALE/NAME/seed-N)")
    sub = command("predict", "what an exported network says of images", "predict.predict")
    sub.add_argument("model", type=Path, metavar="MODEL", help="a folder of bars export, its network.bars or .onnx")
    sub.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="an image file, or a folder of them")
    sub.add_argument("--threads", type=int, default=0, metavar="N", help="0 (default): as many as cores")
    sub.add_argument("--json", dest="as_json", action="store_true", help="as JSON, not CSV")
    sub = command("latency", "the time of networks on this machine, packed and in floats", "measure.measure")
    what = "a folder of bars export, its network.bars or .onnx; without: a scale's networks, into its results"
    sub.add_argument("model", type=Path, nargs="?", metavar="MODEL", help=what)
    sub.add_argument("--batch", type=int, action="append", metavar="N", help="again for more (default: 1 and 64)")
    sub.add_argument("--threads", type=int, metavar="N", help="of each runtime (default: 1)")
    sub.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds (default: 20)")
    sub.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    command("doctor", "what is there, and what would stop a run", "doctor.examine")
    return parser


def _add_common(parser: argparse.ArgumentParser, params: object, results: object, traceback: object) -> None:
    """Options that may stand before or behind the command; behind it they only count when given."""
    add = parser.add_argument
    add(
        "--params",
        type=Path,
        default=params,
        metavar="FILE",
        help="the parameters (default: params.yaml, or the package's)",
    )
    add("--results", type=Path, default=results, metavar="DIR", help="the results folder (default: results)")
    add("--traceback", action="store_true", default=traceback, help="show where an error comes from")


if __name__ == "__main__":
    sys.exit(main())
