"""The sweeps of a command line: `a=1,2`, `choice()`, `range()`, `interval()`, `glob()`, tags."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.config import override_parser
from tunesmith.errors import ConfigError, did_you_mean
from tunesmith.search.space.dimension import Dimension, exact

Options = Callable[[str], Sequence[str]]  # the files of a config group; none if it is no group


def dimension(override: Any, options: Options) -> Dimension:
    """Turn a parsed override of several values into a dimension; raise ConfigError if it is none.

    Whether its values make sense together is not asked here (see `mistakes.py`).
    """
    _refuse_no_dimension(override)
    if override.is_interval_sweep():
        return _interval(override)
    if override.is_range_sweep():
        return _range(override)
    return _choice(override, options)


def _refuse_no_dimension(override: Any) -> None:
    text, sweep = override.input_line, override.value()
    if override.is_delete():
        raise ConfigError("CONF-SWEEP", text, "a key is removed in all trials or in none")
    if getattr(sweep, "shuffle", False):
        fix = "search/sampler=random draws in random order"
        raise ConfigError("CONF-SWEEP", text, "shuffle() has no seed: no two studies agree", fix)
    for tag in sorted(getattr(sweep, "tags", set()) - {"log"}):
        fix = did_you_mean(tag, ["log"]) or "the only tag is log"
        raise ConfigError("CONF-SWEEP", text, f"no such tag as {tag!r}", fix)


def _interval(override: Any) -> Dimension:
    sweep = override.value()
    whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
    return Dimension(
        key=_key(override),
        kind="int" if whole else "float",
        low=sweep.start,
        high=sweep.end,
        log="log" in sweep.tags,
        prefix=_prefix(override),
    )


def _range(override: Any) -> Dimension:
    """Count a range from its low end, and end it at its last value: Hydra leaves out `stop`."""
    sweep = override.value()
    whole = all(isinstance(end, int) for end in (sweep.start, sweep.stop, sweep.step))
    if sweep.step == 0:
        raise ConfigError("CONF-RANGE", override.input_line, "a step of 0 has no end")
    # Decimals, as Dimension counts them: in floats range(0,0.3,0.1) would have four values.
    start, stop, step = exact(sweep.start), exact(sweep.stop), exact(sweep.step)
    count = math.ceil((stop - start) / step)
    if count < 1:
        raise ConfigError("CONF-RANGE", override.input_line, "is an empty range")
    low, high = sorted((start, start + (count - 1) * step))
    kind = int if whole else float
    return Dimension(
        key=_key(override),
        kind="int" if whole else "float",
        low=kind(low),
        high=kind(high),
        step=kind(abs(step)),
        log="log" in sweep.tags,
        prefix=_prefix(override),
    )


def _choice(override: Any, options: Options) -> Dimension:
    group = override.key_or_group
    if override.value_type.name == "GLOB_CHOICE_SWEEP":
        choices = _matching(override, options(group))
    elif "log" in override.value().tags:
        fix = "tag(log, interval(low, high))"
        raise ConfigError("CONF-SWEEP", override.input_line, "choices have no log scale", fix)
    else:
        choices = [
            override._convert_value(value) for value in override_parser.sweep_values(override)
        ]
    return Dimension(
        key=_key(override),
        kind="categorical",
        choices=tuple(choices),
        is_group=bool(options(group)),
        prefix=_prefix(override),
    )


def _matching(override: Any, options: Sequence[str]) -> list[str]:
    """Return the options of a group that a glob() names."""
    text = override.input_line
    if not options:
        raise ConfigError("CONF-SWEEP", text, "glob() chooses among files of a config group")
    found: list[str] = override._value.filter(list(options))
    if not found:
        listed = f"there are {', '.join(options)}"
        raise ConfigError("CONF-GROUP", text, "matches no choice", listed)
    return found


def _key(override: Any) -> str:
    key: str = override.get_key_element()  # with the package of a group: model@teacher
    return key.lstrip("+")


def _prefix(override: Any) -> str:
    return "+" * (override.is_add() + 2 * override.is_force_add())
