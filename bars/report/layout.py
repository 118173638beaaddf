"""One table in memory, written three ways: csv with raw values, Markdown and LaTeX with rounded ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from bars.pipeline.files import atomic_write

Value = str | int | float | bool | None
Row = Mapping[str, Value]
EMPTY = "–"


def shown(value: Value) -> str:
    """A cell for a reader, when its column has no formatting of its own."""
    if value is None or value == "":
        return EMPTY
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


@dataclass(frozen=True)
class Column:
    """A column of the csv file and, where it has a title, of the Markdown and LaTeX ones."""

    name: str
    title: str = ""
    show: Callable[[Row], str] | None = None
    align: str = "r"
    raw: bool = True  # False: only for readers (made of several csv columns)

    def text(self, row: Row) -> str:
        """The cell as a reader sees it."""
        return self.show(row) if self.show else shown(row.get(self.name))


@dataclass(frozen=True)
class Table:
    """Rows with named values; ``caption`` and ``notes`` go into the files for readers only."""

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())

    def _visible(self) -> list[Column]:
        return [column for column in self.columns if column.title]

    def csv(self) -> str:
        """Raw values: fractions, counts and numbers at full precision; an empty cell is a value that is not there."""
        names = [column.name for column in self.columns if column.raw]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for row in self.rows:
            writer.writerow([_raw(row.get(name)) for name in names])
        return out.getvalue()

    def markdown(self) -> str:
        """A pipe table under its title and caption."""
        columns = self._visible()
        lines = [f"# {self.title}", "", self.caption, ""]
        lines.append("| " + " | ".join(_pipe(c.title) for c in columns) + " |")
        lines.append("| " + " | ".join("---:" if c.align == "r" else ":---" for c in columns) + " |")
        lines += ["| " + " | ".join(_pipe(c.text(row)) for c in columns) + " |" for row in self.rows]
        if self.notes:
            lines += ["", *(f"* {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """A page of its own, for browsers and Snakemake's report."""
        columns = self._visible()
        cell = {"r": '<td class="number">', "l": "<td>"}
        head = "".join(f"<th>{escape(c.title)}</th>" for c in columns)
        body = ["".join(f"{cell[c.align]}{escape(c.text(row))}</td>" for c in columns) for row in self.rows]
        lines = [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>{_STYLE}</head><body>',
            f"<h1>{escape(self.title)}</h1>",
            f"<p>{escape(self.caption)}</p>",
            f"<table><thead><tr>{head}</tr></thead><tbody>",
            *(f"<tr>{cells}</tr>" for cells in body),
            "</tbody></table>",
            *(f"<p>{escape(note)}</p>" for note in self.notes),
            "</body></html>",
        ]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A table* that needs the packages booktabs and graphicx."""
        columns = self._visible()
        head = " & ".join(_tex(c.title) for c in columns) + r" \\"
        body = [" & ".join(_tex(c.text(row)) for c in columns) + r" \\" for row in self.rows]
        lines = [
            r"% needs \usepackage{booktabs,graphicx}",
            r"\begin{table*}",
            r"\centering",
            r"\resizebox{\textwidth}{!}{%",
            r"\begin{tabular}{" + "".join(c.align for c in columns) + "}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\caption{" + _tex(" ".join([self.title + ".", self.caption, *self.notes])) + "}",
            r"\label{tab:" + self.name + "}",
            r"\end{table*}",
        ]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, kinds: Sequence[str]) -> list[Path]:
        """Write ``<name>.<kind>`` into ``folder``, each whole or not at all."""
        texts = {"csv": self.csv, "html": self.html, "md": self.markdown, "tex": self.latex}
        paths = [folder / f"{self.name}.{kind}" for kind in kinds]
        for path, kind in zip(paths, kinds, strict=True):
            atomic_write(path, texts[kind]())
        return paths


_STYLE = """<style>
body { font: 14px/1.4 sans-serif; margin: 1.5em }
p { max-width: 60em }
table { border-collapse: collapse }
th, td { padding: .25em .6em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
th { border-bottom: 2px solid #444; position: sticky; top: 0; background: white }
.number { text-align: right; white-space: nowrap }
</style>"""


def _raw(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _pipe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"$\sim$",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "–": "--",
    "−": r"$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "τ": r"$\tau$",
    "λ": r"$\lambda$",
    "α": r"$\alpha$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
