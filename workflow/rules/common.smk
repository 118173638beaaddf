# The grid, read once, and what the rules ask of it.
import atexit
import contextlib
import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

# Sources and params.yaml are those beside this file, also when another checkout is installed (dvc exp run --temp), with
# --directory, or when another workflow uses this one as a module; without a package beside it, the installed ones.
HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
CHECKOUT = (HERE / "bars").is_dir()
if CHECKOUT:
    sys.path.insert(0, str(HERE))

from bars import preloaded, preloading
from bars.commands.parent import die_with_parent
from bars.errors import BarsError, GridError
from bars.pipeline import closure as sources
from bars.pipeline import latency, paths
from bars.pipeline.experiments import DATA_MODULES, Grid
from bars.pipeline.folders import folder_state
from bars.pipeline.home import home
from bars.pipeline.load import GROUPS, load_params
from bars.pipeline.ownership import require_own
from bars.pipeline.reasons import ShortReasons
from bars.pipeline.study import study_file
from bars.report.artifacts import FIGURES, TABLES, kinds, need_paths, parameters

# Started by dvc, end with it: it would go on alone after a kill, and the next run would meet its lock.
die_with_parent(only_tools=True)

if not any(isinstance(known, ShortReasons) for known in logger.filters):
    logger.addFilter(ShortReasons())

RESULTS = "results"
ENVIRONMENT = "../../environment.yml"


def beside(path, root=HERE if CHECKOUT else home()):
    """A file of this project, relative to the working directory."""
    return os.path.relpath(Path(root) / path)


def configfiles():
    """Files that --configfile names; a module reads the ones of the workflow that uses it."""
    return [*workflow.overwrite_configfiles, *workflow.configfiles]


try:
    PARAMS, scale = study_file(config, configfiles(), beside("params.yaml"), workflow.config_settings.config)
    GRID = Grid(load_params(PARAMS), scale)
    require_own(GRID, Path(RESULTS))
except BarsError as error:
    raise WorkflowError(str(error)) from None
SCALE = GRID.scale
RUNNABLE = GRID.runnable()
EVALUATED = [e for e in RUNNABLE if e.evaluated]

# Jobs get the python that runs Snakemake, also where its environment is not activated, unless another one is deployed.
prefix = f"export PYTHONPATH={shlex.quote(str(HERE))}:${{{{PYTHONPATH:-}}}}; " if CHECKOUT else ""
if not workflow.deployment_settings.deployment_method:
    prefix += f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; "
shell.prefix(prefix)


# For its limit of 100 jobs a second Snakemake looks at the ready jobs again a second after each look, and at each job's end:
# after sixty jobs sixty times a second, a fifth of a core. Jobs on this machine need none; one that was asked for stays.
# BARS_PRELOAD=yes: jobs on this machine are forks of a process that has the libraries loaded (bars/preloading.py).
# Not where another environment is deployed, whose libraries are others.
onstart:
    limit = getattr(workflow.scheduler, "job_rate_limiter", None)
    if workflow.local_exec and limit is not None and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    if os.environ.get("BARS_PRELOAD") == "yes" and not workflow.deployment_settings.deployment_method:
        server = contextlib.ExitStack()
        atexit.register(server.close)
        loaded = preloading.started(HERE if CHECKOUT else None, Path(PARAMS).absolute())
        os.environ[preloaded.ADDRESS] = server.enter_context(loaded)


# What a command says goes to its log, behind what earlier attempts said, and to the terminal: a line per epoch of each
# running job. tee outlives an interrupt, so that the last words are kept.
# exec: no shell stays between Snakemake and the stage, which ends with its parent (bars/commands/parent.py).
BARS = "exec python -m bars {params.command} > >(tee -ia {log:q} >&2) 2>&1"


def memory(wildcards, attempt):
    """Resource function: MiB to ask a cluster for, more at each attempt; `bars cost NAME --time` says what jobs took."""
    return attempt * 2000


def canonical(value):
    """One JSON text per job: Snakemake compares recorded parameters as a set of values, in which several could swap."""
    return json.dumps(value, sort_keys=True)


def command(*words, depth):
    """Params function: the arguments of a `bars` command whose output lies so many folders deep.

    Words may hold wildcards. Not recorded as a parameter, as it takes the output: that the same values come from another
    file is no reason to run again. With a storage provider, outputs are local copies elsewhere, and so are the results.
    A param and not a formatted shell line, since Snakemake evaluates that anew, after the loop that made the rule.
    """

    def arguments(wildcards, output):
        line = [word.format(**dict(wildcards.items())) for word in words]
        line += ["--scale", SCALE, "--params", PARAMS]
        base = Path(str(output[0])).parents[depth]
        if base != Path("."):
            line += ["--results", str(base / RESULTS)]
            line += ["--out", str(base / "figures")] if words[0] == "figure" else []
        return shlex.join(line)

    return arguments


