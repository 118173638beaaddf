"""Which source files a module imports within the package, found by reading them: nothing is executed."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "bars"
ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def closure(*modules: str) -> tuple[str, ...]:
    """Sorted paths, relative to the repository, of the modules' files and all they import of this package.

    Imports inside functions count; ``if TYPE_CHECKING`` ones do not, and neither do other packages. Raises
    ModuleNotFoundError for a module that does not exist.
    """
    waiting, found = [name for module in modules for name in _with_packages(module)], set[Path]()
    for module in modules:
        if _file(module) is None:
            raise ModuleNotFoundError(f"no module {module}")
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is None or file in found:
            continue
        found.add(file)
        for imported in _imports(file, name, file.stat().st_mtime_ns):
            waiting.extend(_with_packages(imported))
    # A module's C++ lies beside it under its name.
    compiled = {path for file in found if (path := file.with_suffix(".cpp")).is_file()}
    return tuple(sorted(file.relative_to(ROOT).as_posix() for file in found | compiled))


def closure_sha256(*modules: str) -> str:
    """Hash of the names and contents of a closure's files."""
    digest = hashlib.sha256()
    for path in closure(*modules):
        content = (ROOT / path).read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _with_packages(name: str) -> list[str]:
    """A module and the packages it lies in, whose __init__ files an import executes too."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_name(base.name + ".py")):
        if path.is_file():
            return path
    return None


@functools.cache  # the closures of a workflow share most of their files
def _imports(file: Path, name: str, mtime: int) -> set[str]:
    """Modules of the package that a file names in its import statements."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = set[str]()
    for node in _statements(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)  # may be a submodule
    return {name for name in found if name == PACKAGE or name.startswith(PACKAGE + ".")}


def _statements(tree: ast.AST) -> list[ast.AST]:
    """Every statement, at any depth, without those that only type checkers see; expressions are not searched."""
    nodes, waiting = list[ast.AST](), [tree]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING"), orelse=otherwise):
                children: Iterable[ast.AST] = otherwise
            case _:
                children = ast.iter_child_nodes(node)
        waiting.extend(child for child in children if isinstance(child, _HOLD_STATEMENTS))
    return nodes


_HOLD_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
