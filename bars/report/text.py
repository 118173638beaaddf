"""How numbers look to a reader: rounded, with units; raw values stay in the csv files."""

from __future__ import annotations

import math

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "K"))


def operations(value: float | None, std: float | None = None) -> str:
    """A count with its unit (K, M, or G beyond 10,000M) and, where it varies, its sample standard deviation."""
    if value is None:
        return "–"
    factor, unit = next((u for u in UNITS if value >= (10 * u[0] if u[1] == "G" else u[0])), (1.0, ""))
    if not std:
        return significant(value / factor) + unit
    digits = max(0, 1 - math.floor(math.log10(std / factor)))
    digits = min(digits, 3)
    return f"{value / factor:.{digits}f} ± {std / factor:.{digits}f}{unit}"


def significant(value: float) -> str:
    """Two decimals from one on, three significant digits below."""
    magnitude = abs(value)
    if magnitude >= 1000 or value == 0:
        return f"{value:.0f}"
    if magnitude >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if magnitude >= 1 else f"{value:.3g}"


def percent(value: float | None, std: float | None = None) -> str:
    """Percent with two decimals, and its sample standard deviation."""
    if value is None:
        return "–"
    return f"{value:.2f}" if std is None else f"{value:.2f} ± {std:.2f}"


def seeds(values: tuple[int, ...]) -> str:
    """Seeds as a list, such as "seed 1" or "seeds 0, 2"."""
    return ("seed " if len(values) == 1 else "seeds ") + ", ".join(str(value) for value in values)


def big(value: int) -> str:
    """A whole number of any size: exact below a million, else as a power of ten."""
    if abs(value) < 10**6:
        return f"{value:,}"
    exponent = len(str(abs(value))) - 1
    return f"{value / 10**exponent:.2f}·10^{exponent}"
