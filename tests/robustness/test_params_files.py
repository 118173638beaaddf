"""Unusual params files: each is read as people expect, or refused by one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from bars.errors import ParamsError
from bars.pipeline.load import load_params
from tests.robustness.inputs import ROOT, check_params

YAML: dict[str, tuple[bytes, str | None]] = {  # what a file says beside its include; a message, None where it is read
    "line ends of Windows": (b"scale: smoke\r\nrecipe: own\r\n", None),
    "off without quotes": (b"runtime: {compile: off}", None),
    "1e-3 without a point": (b"defaults: {retrain: {lr: 1e-3}}", None),
    "anchors and aliases": (b"scale: &s smoke\nscales: {smoke: {retrain: &r {lr: 0.01}}, cpu: {retrain: *r}}", None),
    "tabs": (b"scales:\n\tsmoke: {}", "line 3"),
    "a key twice": (b"scale: smoke\nscale: cpu", "'scale' is written twice"),
    "a date as label": (b"experiments: {searched: {bars-a: {label: 2024-01-01}}}", "quote it"),
    "a number as label": (b"experiments: {searched: {bars-a: {label: 007}}}", "allowed a text"),
    "not a number": (b"defaults: {retrain: {lr: .nan}}", "retrain.lr"),
    "a comma for a point": (b"defaults: {retrain: {lr: 0,1}}", "retrain"),
    "two documents": (b"scale: smoke\n---\nscale: cpu", "not valid YAML"),
    "a comment alone": (b"# nothing\n", None),
    "a merge key": (b"scales: {smoke: &s {retrain: {epochs: 3}}, cpu: {<<: *s}}", None),
    "10 as 1_0 and as 0xA": (b"scales: {smoke: {retrain: {epochs: 1_0}, search: {epochs: 0xA}}}", None),
    "a label of a rocket and two lines": ('experiments: {searched: {bars-a: {label: "\U0001f680\\n"}}}'.encode(), None),
    "a label of a markup language": (b"experiments: {searched: {bars-a: {label: '<b>&|_%$'}}}", None),
    "yes": (b"runtime: {compile: yes}", "got 'yes', allowed one of auto, on, off"),
    "a number in quotes": (b"scales: {smoke: {retrain: {epochs: '5'}}}", "got '5', allowed a whole number"),
    "5.0 for 5": (b"scales: {smoke: {retrain: {epochs: 5.0}}}", "got 5.0, allowed a whole number"),
    "a percent sign": (b"defaults: {retrain: {lr: 5%}}", "got '5%', allowed a number"),
    "true for a number": (b"scales: {smoke: {retrain: {epochs: true}}}", "got True"),
    "a block of nothing": (b"defaults: {retrain: }", "got None, allowed a mapping"),
    "no seeds": (b"scales: {smoke: {seeds: []}}", "seeds: got []"),
    "a seed twice": (b"scales: {smoke: {seeds: [0, 0]}}", "a seed is written twice"),
    "a seed of 20 digits": (b"scales: {smoke: {seeds: [99999999999999999999]}}", "4,294,967,295"),
    "an experiment named ..": (b"experiments: {searched: {..: {base: bars-a}}}", "not a valid name"),
    "a name of temporary folders": (b"experiments: {searched: {bars-a.tmp-1: {base: bars-a}}}", "temporary folders"),
    "a base of itself": (b"experiments: {searched: {x: {base: x}}}", "x -> x"),
    "quotes of a word processor": ("scale: \u201csmoke\u201d".encode(), "got '\u201csmoke\u201d'"),
    "a template of a shell": (b"scale: ${SCALE}", "got '${SCALE}'"),
    "a tag of Python": (b"scale: !!python/object/apply:os.system ['true']", "not valid YAML"),
    "brackets 3,000 deep": (b"scale: " + b"[" * 3000 + b"]" * 3000, "not valid YAML"),
    "a zero byte": (b"scale: smoke\0", "not valid YAML"),
    "Latin-1": (b"# caf\xe9", "not UTF-8"),
}


@pytest.mark.parametrize("what", YAML)
def test_params_files(tmp_path: Path, what: str) -> None:
    content, said = YAML[what]
    check_params(tmp_path / "mine.yaml", f"include: {ROOT / 'params.yaml'}\n".encode() + content, said)


def test_a_byte_order_mark_is_none_of_the_text(tmp_path: Path) -> None:
    text = f"\ufeffinclude: {ROOT / 'params.yaml'}\nscale: smoke"
    check_params(tmp_path / "mine.yaml", text.encode(), None)


@pytest.mark.parametrize(
    ("include", "said"),
    [
        ("[a, b]", "include is not a path"),
        ("mine.yaml", "in a circle"),
        ("https://example.org/params.yaml", "cannot read"),
        ("bars:nothing.yaml", "cannot read"),
    ],
)
def test_includes_that_are_refused(tmp_path: Path, include: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"include: {include}\n")
    with pytest.raises(ParamsError, match=said):
        load_params(path)
