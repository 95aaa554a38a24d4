"""Scales: from a value to a place between 0 and 1, and where the ticks stand."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tunesmith.reporting import formatting
from tunesmith.reporting.results import SearchedDimension

Tick = tuple[float, str]  # place, label


class Scale(ABC):
    """Maps values to places from 0 to 1; what lies outside is put at the end."""

    @abstractmethod
    def position(self, value: Any) -> float:
        """Return where a value stands."""

    @abstractmethod
    def ticks(self, most: int) -> list[Tick]:
        """Return about `most` ticks at round values."""


class Linear(Scale):
    """Equal steps."""

    def __init__(self, low: float, high: float, unit: str = "") -> None:
        if not high > low:
            low, high = low - (abs(low) * 0.05 or 0.5), high + (abs(high) * 0.05 or 0.5)
        self.low, self.high, self.unit = float(low), float(high), unit

    def position(self, value: float) -> float:
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self, most: int) -> list[Tick]:
        step = _round_step((self.high - self.low) / max(most, 1))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        values = [number * step for number in range(first, last + 1)]
        return [(self.position(v), f"{self._label(v, decimals)}{self.unit}") for v in values]

    def _label(self, value: float, decimals: int) -> str:
        if decimals > 5 or abs(value) >= 1e6:
            return formatting.number(value, 3)
        return f"{value:.{decimals}f}"


class Whole(Linear):
    """Whole numbers: no tick between two of them."""

    def ticks(self, most: int) -> list[Tick]:
        step = max(1, round(_round_step((self.high - self.low) / max(most, 1))))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(self.position(n * step), str(n * step)) for n in range(first, last + 1)]


class Log(Scale):
    """Equal factors."""

    def __init__(self, low: float, high: float) -> None:
        if not high > low:
            low, high = low / 2, high * 2
        self.low, self.high = math.log10(low), math.log10(high)

    def position(self, value: float) -> float:
        where = math.log10(value) if value > 0 else self.low
        return min(max((where - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self, most: int) -> list[Tick]:
        found: list[float] = []
        for steps in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            values = [step * 10.0**power for power in powers for step in steps]
            inside = [v for v in values if self._holds(v)]
            if not found or len(inside) <= most:
                found = inside
            if len(found) >= 4:
                break
        found = found[:: math.ceil(len(found) / most)] if found else []
        return [(self.position(value), formatting.number(value)) for value in found]

    def _holds(self, value: float) -> bool:
        return self.low - 1e-9 <= math.log10(value) <= self.high + 1e-9


class Choices(Scale):
    """One place for each of a list of values, in equal distances."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.labels = list(dict.fromkeys(formatting.setting(value) for value in values))

    def position(self, value: Any) -> float:
        label = formatting.setting(value)
        index = self.labels.index(label) if label in self.labels else len(self.labels)
        return min((index + 0.5) / max(len(self.labels), 1), 1.0)

    def ticks(self, most: int) -> list[Tick]:
        every = math.ceil(len(self.labels) / max(most, 1)) if self.labels else 1
        total = len(self.labels)
        return [((i + 0.5) / total, self.labels[i]) for i in range(0, total, every)]


def of_dimension(dimension: SearchedDimension, values: Sequence[Any]) -> Scale:
    """Return the scale of a dimension: its own range, logarithmic where it was searched so."""
    if dimension.kind == "categorical":
        numbers = all(isinstance(c, (int, float)) for c in dimension.choices or values)
        choices = [*dimension.choices, *values]
        return Choices(sorted(choices) if numbers else choices)
    low, high = dimension.range
    if dimension.log:
        return Log(low, high)
    return Whole(low, high) if dimension.kind == "int" else Linear(low, high)


def of_scores(values: Sequence[float], sign: int, room: float = 0.0) -> Linear:
    """Return a scale for scores, with a free strip at its worse end for those that have none.

    A few collapsed trials would press all others into one line: they are put at the edge.
    `room` times the range is left free below them for worse ones.
    """
    if not values:
        return Linear(0, 1)
    best, worst = sign * max(sign * v for v in values), sign * min(sign * v for v in values)
    middle = sorted(values)[len(values) // 2]
    usual = 5 * abs(best - middle)
    if usual and abs(best - worst) > 1.5 * usual:
        worst = best - sign * usual
    worst -= sign * (0.15 + room) * abs(best - worst)
    best += sign * 0.06 * abs(best - worst)
    return Linear(min(best, worst), max(best, worst))


def _round_step(step: float) -> float:
    """Return the next of 1, 2, 5, 10, … that is no smaller than this."""
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= step * 0.999)
