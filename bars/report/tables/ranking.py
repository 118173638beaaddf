"""The ranking (beyond the paper): which predictor orders architectures of one budget as retraining does."""

from __future__ import annotations

from bars.report import summary
from bars.report.artifacts import RANKED
from bars.report.layout import Column, Row, Table, Value
from bars.report.predictors import Correlation, Skill, ranked, skills
from bars.report.tables import columns
from bars.report.tree import Results


def table(results: Results) -> Table:
    """One row per predictor."""
    architectures = ranked(results)
    runs = results.runs(RANKED)
    confidence = results.params.report.claims.confidence
    rows = [_row(skill, results.scale, runs.dataset) for skill in skills(results, architectures)]
    return Table(
        name="ranking",
        title="Ranking: does a predictor order architectures as retraining does?",
        caption=(
            f"{summary.data_sets(results, [runs])} {len(architectures)} architectures drawn uniformly from BARS-B's "
            "space within its budget, each retrained once and compared by top-1 on test. Intervals: bootstrap over "
            f"architectures, {confidence:.0%}."
        ),
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"Best of {rows[0]['k']}: expected accuracy of the one that the predictor prefers among so many draws; "
            "gain: over one draw.",
            "Supernet: negative validation loss of the architecture with the supernet's weights, as derive scores it; "
            "by its top-1: accuracy there, mean over its seeds.",
            "Gradient norm: Abdelfattah et al., ICLR 2021. NASWOT: Mellor et al., ICML 2021, on the signs that binary "
            "convolutions see. Both see one batch and the initial weights.",
            *([runs.absence] if runs.absence else []),
        ),
    )


def _row(skill: Skill, scale: str, data_set: str | None) -> Row:
    values: dict[str, Value] = {"predictor": skill.predictor, "scale": scale, "data_set": data_set, "n": skill.n}
    for name, correlation in (("tau", skill.tau), ("rho", skill.rho)):
        values |= {name: correlation.value, f"{name}_low": correlation.low, f"{name}_high": correlation.high}
    best, one = 100 * skill.best_of_k, 100 * skill.one_draw
    return values | {"k": skill.k, "best_of_k_percent": best, "one_draw_percent": one, "gain_percent": best - one}


def _interval(name: str, title: str) -> tuple[Column, ...]:
    def cell(row: Row) -> str:
        value, low, high = (columns.number(row[key]) or 0.0 for key in (name, f"{name}_low", f"{name}_high"))
        return str(Correlation(value, low, high))

    return Column(name, title, cell), Column(f"{name}_low"), Column(f"{name}_high")


def _percent(key: str, sign: str = "") -> Column:
    titles = {"best_of_k_percent": "Best of k [%]", "one_draw_percent": "One draw [%]", "gain_percent": "Gain [points]"}
    return Column(key, titles[key], lambda row: format(columns.number(row[key]) or 0.0, f"{sign}.2f"))


COLUMNS = (
    Column("predictor", "Predictor", align="l"),
    Column("n", "Architectures"),
    *_interval("tau", "Kendall's tau"),
    *_interval("rho", "Spearman's rho"),
    Column("k", "k"),
    _percent("best_of_k_percent"),
    _percent("one_draw_percent"),
    _percent("gain_percent", "+"),
    Column("scale"),
    Column("data_set", "Data", align="l"),
)