def code(*modules):
    """Source files behind some modules, so that an edit of one reruns what it is used for, and nothing else."""
    root = HERE if CHECKOUT else sources.ROOT
    return [local(beside(path, root)) for path in sources.closure(*modules)]


def any_of(names):
    """Wildcard constraint: one of these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def sees_gpu():
    """Whether there is an NVIDIA device; not asked of torch, whose import would cost every call of Snakemake seconds."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path(os.devnull).parent.glob("nvidia[0-9]*"))


def gpus(device):
    """GPU slots of a job: none on the CPU, or its jobs would run one at a time."""
    return int(device.startswith("cuda") or (device == "auto" and sees_gpu()))


def every_core():
    """Threads of a job that must have this machine to itself; where jobs run on others, --cores is not given."""
    try:
        return workflow.cores
    except WorkflowError:
        return 1


# ------------------------------------------------------------------------------------------------ stages of a run
def experiment_of(wildcards):
    """The experiment of a job. Raises GridError where the target's folder and the grid disagree."""
    experiment = GRID[wildcards.experiment]
    if experiment.group != wildcards.group:
        raise GridError(
            f"{experiment.name} is no run of {wildcards.group}",
            allowed=experiment.group,
        )
    return experiment


def wrong_scale(wildcards):
    """Input function of a target that belongs to another scale. Raises WorkflowError."""
    raise WorkflowError(
        f"{RESULTS}/{wildcards.scale}/{wildcards.path} is of scale {wildcards.scale}, and the active one is {SCALE}: "
        f"add --config scale={wildcards.scale}"
    )


def stage_inputs(stage):
    """Input function: files of earlier stages, the run's own or those of the experiment that it takes them from."""
    return lambda wildcards: [
        f"{RESULTS}/{path}" for path in experiment_of(wildcards).inputs(stage, int(wildcards.seed))
    ]


def stage_chain(stage):
    """Input function: all files behind those inputs."""
    return lambda wildcards: files_behind(experiment_of(wildcards).inputs(stage, int(wildcards.seed)))


def files_behind(inputs):
    """All files back to the splits, whose hashes a command verifies before it reads its inputs.

    Ancient: their dates do not matter, since a change that does matter comes through the inputs.
    """
    found, waiting = {}, list(inputs)
    while waiting:
        folder = waiting.pop().rpartition("/")[0]
        if folder in found:
            continue
        if folder == paths.latency_dir(SCALE):
            found[folder] = list(latency.outputs(GRID))
            waiting += latency.all_inputs(GRID)
            continue
        scale, group, name, *run = folder.split("/")
        made_by = run[1] if run else "data"
        found[folder] = [f"{folder}/{file}" for file in (*paths.OUTPUTS[made_by], paths.PROVENANCE)]
        if run:
            waiting += GRID[name].inputs(made_by, int(run[0].removeprefix("seed-")))
    return [ancient(f"{RESULTS}/{path}") for made in found.values() for path in made if path not in inputs]


def stage_code(stage):
    """Input function: the source files of the stage, which depend on the kind of network."""
    return lambda wildcards: code(*experiment_of(wildcards).modules(stage))


def data_outputs(dataset):
    """Output files of the data stage."""
    return [f"{RESULTS}/{paths.data_dir(SCALE, dataset)}/{name}" for name in (*paths.OUTPUTS["data"], paths.PROVENANCE)]


def stage_outputs(stage):
    """Output files, with the stage's wildcards."""
    folder = paths.stage_dir(SCALE, "{group}", "{experiment}", "{seed}", stage)
    return [f"{RESULTS}/{folder}/{name}" for name in (*paths.OUTPUTS[stage], paths.PROVENANCE)]


def stage_params(stage):
    """Params function: the blocks that the stage reads, as one value."""
    return lambda wildcards: canonical(experiment_of(wildcards).stage_params(stage))


def group_outputs(group):
    """All files of a group's runs, so that a lost one is made again also where the end of its chain is there."""
    return [
        f"{RESULTS}/{path}"
        for experiment in RUNNABLE
        if experiment.group == group
        for seed in experiment.seeds
        for stage in experiment.stages
        for path in experiment.outputs(stage, seed)
    ]


# ------------------------------------------------------------------------------------------------ tables and figures
def artifact_outputs(name):
    """Files of a table or figure."""
    return [f"{'figures' if name in FIGURES else RESULTS}/{name}.{suffix}" for suffix in kinds(name)]


def artifact_code(name):
    """Source files of a table or figure, and the data files of the report that they name."""
    home = "bars.report.figures" if name in FIGURES else "bars.report.tables"
    files = code(f"{home}.{name}", home)
    text = "".join(Path(path).read_text() for path in files)
    data = Path(next(path for path in files if path.endswith("bars/report/__init__.py"))).with_name("data")
    return [*files, *(local(str(path)) for path in sorted(data.iterdir()) if path.name in text)]
