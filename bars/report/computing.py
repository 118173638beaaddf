"""In which precision and with which passes the runs behind a table were computed, where a reader must know it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from bars.pipeline import paths
from bars.pipeline.records import Provenance, read_record
from bars.report.tree import Results, Runs

USUAL = ({"float32"}, {"eager"})
_UNKNOWN = "unknown"


def note(results: Results, many: Iterable[Runs]) -> str:
    """One sentence on the stages behind these runs; empty where all were computed in float32 with eager passes."""
    done = list(_stages(results, many))
    training = [record for record in done if record.stage in paths.TRAINING]
    # A derive that draws at random, or copies an architecture, computes nothing and so records no precision.
    derived = [record for record in done if record.stage == "derive" and record.precision]
    precisions = [record.precision or _UNKNOWN for record in (*training, *derived)]
    passes = [record.passes or _UNKNOWN for record in training]
    if not done or (set(precisions), set(passes)) in (USUAL, (USUAL[0], set())):
        return ""
    if set(precisions) | set(passes) == {_UNKNOWN}:
        return "Precision and passes of these runs were not recorded."
    mixed = len(set(precisions)) > 1 or len(set(passes)) > 1
    said = f"Computed with precision {counted(precisions, ', ')}"
    said += f"; passes {counted(passes, ', ')}" if passes else ""
    return said + (": not all alike, which can move results too." if mixed else ".")


def _stages(results: Results, many: Iterable[Runs]) -> Iterator[Provenance]:
    """Provenance of every stage behind the runs that have a result, those taken over from others once."""
    found = dict.fromkeys(
        runs.experiment.file(stage, paths.PROVENANCE, seed)
        for runs in many
        if runs.experiment is not None
        for seed in runs.metrics
        for stage in (*(["search"] if runs.experiment.searches() else []), *runs.experiment.stages)
    )
    for path in found:
        if (results.folder / path).is_file():
            yield read_record(results.folder / path, Provenance)


def counted(values: Iterable[str], between: str = "; ") -> str:
    """Each value, and how many stages have it where they differ."""
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return between.join(f"{value} ({n} stage{'s' if n > 1 else ''})" for value, n in counts)
