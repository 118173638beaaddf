"""Tables, figures, claims and the audit of the paper's arithmetic."""

from bars.report.inputs import DATA_FILES, FIGURES, TABLES, Need, modules, need_paths, needs, parameters

__all__ = ["DATA_FILES", "FIGURES", "TABLES", "Need", "modules", "need_paths", "needs", "parameters"]
