"""``python -m bars`` is ``bars``."""

from __future__ import annotations

import sys

from bars.preloaded import run_there

if __name__ == "__main__":
    status = run_there(sys.argv[1:])
    if status is None:
        from bars.cli import main

        status = main()
    sys.exit(status)
