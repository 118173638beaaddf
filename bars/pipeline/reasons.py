"""Why Snakemake runs a job, in words for people: it lists every file and two whole JSON texts."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_SHOWN = 3  # files or parameters that a reason names
_PARAMS = re.compile(r"^(Params have changed since last execution): .*? before: (.*?) now: (.*)$", re.DOTALL)


class ShortReasons(logging.Filter):
    """Shortens the reason of every job that Snakemake's logger announces."""

    def filter(self, record: logging.LogRecord) -> bool:
        reason = getattr(record, "reason", None)
        if isinstance(reason, str):
            record.reason = short_reason(reason)
        return True


def short_reason(reason: str) -> str:
    """The same reason with long lists cut, and of parameters only what is different."""
    return "; ".join(_short(part) for part in reason.split("; "))


def _short(part: str) -> str:
    if found := _PARAMS.match(part):
        return f"{found[1]}: {_difference(found[2], found[3])}"
    label, colon, listed = part.partition(": ")
    names = listed.split(", ")
    if label.startswith("Input files updated by"):  # of each job that comes before, its folder
        names = [str(Path(name).parent) for name in names]
    return f"{label}{colon}{_cut(sorted(set(names)))}"


def _cut(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _difference(before: str, now: str) -> str:
    """``search.epochs 12 -> 13`` of two JSON texts in quotes; other texts as they are."""
    try:
        old, new = (dict(_leaves(json.loads(text.strip().strip("'")))) for text in (before, now))
    except ValueError:
        return f"{before.strip()} -> {now.strip()}"
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return _cut([f"{key} {old.get(key, 'unset')} -> {new.get(key, 'unset')}" for key in changed])


def _leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield at, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{at}.{key}" if at else key)
