"""The command line, called in this process."""

from __future__ import annotations

import contextlib
import io

from bars.cli import main


def call(*words: str) -> tuple[int, str]:
    """Exit status of ``bars`` with these words, and what it says on stderr."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
    return status, err.getvalue()
