"""Durations and sizes as one types them: 30min, 20GB."""

import re
from typing import Any

from tunesmith.errors import ConfigError

SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400}
BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def amount(location: str, value: Any, units: dict[str, int], example: str) -> float | None:
    """Read "30min" or "20GB"; a plain number is in the smallest unit."""
    if value is None:
        return None
    found = _AMOUNT.fullmatch(str(value))
    unit = found[2].lower() if found else "?"
    if not found or (unit and unit not in units) or float(found[1]) <= 0:
        known = ", ".join(units)
        raise ConfigError("CONF-AMOUNT", f"{location}={value}", f"must be like {example}", known)
    return float(found[1]) * units.get(unit, 1)
