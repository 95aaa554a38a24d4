"""One thing that a search varies: a range of numbers, or a list of choices."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

Kind = Literal["float", "int", "categorical"]


@dataclass(frozen=True)
class Dimension:
    """A key of the config, or a config group, with the values that it may take.

    Ranges include both ends. `when` names other keys, each with the value (or the list of values)
    under which this one is searched at all; none means always.
    """

    key: str
    kind: Kind
    low: Any = None  # float or int; None for a categorical one
    high: Any = None
    log: bool = False
    step: Any = None  # float or int
    choices: tuple[Any, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict)
    is_group: bool = False
    prefix: str = ""  # "+" or "++", as written on the command line

    @property
    def is_numeric(self) -> bool:
        return self.kind != "categorical"

    @property
    def is_listed(self) -> bool:
        """Say whether a grid can run through its values: choices, or a range with a step."""
        return not self.is_numeric or self.step is not None

    @property
    def size(self) -> int:
        """Count the values of a listed dimension."""
        return len(self.choices) if not self.is_numeric else self._steps + 1

    def values(self) -> list[Any]:
        """Return the values of a listed dimension, in the order in which a grid runs them."""
        if not self.is_numeric:
            return list(self.choices)
        return [self._stepped(i) for i in range(self._steps + 1)]

    @property
    def last(self) -> Any:
        """Return the highest value that there is: `high`, or the last step below it."""
        return self.high if self.step is None else self._stepped(self._steps)

    def ends(self) -> list[Any]:
        """Return the values that are checked: every choice, or both ends of a range."""
        return [self.low, self.last] if self.is_numeric else list(self.choices)

    def contains(self, value: Any) -> bool:
        """Say whether this is one of its values, of the right type too: 1 is not True."""
        if not self.is_numeric:
            return any(same(value, choice) for choice in self.choices)
        whole = isinstance(value, int) or self.kind == "float"
        return is_number(value) and whole and self.low <= value <= self.high

    def index(self, value: Any) -> int:
        """Return which of the choices this is."""
        return next(i for i, choice in enumerate(self.choices) if same(value, choice))

    def at(self, unit: float) -> Any:
        """Return the value at a place of the unit interval; equal lengths are equally likely."""
        unit = float(min(max(unit, 0.0), 1.0))
        if not self.is_numeric:
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        if self.step is not None:
            return self._stepped(min(int(unit * (self._steps + 1)), self._steps))
        low, high = self._bounds()
        value = low + unit * (high - low)
        return self._rounded(math.exp(value) if self.log else value)

    def unit(self, value: Any) -> float:
        """Return the place of a number in the unit interval, so that `at` gives it back."""
        if self.step is not None:
            return (round((value - self.low) / self.step) + 0.5) / (self._steps + 1)
        low, high = self._bounds()
        place = math.log(value) if self.log else value
        return (place - low) / (high - low) if high > low else 0.5

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        fields = ("key", "kind", "low", "high", "log", "step", "is_group", "prefix")
        return {name: getattr(self, name) for name in fields} | {
            "choices": list(self.choices),
            "when": {key: self.when[key] for key in sorted(self.when)},
        }

    def _bounds(self) -> tuple[float, float]:
        """Return the ends as they are drawn from: whole numbers reach half a unit further."""
        reach = 0.5 if self.kind == "int" else 0.0
        low, high = self.low - reach, self.high + reach
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def _rounded(self, value: float) -> Any:
        if self.kind == "int":
            value = math.floor(value + 0.5)
        return min(max(value, self.low), self.high)

    @property
    def _steps(self) -> int:
        return int((exact(self.high) - exact(self.low)) / exact(self.step))

    def _stepped(self, index: int) -> Any:
        """Count in decimals: the third step of 0.1 is 0.3, not 0.30000000000000004."""
        value = exact(self.low) + index * exact(self.step)
        return int(value) if self.kind == "int" else float(value)


def same(a: Any, b: Any) -> bool:
    """Compare two plain values; a boolean is no number, and 1 is 1.0."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def exact(value: float) -> Decimal:
    return Decimal(repr(value))
