"""Kinds of values that a key of a config may have: a type, a range, a choice."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.errors import ConfigError, TunesmithError, did_you_mean


@dataclass(frozen=True)
class Rule:
    """What a value must be: its type (`is_of_kind`) and, of that type, its range (`holds`)."""

    says: str  # ends the sentence "must be ..."
    is_of_kind: Callable[[Any], bool]
    holds: Callable[[Any], bool] = lambda value: True
    may_be_null: bool = False
    choices: tuple[Any, ...] = ()

    def check(self, path: str, value: Any, shown: str) -> TunesmithError | None:
        """Return the mistake, or None."""
        if value is None and self.may_be_null:
            return None
        if self.choices and not self.is_of_kind(value):
            near = nearest(str(value), list(map(str, self.choices)))
            return ConfigError("CONF-CHOICE", f"{path}={shown}", f"must be {self.says}", near)
        if not self.is_of_kind(value):
            return ConfigError(
                "CONF-TYPE", f"{path}={shown}", f"must be {self.says}", self.hint(value)
            )
        if not self.holds(value):
            return ConfigError("CONF-RANGE", f"{path}={shown}", f"must be {self.says}")
        return None

    def hint(self, value: Any) -> str:
        """Say what to do where yaml took a word for something else."""
        takes_text = self.is_of_kind("text") or self.is_of_kind(["text"])
        given = value if isinstance(value, list) else [value]
        odd = [type(v).__name__ for v in given if isinstance(v, bool | int | float)]
        return f"quote a text that yaml reads as {odd[0]}" if takes_text and odd else ""


def nearest(word: str, known: Sequence[str]) -> str:
    """Return "did you mean 'x'?" for what begins so, else for what is spelt nearly so, else ""."""
    begun = [name for name in known if word and name.startswith(word)]
    return f"did you mean {begun[0]!r}?" if begun else did_you_mean(word, known)


def integer(low: int, high: int | None = None) -> Rule:
    says = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    return Rule(says, is_integer, lambda x: x >= low and (high is None or x <= high))


def number(says: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(f"a number {says}", _is_number, lambda x: math.isfinite(x) and holds(x))


def one_of(*choices: Any) -> Rule:
    """Choose by value and type: 1 is not True."""
    same = {(type(choice), choice) for choice in choices}
    shown = ", ".join(str(choice) for choice in dict.fromkeys(map(str, choices)))
    return Rule(f"one of {shown}", lambda x: _hashable(x) and (type(x), x) in same, choices=choices)


def optional(rule: Rule) -> Rule:
    return replace(rule, may_be_null=True)


def pattern(says: str, expression: str) -> Rule:
    compiled = re.compile(expression)
    return Rule(says, _is_text, lambda x: compiled.fullmatch(x) is not None)


def list_of(rule: Rule, says: str, length: int | None = None) -> Rule:
    return Rule(
        says,
        lambda x: isinstance(x, list) and all(rule.is_of_kind(v) for v in x),
        lambda x: length in (None, len(x)) and all(rule.holds(v) for v in x),
    )


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _hashable(value: Any) -> bool:
    return not isinstance(value, list | dict)


def is_points(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(point, Mapping) for point in value)


AMOUNT = Rule("an amount like 30min or 20GB", lambda x: _is_text(x) or _is_number(x))
FLAG = Rule("true or false", lambda x: isinstance(x, bool))
TEXT = Rule("text", _is_text, lambda x: x != "" and (x == "\t" or x.isprintable()))
PATH = Rule("a path", _is_text, lambda x: x != "" and x.isprintable())
# What a checkpoint holds is trusted with the weights: it is not fetched from elsewhere.
LOCAL = Rule("a local path, not a URL", _is_text, lambda x: PATH.holds(x) and "://" not in x)
NAME = Rule(
    "a folder's name, relative and without ..",
    _is_text,
    lambda x: PATH.holds(x) and not x.startswith(("/", "~")) and ".." not in re.split(r"[/\\]", x),
)
FRACTION = number(">= 0 and < 1", lambda x: 0 <= x < 1)
POSITIVE = number("> 0", lambda x: x > 0)
NOT_NEGATIVE = number(">= 0", lambda x: x >= 0)
UNIT = number(">= 0 and <= 1", lambda x: 0 <= x <= 1)
BETAS = list_of(FRACTION, "a list of two numbers >= 0 and < 1", length=2)
WORD = Rule("text or an integer", lambda x: _is_text(x) or is_integer(x))
NAMES = list_of(TEXT, "a list of columns", length=None)
COLUMNS = Rule(
    "a column, or a list of columns",
    lambda x: _is_text(x) or (isinstance(x, list) and all(map(_is_text, x))),
    lambda x: bool(x) and all(TEXT.holds(name) for name in ([x] if _is_text(x) else x)),
)
LABELS = list_of(WORD, "a list of texts or integers", length=None)
WORDS = Rule(
    "a mapping of labels to words",
    lambda x: isinstance(x, Mapping),
    lambda x: all(_is_text(word) and TEXT.holds(word) for word in x.values()),
)
MAPPING = Rule("a mapping", lambda x: isinstance(x, Mapping))
INTERVAL = Rule(
    "a number > 0 and <= 1 (of an epoch), or an integer >= 1 (steps)",
    _is_number,
    lambda x: x >= 1 if is_integer(x) else 0 < x <= 1,
)
STOP = Rule(
    "an integer >= 1 (a step), or a number > 0 and < 1 (of all steps)",
    _is_number,
    lambda x: x >= 1 if is_integer(x) else 0 < x < 1,
)
SHARE = number("> 0 and <= 1", lambda x: 0 < x <= 1)
LAYERS = Rule(
    "all, or an integer >= 0",
    lambda x: x == "all" or is_integer(x),
    lambda x: x == "all" or x >= 0,
)
DEVICES = Rule(
    "an integer >= 1, or auto",
    lambda x: x == "auto" or is_integer(x),
    lambda x: x == "auto" or x >= 1,
)
PACKAGES = list_of(
    pattern("a package", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"), "a list of Python packages"
)
WEIGHTS = one_of("none", "inverse", "inverse_sqrt")
HOW_LOUD = ("warn", "error", "ignore")
