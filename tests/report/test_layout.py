from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path

from bars.report.layout import Column, Table

TABLE = Table(
    name="example",
    title="Example",
    caption="100% of it.",
    columns=(
        Column("name", "Name", align="l"),
        Column("value", "Value_1", lambda row: f"{row['value']:.1f} ± 0.1"),
        Column("hidden"),
        Column("flag", "Flag", align="l"),
    ),
    rows=(
        {"name": "a|b & c", "value": 0.1 + 0.2, "hidden": 7, "flag": True},
        {"name": "d", "value": 2.0, "hidden": None, "flag": None},
    ),
    notes=("~ is a tilde",),
)


def test_csv_keeps_raw_values_and_hidden_columns() -> None:
    rows = list(csv.DictReader(TABLE.csv().splitlines()))
    assert list(rows[0]) == ["name", "value", "hidden", "flag"]
    assert float(rows[0]["value"]) == 0.1 + 0.2
    assert (rows[0]["hidden"], rows[0]["flag"]) == ("7", "true")
    assert (rows[1]["hidden"], rows[1]["flag"]) == ("", "")


def test_markdown_rounds_hides_and_escapes() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines[4:8] == [
        "| Name | Value_1 | Flag |",
        "| :--- | ---: | :--- |",
        "| a\\|b & c | 0.3 ± 0.1 | yes |",
        "| d | 2.0 ± 0.1 | – |",
    ]
    assert lines[-1] == "* ~ is a tilde"


def test_latex_escapes_what_latex_reads() -> None:
    text = TABLE.latex()
    assert r"a|b \& c & 0.3 $\pm$ 0.1 & yes &  \\" in text
    assert r"\shortstack[l]{Name} & \shortstack[r]{Value\_1} & \shortstack[l]{Flag} &  \\" in text
    assert r"\begin{tabular}{>{\raggedright\arraybackslash}p{1.7cm}r>{\raggedright\arraybackslash}p{1.7cm}l}" in text
    assert r"100\% of it. $\sim$ is a tilde" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert all(line.count("&") - line.count(r"\&") == 3 for line in body.splitlines() if line.endswith(r"\\"))


class Cells(HTMLParser):
    """Text by tag, and the tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def test_html_shows_what_markdown_shows() -> None:
    page = Cells()
    page.feed(TABLE.html())
    assert page.open == []
    assert page.texts["th"] == ["Name", "Value_1", "Flag"]
    assert page.texts["td"] == ["a|b & c", "0.3 ± 0.1", "yes", "d", "2.0 ± 0.1", "–"]
    assert page.texts["p"] == ["100% of it."]
    assert page.texts["li"] == ["~ is a tilde"]


def test_written_files_are_the_views(tmp_path: Path) -> None:
    paths = TABLE.write(tmp_path, ("csv", "html", "md", "tex"))
    assert [path.name for path in paths] == ["example.csv", "example.html", "example.md", "example.tex"]
    assert paths[0].read_text() == TABLE.csv()
