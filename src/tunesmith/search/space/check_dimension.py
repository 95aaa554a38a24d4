"""What is wrong with a dimension by itself: its range, its choices, a key that is not searched."""

from collections.abc import Iterator
from typing import Any

from tunesmith import config
from tunesmith.config.diagnosis import unknown_choice
from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.search.space.dimension import Dimension, exact, is_number, same
from tunesmith.search.space.parse_cli import Options
from tunesmith.search.space.quoting import quoted

# Of a search, not of a trial.
CONTROL = ("hydra", "search", "space", "executor", "study")
NEVER = dict.fromkeys(CONTROL, "is of the search, not of a trial") | {
    "paths": "says where files go, not what is learnt",
    "name": "names a folder, and decides nothing",
    "logger": "says what is logged, and decides nothing",
    "resume": "goes on with one run",
    "ckpt_path": "goes on with one run",
    "trust": "is for you to decide, not for a search",
    "test": "the test split stays sealed in a search",
    "trainer.pause_at_step": "is how a search pauses its trials",
    "callbacks.checkpoint": "says what a trial is judged by: the same in all of them",
}
SCORES = "scores on other rows do not compare; list its values on a grid"
NEVER_ADAPTIVE = {
    "data": SCORES,
    "task": SCORES,
    "data.path": SCORES,
    "data.config": SCORES,
    "data.validation_file": SCORES,
    "data.limit": SCORES,
    "data.split": SCORES,
}
LENGTH = ("trainer.max_epochs", "trainer.max_steps")


def errors_in(dimension: Dimension, options: Options, adaptive: bool) -> Iterator[TunesmithError]:
    """Yield the mistakes of a dimension that show without composing a config."""
    if refusal := _refusal(dimension, adaptive):
        yield refusal
        return
    own = list(_wrong_range(dimension) if dimension.is_numeric else _wrong_choices(dimension))
    yield from own
    if not own:
        yield from _wrong_values(dimension, options)


def _refusal(dimension: Dimension, adaptive: bool) -> TunesmithError | None:
    key = dimension.key
    why = _reason(key, NEVER) or (_reason(key, NEVER_ADAPTIVE) if adaptive else None)
    if key == "seed":
        fix = "seed=1,2,3 on the command line repeats every trial"
        return ConfigError("CONF-SWEEP", key, "is never searched: the best would be luck", fix)
    if key in LENGTH and adaptive and dimension.is_numeric:
        what = "a longer trial nearly always wins: set it, or list the lengths"
        return ConfigError("CONF-SWEEP", key, what, f"{key}=2,3")
    return ConfigError("CONF-SWEEP", key, f"cannot be searched: {why}") if why else None


def _reason(key: str, refused: dict[str, str]) -> str | None:
    """Look up the key and what it is part of; "data" alone is the group, not all below it."""
    parts = key.replace("/", ".").split(".")
    paths = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    for path in paths:
        if path in refused and (path == key or path not in ("data", "task")):
            return refused[path]
    return None


def _wrong_range(dimension: Dimension) -> Iterator[TunesmithError]:
    low, high, step, where = dimension.low, dimension.high, dimension.step, dimension.key
    for name, value in (("low", low), ("high", high), ("step", step)):
        if value is None and name == "step":
            continue
        if not is_number(value):
            yield ConfigError("CONF-TYPE", where, f"{name}={_shown(value)} is not a finite number")
        elif dimension.kind == "int" and not isinstance(value, int):
            yield ConfigError("CONF-TYPE", where, f"{name}={_shown(value)} is not a whole number")
    if not (is_number(low) and is_number(high)):
        return
    if low > high:
        yield ConfigError("CONF-RANGE", where, f"low={low!r} is above high={high!r}", "swap them")
    if dimension.log and low <= 0:
        what = f"a log range starts above 0, not at low={low!r}"
        yield ConfigError("CONF-RANGE", where, what, "raise low, or leave log out")
    if is_number(step):
        yield from _wrong_step(dimension)


def _wrong_step(dimension: Dimension) -> Iterator[TunesmithError]:
    low, high, step, where = dimension.low, dimension.high, dimension.step, dimension.key
    if dimension.log:
        yield ConfigError("CONF-SPACE", where, "log and step do not go together", "give one")
    if step <= 0:
        yield ConfigError("CONF-RANGE", where, f"step={step!r} must be > 0")
    elif low < high and exact(step) > exact(high) - exact(low):
        width = float(exact(high) - exact(low))
        yield ConfigError("CONF-RANGE", where, f"step={step!r} is wider than the range ({width:g})")


def _wrong_choices(dimension: Dimension) -> Iterator[TunesmithError]:
    choices, where = dimension.choices, dimension.key
    if not choices:
        yield ConfigError("CONF-SPACE", where, "has no choices")
    for i, choice in enumerate(choices):
        if not _is_plain(choice):
            what = f"{type(choice).__name__} is no choice"
            yield ConfigError("CONF-TYPE", where, what, "texts, numbers, true, false, null, lists")
        elif any(same(choice, earlier) for earlier in choices[:i]):
            yield ConfigError("CONF-SPACE", where, f"{_shown(choice)} is listed twice")


def _wrong_values(dimension: Dimension, options: Options) -> Iterator[TunesmithError]:
    for value in dimension.ends():
        if isinstance(value, str) and "${" in value:
            continue  # known once it is composed
        if dimension.is_group:
            group = dimension.key.partition("@")[0]
            error = unknown_choice(group, value, options(group))
        else:
            error = config.check_value(dimension.key, value)
        if error is not None:
            yield _with_way_out(error, dimension, value)


def _with_way_out(error: TunesmithError, dimension: Dimension, value: Any) -> TunesmithError:
    """Say how a range becomes one of whole numbers, where that is what the key wants."""
    is_float = dimension.kind == "float" and float(value).is_integer()
    if not is_float or config.check_value(dimension.key, int(value)) is not None:
        return error
    return ConfigError(error.code, error.where, error.what, "int(interval(low, high)); yaml: int")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _shown(value: Any) -> str:
    return quoted(value) if _is_plain(value) else str(value)
