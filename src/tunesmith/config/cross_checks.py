"""Values that are right alone and wrong together."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from tunesmith.config import instantiate
from tunesmith.config.check_values import nearest
from tunesmith.config.instantiate import CONF
from tunesmith.config.interpolation import UNRESOLVED, Found, Unresolved
from tunesmith.errors import ConfigError, TunesmithError, did_you_mean

CONFIRM = "callbacks.checkpoint.allow_worst_as_best"
Get = Callable[[str], Any]
Errors = Iterator[TunesmithError]


class _SpoiltError(Exception):
    """A rule asked for a value that is missing or wrong: that was reported already."""


def cross_field_errors(values: Mapping[str, Any], spoilt: set[str]) -> Found:
    """Ask each rule of this file; one that needs a `spoilt` path (or one below it) is left out."""

    def get(path: str) -> Any:
        value: Any = values
        for part in path.split("."):
            value = value.get(part, UNRESOLVED) if isinstance(value, Mapping) else UNRESOLVED
        if isinstance(value, Unresolved) or any(path.startswith(bad) for bad in spoilt):
            raise _SpoiltError
        return value

    found: Found = []
    rules_of_rows = (_splits, _folds, _languages, _rows)
    for rule in (*rules_of_rows, _ends, _wsd, _nesterov, _best, _plateau, _loss):
        try:
            found += [(error.where, error) for error in rule(get)]
        except _SpoiltError:
            continue
    return found


def mode_of(metric: str, task: Any) -> str | None:
    """Return "max" or "min" for a metric of a task, with or without its `val/`; None: not known."""
    name = metric.removeprefix("val/")
    return "min" if name == "loss" else task.metrics.get(name)


def monitor_of(composed: Any, task: Any) -> tuple[str, str]:
    """Return the score that says "best", and whether more or less of it is better."""
    how = composed.callbacks.checkpoint
    name = how.monitor or f"val/{task.monitor}"
    return name, how.mode or mode_of(name, task) or "max"


def _splits(get: Get) -> Errors:
    share = get("data.split.validation") + get("data.split.test")
    if share >= 1:
        yield ConfigError(
            "CONF-SPLIT", "data.split", f"validation + test = {share:g} leave no rows to train on"
        )


def _folds(get: Get) -> Errors:
    fold, folds = get("data.split.fold"), get("data.split.folds")
    if folds is not None and fold >= folds:
        yield ConfigError("CONF-RANGE", f"data.split.fold={fold}", f"must be < folds ({folds})")


def _languages(get: Get) -> Errors:
    there, temperature = get("data.languages"), get("data.language_temperature")
    if temperature != 1 and there is None and get("data.language") is None:
        what = "no column says a row's language: set data.language or data.languages"
        yield ConfigError("CONF-LANGUAGE", f"data.language_temperature={temperature:g}", what)
    for key in ("data.languages", "data.train_languages", "data.validation_languages"):
        named = get(key)
        if named is not None and not named:
            yield ConfigError("CONF-LANGUAGE", f"{key}=[]", "names no language", "null: all")
        for name in [name for name in named or () if name not in (there or named)]:
            what = f"data.languages has no {name!r}"
            yield ConfigError("CONF-LANGUAGE", key, what, did_you_mean(str(name), there))


def _ends(get: Get) -> Errors:
    if get("trainer.max_epochs") is None and get("trainer.max_steps") is None:
        yield ConfigError(
            "CONF-END", "trainer", "max_epochs and max_steps are both null", "set one"
        )


def _rows(get: Get) -> Errors:
    if get("data.path") is None and get("data.train_file") is None:
        yield ConfigError(
            "CONF-MISSING", "data.train_file", "no rows to learn from", "or set data.path"
        )


def _wsd(get: Get) -> Errors:
    if get("scheduler.warmup") + get("scheduler.decay") > 1:
        yield ConfigError("CONF-RANGE", "scheduler", "warmup + decay must be <= 1, of all steps")


def _nesterov(get: Get) -> Errors:
    if get("optimizer.nesterov") and not get("optimizer.momentum"):
        yield ConfigError("CONF-RANGE", "optimizer.nesterov=True", "needs optimizer.momentum > 0")


def _best(get: Get) -> Errors:
    path = "callbacks.checkpoint"
    monitor, mode = get(f"{path}.monitor"), get(f"{path}.mode")
    if monitor is None and mode is None:
        return  # the task's own
    task = _task(get)
    monitor = monitor or f"val/{task.monitor}"
    if _is_metric(monitor, task):
        yield from _wrong_mode(get, path, monitor, mode, task)
    else:
        yield _no_metric(f"{path}.monitor={monitor}", monitor, task)


def _plateau(get: Get) -> Errors:
    monitor = get("scheduler.monitor")
    reacts = get("scheduler._target_").endswith(".ReduceLROnPlateau")
    if monitor is None and reacts:
        yield ConfigError("CONF-MISSING", "scheduler.monitor", "ReduceLROnPlateau follows a score")
    if monitor is None:
        return
    task = _task(get)
    if not _is_metric(monitor, task):
        yield _no_metric(f"scheduler.monitor={monitor}", monitor, task)
    elif reacts:
        yield from _wrong_mode(get, "scheduler", monitor, get("scheduler.mode"), task)


def _wrong_mode(get: Get, path: str, monitor: str, mode: str | None, task: Any) -> Errors:
    known = mode_of(monitor, task)
    if mode not in (None, known) and not get(CONFIRM):
        what = f"{monitor} is better when {'higher' if known == 'max' else 'lower'}"
        fix = f"use {known}, or {CONFIRM}=true if it is meant"
        yield ConfigError("CONF-MODE", f"{path}.mode={mode}", what, fix)


def _no_metric(location: str, monitor: str, task: Any) -> TunesmithError:
    names = [f"val/{name}" for name in (*task.metrics, "loss")]
    fix = nearest(f"val/{monitor.removeprefix('val/')}", names)
    return ConfigError("CONF-MONITOR", location, f"the task has {', '.join(names)}", fix)


def _is_metric(monitor: str, task: Any) -> bool:
    return monitor in {f"val/{name}" for name in (*task.metrics, "loss")}


def _loss(get: Get) -> Errors:
    names = get("task._target_"), get("loss._target_")
    if names in _shipped_pairs():
        return
    task, loss = (instantiate.resolve(name, get("trust")) for name in names)
    losses = getattr(task, "losses", ())
    is_ours = inspect.isclass(loss) and loss.__module__.startswith("tunesmith.")
    if is_ours and losses and not issubclass(loss, losses):
        what = f"{task.__name__} learns by {' or '.join(one.__name__ for one in losses)}"
        yield ConfigError("CONF-LOSS", f"loss={names[1]}", what)


def _task(get: Get) -> Any:
    try:
        task = instantiate.resolve(get("task._target_"), get("trust"))
    except TunesmithError:
        raise _SpoiltError from None
    if not hasattr(task, "metrics"):
        raise _SpoiltError
    return task


@functools.cache
def _shipped_pairs() -> frozenset[tuple[str, str]]:
    """Return which loss each conf/task/*.yaml brings with it, as (task, loss) targets."""
    usual = "cross_entropy"  # of conf/train.yaml; a test composes every task
    pairs = set()
    for file in (CONF / "task").glob("*.yaml"):
        node: Any = OmegaConf.to_container(OmegaConf.load(file))
        own = [d["override /loss"] for d in node.get("defaults", []) if "override /loss" in d]
        loss: Any = OmegaConf.load(CONF / "loss" / f"{(own or [usual])[0]}.yaml")
        pairs.add((node["task"][instantiate.TARGET], loss[instantiate.TARGET]))
    return frozenset(pairs)
