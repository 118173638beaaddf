"""One table in memory, written as csv with raw values, and as HTML, Markdown and LaTeX with rounded ones."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from bars.pipeline import formats
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
    """A column of the csv file and, where it has a title, of those for readers.

    ``below``: long text, which HTML puts under its row and LaTeX under the table.
    """

    name: str
    title: str = ""
    show: Callable[[Row], str] | None = None
    align: str = "r"
    below: bool = False

    def text(self, row: Row) -> str:
        """The cell as a reader sees it."""
        return self.show(row) if self.show else shown(row.get(self.name))


@dataclass(frozen=True)
class Table:
    """Rows with named values; ``caption`` and ``notes`` go into the files for readers only.

    ``number``: as the paper numbers it, such as "Table 2". ``parts``: the column by whose values HTML and LaTeX cut it.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())
    number: str = ""
    parts: str = ""
    in_caption: Sequence[str] = ()  # columns that HTML and LaTeX leave to the caption

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"{self.number}: {self.title}" if self.number else self.title[:1].upper() + self.title[1:]

    def _visible(self) -> list[Column]:
        return [column for column in self.columns if column.title]

    def _beside(self) -> list[Column]:
        """Columns of a part in HTML and LaTeX; what stands below is apart."""
        apart = (self.parts, *self.in_caption)
        return [column for column in self._visible() if column.name not in apart and not column.below]

    def _below(self, row: Row) -> str:
        texts = [column.text(row) for column in self._visible() if column.below]
        return "; ".join(text for text in texts if text != EMPTY)

    def _by_part(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(str(row[self.parts]) if self.parts else "", []).append(row)
        return found

    def csv(self) -> str:
        """Raw values: fractions, counts and numbers at full precision; an empty cell is a value that is not there."""
        return formats.csv_text([column.name for column in self.columns], self.rows)

    def markdown(self) -> str:
        """A pipe table under its title and caption."""
        columns = self._visible()
        lines = [f"# {self.heading}", "", self.caption, ""]
        lines.append("| " + " | ".join(_pipe(c.title) for c in columns) + " |")
        lines.append("| " + " | ".join("---:" if c.align == "r" else ":---" for c in columns) + " |")
        lines += ["| " + " | ".join(_pipe(c.text(row)) for c in columns) + " |" for row in self.rows]
        if self.notes:
            lines += ["", *(f"* {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """A page of its own, for browsers."""
        title = escape(self.heading)
        lines = [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>',
            f"<h1>{title}</h1>",
            self.html_body(),
            "</body></html>",
        ]
        return "\n".join(lines) + "\n"

    def html_body(self) -> str:
        """Caption, a table per part, and notes; what a page that has the style puts under a heading."""
        lines = [f"<p>{escape(self.caption)}</p>"]
        for part, rows in self._by_part().items():
            lines += [f"<h3>{escape(part)}</h3>"] if part else []
            lines.append(self.html_table(rows))
        lines += ['<ul class="notes">', *(f"<li>{escape(note)}</li>" for note in self.notes), "</ul>"]
        return "\n".join(lines)

    def html_table(self, rows: Sequence[Row]) -> str:
        """Some of its rows under their heads."""
        columns = self._beside()
        kind = {"r": ' class="number"', "l": ""}
        head = "".join(f"<th{kind[c.align]}>{escape(c.title)}</th>" for c in columns)
        lines = ['<div class="wide"><table>', f"<thead><tr>{head}</tr></thead><tbody>"]
        for row in rows:
            below = self._below(row)
            cells = "".join(f"<td{kind[c.align]}>{escape(c.text(row))}</td>" for c in columns)
            lines.append(f"<tr{' class=above' if below else ''}>{cells}</tr>")
            if below:
                lines.append(f'<tr><td colspan="{len(columns)}"><div class="below">{escape(below)}</div></td></tr>')
        return "\n".join([*lines, "</tbody></table></div>"])

    def latex(self) -> str:
        """A float per part, across a page turned on its side; needs the packages array, booktabs and rotating."""
        lines = [r"% needs \usepackage{array,booktabs,rotating}"]
        for i, (part, rows) in enumerate(self._by_part().items()):
            lines += self._latex_part(part, rows, f"tab:{self.name}" + (f"-{i + 1}" if i else ""))
        return "\n".join(lines) + "\n"

    def _latex_part(self, part: str, rows: Sequence[Row], label: str) -> list[str]:
        columns = self._beside()
        remarks = list(dict.fromkeys(below for row in rows if (below := self._below(row))))
        mark = {below: str(i + 1) for i, below in enumerate(remarks)}
        body = [
            " & ".join([*(_tex(c.text(row)) for c in columns), mark.get(self._below(row), "")]) + r" \\" for row in rows
        ]
        small = [self.caption, *self.notes, *(f"({mark[below]}) {below}." for below in remarks)]
        return [
            r"\begin{sidewaystable*}",
            r"\centering\scriptsize\setlength{\tabcolsep}{2pt}",
            r"\caption{" + _tex(self.title[:1].upper() + self.title[1:] + (f" ({part})" if part else "")) + "}",
            r"\label{" + label + "}",
            r"\begin{tabular}{" + "".join(_TEX_ALIGN[c.align] for c in columns) + "l}",
            r"\toprule",
            " & ".join([*(_tex_head(c) for c in columns), ""]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\medskip\parbox{0.95\textheight}{\raggedright " + _tex(" ".join(small)) + "}",
            r"\end{sidewaystable*}",
        ]

    def write(self, folder: Path, kinds: Sequence[str]) -> list[Path]:
        """Write ``<name>.<kind>`` into ``folder``, each whole or not at all."""
        texts = {"csv": self.csv, "html": self.html, "md": self.markdown, "tex": self.latex}
        paths = [folder / f"{self.name}.{kind}" for kind in kinds]
        for path, kind in zip(paths, kinds, strict=True):
            atomic_write(path, texts[kind]())
        return paths


STYLE = """
body { font: 14px/1.4 sans-serif; margin: 1.5em }
p, .notes { max-width: 60em }
.notes { padding-left: 1.2em; color: #444 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 12.5px }
th, td { padding: .25em .5em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
th { border-bottom: 2px solid #444; vertical-align: bottom }
.above td { border-bottom: none }
.below { position: sticky; left: .5em; max-width: min(70em, 90vw); color: #555 }
td.number { text-align: right; white-space: nowrap }
th.number { text-align: right }
"""


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


_TEX_ALIGN = {"r": "r", "l": r">{\raggedright\arraybackslash}p{1.7cm}"}


def _tex_head(column: Column) -> str:
    """A column's title in short lines, one above the other."""
    lines = [_tex(line) for line in textwrap.wrap(column.title, 9, break_long_words=False)]
    return r"\shortstack[" + column.align + "]{" + r"\\".join(lines) + "}"
