"""Goes through docs/TUTORIAL.md as a reader would, and writes what its blocks print below them.

Usage: python scripts/tutorial.py

A block of python is executed, one of yaml written to the file that its first line names, the commands of one of sh are
run, and one of text is what the block above printed. tests/test_tutorial.py compares.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

from bars.cli import main

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = ROOT / "docs/TUTORIAL.md"
_BLOCK = re.compile(r"^```(python|yaml|sh)\n(.*?)^```\n(?:\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)


def walk(text: str, clone: Path) -> str:
    """The page with the outputs of its blocks, executed in the folder ``tutorial`` of what looks like a clone."""
    for name in ("docs", "genotypes", "params.yaml"):
        (clone / name).symlink_to(ROOT / name)
    (clone / "tutorial").mkdir()
    names: dict[str, Any] = {}

    def executed(found: re.Match[str]) -> str:
        language, content = found.groups()
        line = text.count("\n", 0, found.start()) + 1
        printed = execute(language, content, names, line)
        return f"```{language}\n{content}```\n" + (f"\n```text\n{printed}```\n" if printed else "")

    with contextlib.chdir(clone / "tutorial"):
        return _BLOCK.sub(executed, text)


def execute(language: str, content: str, names: dict[str, Any], line: int) -> str:
    """Do what a reader would with a block that stands behind a line, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if language == "python":
            exec(compile("\n" * line + content, str(TUTORIAL), "exec"), names)
        elif language == "yaml":
            Path(content.splitlines()[0].removeprefix("# ")).write_text(content)
        else:
            for command in content.splitlines():
                program, *words = shlex.split(command)
                if program != "bars" or main(words) != 0:
                    raise SystemExit(f"{TUTORIAL}, behind line {line}: failed: {command}")
    return "" if language == "sh" else printed.getvalue()  # which files a command wrote is no news


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        TUTORIAL.write_text(walk(TUTORIAL.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")
