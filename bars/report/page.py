"""One page for a reviewer: verdicts, figures, tables, what ran; a single file that opens from disk."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bars.errors import RecordError
from bars.pipeline.durations import duration
from bars.pipeline.files import atomic_write
from bars.pipeline.load import Params
from bars.report import ran
from bars.report.artifacts import FIGURES
from bars.report.layout import STYLE, Table
from bars.report.tables import make_table
from bars.report.tables.claims.judge import VERDICTS
from bars.report.tree import Results

CAPTIONS = {
    "fig1": "Accuracy against equivalent operations: BARS and hand-made binary networks.",
    "fig2": "The method as it was configured here, beside DARTS. A drawing; it reads no run.",
    "fig3": "Searches with different budgets against one compact search whose network is widened uniformly.",
    "fig4": "Accuracy against floating-point operations, binary operations and parameters.",
    "fig5": "The distribution over primitives during a search without stabilisers and during BARS-B's.",
    "fig6": "Cells of a search without the paper's stabilisers, and of BARS-B.",
    "figS1": "Beyond the paper: whether each search worked.",
    "figS2": "Beyond the paper: measured time, against accuracy and against counted operations.",
    "figS3": "Beyond the paper: whether the supernet and cheaper predictors rank architectures as retraining does.",
}
IN_CLAIMS = ("claim", "where", "quantity", "printed", "value", "detectable", "images_low", "why")


def write_page(params: Params, scale: str | None, results_dir: Path, figures_dir: Path, out: Path) -> Path:
    """Write the page from a results tree and the figures drawn of it; what is not there is said on it."""
    results = Results(params, scale, results_dir)
    claims = make_table("claims", params, scale, results_dir)
    done = ran.stages(results)
    template = (files("bars.report") / "data" / "page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(template).render(
        style=Markup(STYLE),
        scale=results.scale,
        datasets=sorted({m.dataset for e in results.grid.runnable() for m in results.runs(e.name).metrics.values()}),
        runs=sum(len(results.runs(e.name).metrics) for e in results.grid.runnable()),
        declared=sum(len(e.seeds) for e in results.grid.runnable()),
        claims=claims,
        verdicts=[(verdict, _judged(claims, verdict)) for verdict in VERDICTS],
        figures=[_figure(figures_dir, name) for name in FIGURES],
        tables=[_table(name, params, scale, results_dir) for name in ("table2", "table1", "ranking", "audit")],
        ran=_body(ran.table(results, done)) if done else "",
        total=duration(sum(record.seconds for record in done)),
    )
    atomic_write(out, page + "\n")
    return out


def _judged(claims: Table, verdict: str) -> dict[str, Any]:
    rows = [row for row in claims.rows if row["verdict"] == verdict]
    shown = replace(claims, columns=[column for column in claims.columns if column.name in IN_CLAIMS])
    return {"n": len(rows), "html": Markup(shown.html_table(rows))}  # the table has escaped its cells


def _body(table: Table) -> Markup:
    return Markup(table.html_body())


def _table(name: str, params: Params, scale: str | None, results_dir: Path) -> dict[str, Any]:
    try:
        table = make_table(name, params, scale, results_dir)
    except RecordError as error:
        if "nothing to put into" not in str(error):
            raise
        return {"name": name, "title": name.capitalize(), "html": f"Not there: {error.what}.", "csv": ""}
    return {"name": name, "title": table.heading, "html": _body(table), "csv": _data("text/csv", table.csv().encode())}


def _figure(folder: Path, name: str) -> dict[str, Any]:
    """A figure as data in the page, or that it was not drawn."""
    title = f"Figure {name.removeprefix('fig')}"
    found = {"name": name, "title": title, "caption": CAPTIONS[name], "image": None}
    png, csv = folder / f"{name}.png", folder / f"{name}.csv"
    if png.is_file() and csv.is_file():
        found |= {"image": _data("image/png", png.read_bytes()), "csv": _data("text/csv", csv.read_bytes())}
    return found


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
