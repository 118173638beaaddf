"""Tables, figures, claims and the audit of the paper's arithmetic."""

from bars.report.inputs import FIGURES, TABLES, Need, need_paths, needs, parameters

__all__ = ["FIGURES", "TABLES", "Need", "need_paths", "needs", "parameters"]
