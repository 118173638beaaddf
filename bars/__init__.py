"""BARS: joint search of cell topology and layout for binary networks, reproduced (arXiv 2011.10804)."""

__version__ = "0.1.0"
