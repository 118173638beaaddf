from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bars.pipeline import closure as module
from bars.pipeline.closure import closure, closure_sha256

ROOT = Path(__file__).resolve().parents[2]

LOADED = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
files = (getattr(m, "__file__", None) for n, m in sys.modules.items() if n == "bars" or n.startswith("bars."))
print(json.dumps(sorted(f for f in files if f)))
"""


@pytest.mark.parametrize(
    "name", ["bars.space.genotype", "bars.cost", "bars.pipeline.experiments", "bars.cli", "bars.report.artifacts"]
)
def test_the_closure_holds_all_that_python_loads(name: str) -> None:
    """An import executes at least these; the closure may add what a function imports later."""
    done = subprocess.run([sys.executable, "-c", LOADED, name], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {Path(f).relative_to(ROOT).as_posix() for f in json.loads(done.stdout)}
    assert loaded <= set(closure(name))
    assert all((ROOT / path).is_file() for path in closure(name))
    assert list(closure(name)) == sorted(closure(name))


def test_type_checking_imports_do_not_count_and_those_in_functions_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "bars"
    (package / "sub").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "a.py": "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import bars.b\nelse:\n    from .sub import c\n"
        "def f():\n    import bars.sub.d, json\n",
        "b.py": "",
        "sub/__init__.py": "from ..e import x",
        "sub/c.py": "from . import d",
        "sub/d.py": "import bars.a",
        "e.py": "x = 1",
        "unused.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    closure.cache_clear()
    try:
        expected = ["__init__.py", "a.py", "e.py", "sub/__init__.py", "sub/c.py", "sub/d.py"]
        assert closure("bars.a") == tuple(f"bars/{name}" for name in expected)
        before = closure_sha256("bars.a")
        (package / "unused.py").write_text("y = 2")
        (package / "b.py").write_text("y = 2")
        assert closure_sha256("bars.a") == before
        (package / "e.py").write_text("x = 2")
        assert closure_sha256("bars.a") != before
        with pytest.raises(ModuleNotFoundError):
            closure("bars.absent")
    finally:
        closure.cache_clear()


def test_stages_do_not_depend_on_the_report_or_the_command_line() -> None:
    for stage in ("search", "derive", "retrain", "evaluate"):
        files = closure(f"bars.stages.{stage}", "bars.data")
        assert not [f for f in files if f.startswith(("bars/report", "bars/commands", "bars/cli"))]
        assert "bars/params.py" in files
        assert "bars/pipeline/experiments.py" not in files
