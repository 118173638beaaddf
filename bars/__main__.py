"""``python -m bars`` is ``bars``."""

from __future__ import annotations

import sys

from bars.cli import main

if __name__ == "__main__":
    sys.exit(main())
