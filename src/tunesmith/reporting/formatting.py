"""How numbers, settings, rungs and durations are written wherever a study is shown."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tunesmith.errors import printable

INACTIVE = "-"  # a dimension whose condition does not hold in this trial


def score(value: float | None) -> str:
    """Return a score to four decimals, large ones to four digits, - where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:z.4f}" if abs(value) < 1000 else f"{value:.4g}"  # z: no -0.0000


def mean(value: float | None, deviation: float | None) -> str:
    """Return a mean over seeds with its standard deviation: 0.9123 ± 0.0045; one seed has none."""
    return (
        score(value)
        if value is None or deviation is None
        else f"{score(value)} ± {score(deviation)}"
    )


def setting(value: Any) -> str:
    """Return a value of a dimension as it is typed in an override; control characters escaped."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple, Mapping)):
        return printable(json.dumps(value, ensure_ascii=False, default=str))
    return printable(str(value))


def number(value: float, digits: int = 4) -> str:
    """Return a number to so many digits: 0.05, 12000, 3e-5; small and huge ones with exponents."""
    text = f"{value:z.{digits}g}"
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e6:
        return text if "e" not in text else f"{value:.0f}"
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"


def rung(fraction: float) -> str:
    """Return the name of a rung: its share of the full training, as 1/9; `full` for the last."""
    if fraction >= 1:
        return "full"
    parts = round(1 / fraction) if fraction > 0 else 1
    near = Fraction(fraction).limit_denominator(20)
    near = Fraction(1, parts) if abs(1 / parts - fraction) < 0.001 / parts else near
    return str(near) if abs(near - fraction) < 0.001 else f"{fraction:.3g}"


def duration(seconds: float) -> str:
    """Return 35 s, 12 min, 3 h 05 min or 2 d 4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(count: float) -> str:
    """Return a number of bytes as 820 kB, 272 MB or 1.6 GB."""
    for unit, bytes_of_unit in (("GB", 1e9), ("MB", 1e6)):
        if count >= bytes_of_unit:
            value = count / bytes_of_unit
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{math.ceil(count / 1e3)} kB"


def percent(share: float) -> str:
    """Return a share to two digits: 4 %, 0.25 %."""
    return f"{100 * share:.2g} %"


def chance(probability: float) -> str:
    """Return a probability to two digits, never as certain: `= 0.61`, `> 0.99`."""
    if probability > 0.99:
        return "> 0.99"
    return "< 0.01" if probability < 0.01 else f"= {probability:.2f}"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 trial`, `3 trials`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(words: Iterable[Any], most: int = 8) -> str:
    """Return `1, 2, 3`, and after `most` of them how many are left out."""
    words = [str(word) for word in words]
    left_out = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + left_out


def shorten(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters, its middle left out."""
    if len(text) <= longest:
        return text
    kept = longest - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return each key's last part, or the whole key where two share it: optimizer.lr is lr."""
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)
    }
