"""Rate limits as the HTTP API writes them: `100KB, 10s`."""

from __future__ import annotations

from typing import Final

Policy = tuple[float, float]
"""(count or bytes, seconds)"""

_SIZES: Final = {"": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_TIMES: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DIGITS: Final = 12


def parse_policy(text: object) -> Policy:
    """`<limit>, <duration>`: a whole number with KB, MB or GB perhaps, and one with ms, s, m, h, d or w. Raises
    ValueError."""
    if not isinstance(text, str) or len(text) > 100:
        raise ValueError("expected a text such as 100KB, 10s")
    parts = text.replace(",", " ").split()
    if len(parts) != 2:
        raise ValueError(f"expected <limit>, <duration>, got {text!r}")
    count, period = _quantity(parts[0].upper(), _SIZES), _quantity(parts[1].lower(), _TIMES)
    if count <= 0 or period <= 0:
        raise ValueError(f"a limit and its duration are above 0: {text!r}")
    return count, period


def _quantity(text: str, units: dict[str, int] | dict[str, float]) -> float:
    number = text.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    if not number.isascii() or not number.isdigit() or len(number) > _DIGITS or unit not in units:
        raise ValueError(f"not a quantity: {text!r}")
    return int(number) * units[unit]
