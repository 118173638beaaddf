"""The page for reviewers: one file, verdicts first, everything in it escaped and nothing fetched from elsewhere."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bars.report.page import write_page

VOID = {"meta", "img", "br"}
PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """Ids in their order, addresses, text; every tag must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [] if tag in VOID else [tag]
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.addresses += [value or ""] if name in ("href", "src") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def written(tree: Any, figures: Path, tmp_path: Path) -> Page:
    page = Page()
    page.feed(write_page(tree.params, None, tree.folder, figures, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    return page


def provenance(tree: Any, name: str, stage: str, seconds: float) -> None:
    record = {
        "stage": stage, "experiment": name, "group": tree.grid[name].group, "scale": "tiny", "seed": 0,
        "code": {"version": "9.9", "commit": "c0ffee" * 6, "dirty": False}, "params": {}, "params_sha256": "0" * 64,
        "inputs": {}, "outputs": {}, "libraries": {"torch": "2"}, "device": "A <fast> card", "threads": 1,
        "started": "2026-01-02T03:04:05+00:00", "seconds": seconds, "peak_memory_mb": 321.0,
    }  # fmt: skip
    path = tree.path(name, stage, "provenance.json", 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def test_the_page_has_its_parts_in_order_and_everything_within(editable: Any, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "fig1.png").write_bytes(PNG)
    (figures / "fig1.csv").write_text("x\n1\n")
    provenance(editable, "bars-b", "search", 5400.0)
    provenance(editable, "bars-b", "retrain", 90.0)
    page = written(editable, figures, tmp_path)
    sections = [id for id in page.ids if id in ("verdicts", "figures", "tables", "ran")]
    assert sections == ["verdicts", "figures", "tables", "ran"]
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 1
    assert "On CIFAR-10, BARS-B is 1.5 points more accurate than a hand-made binary network." in page.text
    assert "A <fast> card" in page.text
    assert "1 h 30 min" in page.text
    assert "version 9.9, c0ffeec0ffee" in page.text


def test_an_empty_tree_gives_a_page_that_says_so(tree: Any, tmp_path: Path) -> None:
    page = written(tree, tmp_path, tmp_path)
    assert page.text.count("Not drawn yet.") == 9
    assert "nothing to put into table2" in page.text
    assert "No stage has run yet." in page.text
    assert not any(address.startswith("data:image") for address in page.addresses)


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_notes_stand_under_their_rows_and_not_beyond_the_window(whole: Any, name: str) -> None:
    from bars.report.tables import make_table

    table = make_table(name, whole.params, None, whole.folder)
    html = table.html()
    heads = html[html.index("<thead>") : html.index("</thead>")]
    assert "Note" not in heads
    assert html.count('class="below"') == sum(bool(row["note"]) for row in table.rows)


def test_table2_in_latex_is_cut_by_slot_and_not_numbered_twice(whole: Any) -> None:
    from bars.report.tables import make_table

    text = make_table("table2", whole.params, None, whole.folder).latex()
    assert text.count(r"\begin{sidewaystable*}") == 2
    assert r"\caption{Networks that BARS discovered, and hand-made binary networks (CIFAR-10)}" in text
    assert r"\label{tab:table2-2}" in text
    assert "Table 2:" not in text
    assert "resizebox" not in text
