from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars.errors import OutputError
from bars.pipeline import files
from bars.pipeline.files import atomic_directory, atomic_write

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_json_round_trips_and_its_hash_ignores_the_order_of_keys(value: dict[str, object]) -> None:
    for text in (files.canonical_json(value), files.pretty_json(value), files.wide_json(value)):
        assert json.loads(text) == value
    swapped = dict(reversed(value.items()))
    assert files.sha256_json(value) == files.sha256_json(swapped)
    assert files.sha256_json(value) != files.sha256_json([value])


@pytest.mark.parametrize("text", [files.canonical_json, files.pretty_json, files.wide_json])
def test_json_has_no_nan(text: object) -> None:
    with pytest.raises(ValueError, match="(?i)json"):
        text({"a": math.nan})  # type: ignore[operator]


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


# ------------------------------------------------------------------------------------------------- whole
def test_atomic_write(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    atomic_write(path, "one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic_write(path, "old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "run" / "search"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
        assert folder.parent == target.parent
    assert (target / "a").read_text() == "1"
    with atomic_directory(target) as folder:
        (folder / "b").write_text("2")
        assert (target / "a").exists()
    assert os.listdir(target) == ["b"]
    assert os.listdir(target.parent) == ["search"]


def test_a_failure_leaves_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "search"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(RuntimeError), atomic_directory(target) as folder:
        (folder / "b").write_text("2")
        raise RuntimeError
    with pytest.raises(OutputError), atomic_directory(target) as folder:
        raise OSError(28, "No space left on device")
    assert os.listdir(target) == ["a"]
    assert os.listdir(tmp_path) == ["search"]


def test_left_overs_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    living = os.getppid()
    for name in (f"search.tmp-{ended.pid}", f"search.tmp-{ended.pid}-old", f"search.tmp-{living}", "search.tmp-notes"):
        (tmp_path / name).mkdir()
    with atomic_directory(tmp_path / "search"):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted(["search", "search.tmp-notes", f"search.tmp-{living}"])


def test_what_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for act in (files.check_writable, lambda p: atomic_write(p, ""), lambda p: atomic_directory(p).__enter__()):
        with pytest.raises(OutputError, match="file"):
            act(tmp_path / "file" / "below")  # a file stands in the way (rights mean nothing to root)
    files.check_writable(tmp_path / "new" / "folder")
    assert os.listdir(tmp_path / "new") == []


def test_living_and_ended_processes() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert files.process_lives(os.getpid())
    assert not files.process_lives(ended.pid)
