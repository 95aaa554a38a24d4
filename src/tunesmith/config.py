"""A config as a whole: is it right, which run is it, what of it may be written down."""

import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tunesmith import schema, targets, yaml_file
from tunesmith.errors import (
    ConfigError,
    ModelError,
    SafetyError,
    TunesmithError,
    did_you_mean,
    raise_all,
)
from tunesmith.targets import CONF as CONF  # the folder of the packaged configs

Config = DictConfig | Mapping[str, Any]
Found = list[tuple[str, TunesmithError]]  # each mistake with the dotted path that it spoils

MASK = "***"
SECRET = re.compile(
    r"password|passwd|secret|api_?key|credential|token(?!i|s\b|_id|_type)", re.IGNORECASE
)
PASSWORD_IN_URL = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
SHORT = 6  # a shorter secret is masked where it stands, not wherever its letters occur

# Keys that decide nothing of the result: where it is written, what is shown, when it pauses.
NOT_IDENTITY = (
    "paths",
    "logger",
    "resume",
    "trust",
    "space",
    "callbacks.progress",
    "trainer.stop_at_step",
)
# What the program itself hands to a target.
GIVEN = {
    "task": {"model", "tokenizer", "labels", "max_length", "truncation", "loss"},
    "adapt": {"task"},
    "optimizer": {"params"},
    "scheduler": {"optimizer", "steps"},
    "logger": {"run_dir", "purge_step", "save_dir"},
}
BOUND_LATER = ("optimizer", "scheduler")  # these say `_partial_: true`
MODES = dict.fromkeys(
    ("accuracy", "auroc", "exact_match", "f1_macro", "f1_micro", "mcc", "pearson", "spearman"),
    "max",
) | dict.fromkeys(("loss", "mse"), "min")


class _Broken:
    """Stands where a value could not be resolved: already reported, so no rule looks at it."""

    def __repr__(self) -> str:
        return "???"


class _SpoiltError(Exception):
    """A rule asked for a value that is missing or wrong: that was reported already."""


BROKEN = _Broken()


def check(cfg: Config) -> list[TunesmithError]:
    """Return every mistake that can be told from the config alone, each once.

    Targets are imported only where their names or keys are not those that we ship.
    """
    values, found, hidden = _resolve(cfg)
    values.pop("hydra", None)
    found += _wrong_values(values, hidden) + _missing(values)
    found += _wrong_targets(values)
    found += _contradictions(values, {path for path, _ in found})
    return list({str(error): error for _, error in found}.values())


def check_value(path: str, value: Any) -> TunesmithError | None:
    """Return the mistake of one value by itself, where the key has a rule."""
    shown = MASK if _names_secret(path) else _shown(value)
    rule = schema.RULES.get(path)
    if rule is None:
        return _not_finite(path, value)
    return rule.check(path, value, shown)


def mode_of(metric: str) -> str | None:
    """Return "max" or "min" for a metric, with or without its `val/`; None if it is not known."""
    return MODES.get(metric.removeprefix("val/"))


def monitor_of(cfg: Any, task: Any) -> tuple[str, str]:
    """Return the score that says "best", and whether more or less of it is better."""
    how = cfg.callbacks.checkpoint
    name = how.monitor or f"val/{task.monitor}"
    known = task.mode if name == f"val/{task.monitor}" else mode_of(name.removeprefix("val/"))
    return name, how.mode or known or "max"


def suggestion(path: str, known: Iterable[str]) -> str:
    """Guess which key was meant: one spelt nearly so, or one of that name in another group."""
    known = list(known)
    near = did_you_mean(path, known)
    last = path.rpartition(".")[2]
    same = sorted(key for key in known if key.endswith(f".{last}"))
    if same and ("." not in path or not near):
        return f"did you mean {same[0]!r}?"
    return near


def identity(cfg: Config) -> str:
    """Return the SHA-256 of all that decides the result; secrets are not part of it."""
    text = json.dumps(_deciding(cfg), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(a: Config, b: Config) -> list[str]:
    """Name each key that gives the two another identity, with both values, secrets masked."""
    left, right = _deciding(a), _deciding(b)
    absent = "absent"
    return [
        f"{key}: {left.get(key, absent)} -> {right.get(key, absent)}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key, absent) != right.get(key, absent)
    ]


def redacted(cfg: Config) -> dict[str, Any]:
    """Return a plain, resolved dict with `***` for secrets, fit to be written down.

    Masked are the values of keys that name a secret, passwords in URLs, and whatever came from
    the environment (`${oc.env:X}`), also where another key repeats it.
    """
    values, _, hidden = _resolve(cfg)
    values.pop("hydra", None)
    secrets = {str(value) for path, value in _leaves(values) if path in hidden}
    return {key: _masked(key, value, secrets) for key, value in values.items()}


def masked_override(text: str) -> str:
    """Return an override fit to be written down: secrets by their key, passwords in URLs."""
    key, equal, _ = text.partition("=")
    return f"{key}={MASK}" if equal and _names_secret(key) else _without_passwords(text)


def read_stored(path: Path, trust: Collection[str] = ()) -> dict[str, Any]:
    """Read a run's config.yaml as data from a stranger: nothing in it is resolved or imported.

    What it trusts itself counts for nothing; `trust` names the packages trusted anew. Raises
    ModelError where there is none, SafetyError where it asks for more than data may.
    """
    if not path.is_file():
        raise ModelError("RUN", str(path.parent), f"no {path.name}")
    if path.is_symlink():
        raise SafetyError("UNSAFE-PATH", str(path), "is a link out of the run; refused")
    try:
        root = yaml_file.scan(path, too_large=SafetyError)
    except ConfigError as error:
        raise ModelError(error.code, error.where, error.what) from error
    if root is None or root.id != "mapping":
        raise ModelError("RUN", str(path), "is not the config of a run")
    for text in yaml_file.scalars(root):
        if "${" in text:
            raise SafetyError(
                "UNSAFE-CONFIG", str(path), "a stored config must not interpolate", text
            )
        if "\0" in text:
            raise SafetyError("UNSAFE-CONFIG", str(path), "holds a NUL character; refused")
    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    raise_all(targets.check_stored(values, trust))
    return values | {"trust": list(trust)}


# Values: unknown keys, types, ranges


def _wrong_values(values: dict[str, Any], hidden: set[str]) -> Found:
    found: Found = []
    for path, value in _schema_nodes(values):
        shown = MASK if path in hidden or _names_secret(path) else _shown(value)
        rule = schema.RULES.get(path)
        if isinstance(value, _Broken):
            continue
        if rule is not None:
            error = rule.check(path, value, shown)
        elif path in schema.branches():
            error = ConfigError("CONF-TYPE", f"{path}={shown}", "must be a mapping of keys")
        elif path.partition(".")[0] in (*schema.TARGET_GROUPS, schema.LOGGERS):
            error = _not_finite(path, value)
        else:
            error = ConfigError("CONF-KEY", path, "no such key", suggestion(path, schema.RULES))
        if error is not None:
            found.append((path, error))
    return found


def _schema_nodes(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of each leaf; what a rule or no rule takes whole is a leaf."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path not in schema.RULES and (value or prefix):
            yield from _schema_nodes(value, f"{path}.")
        elif not (isinstance(value, Mapping) and not value and path not in schema.RULES):
            yield path, value


def _not_finite(path: str, value: Any) -> TunesmithError | None:
    if isinstance(value, float) and not math.isfinite(value):
        return ConfigError("CONF-RANGE", f"{path}={value}", "must be a finite number")
    return None


def _missing(values: Mapping[str, Any]) -> Found:
    paths = [*schema.needed(), *schema.TARGET_GROUPS, schema.LOGGERS]
    absent = dict.fromkeys(gap for path in paths if (gap := _first_gap(values, path)) is not None)
    return [
        (gap, ConfigError("CONF-MISSING", gap, "is not in the config", _way_in(gap)))
        for gap in absent
    ]


def _first_gap(values: Any, path: str) -> str | None:
    """Return the shortest part of a path that the values lack."""
    parts = path.split(".")
    for i, part in enumerate(parts):
        if not isinstance(values, Mapping):
            return None  # reported as not a mapping
        lacks = part not in values or (values[part] is None and i == 0 and _is_group(part))
        if lacks:
            return ".".join(parts[: i + 1])
        values = values[part]
    return None


def _is_group(name: str) -> bool:
    return name in (*schema.branches(), *schema.TARGET_GROUPS, schema.LOGGERS)


def _way_in(path: str) -> str:
    group = path.partition(".")[0]
    if path == schema.LOGGERS:
        return "logger=none logs nowhere"
    options = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    if path == group and options:
        return f"choose one: {', '.join(options)}"
    return (
        "do not remove it" if "." not in path else f"a {group}/*.yaml of yours should build on ours"
    )


# Targets: trusted, and called with names that they take


def _wrong_targets(values: Mapping[str, Any]) -> Found:
    trust = _trust_of(values)
    found: Found = [(error.where, error) for error in targets.check(values, trust)]
    for group, path, node in _target_nodes(values):
        name = node.get(targets.TARGET) if isinstance(node, Mapping) else None
        if isinstance(name, _Broken) or isinstance(node, _Broken):
            continue
        if not isinstance(name, str):
            error = ConfigError("CONF-TARGET", path, "needs a _target_: what to build")
            found.append((path, error))
        elif targets.is_trusted(name, trust):
            found += [(path, error) for error in _wrong_call(group, path, node, trust)]
    return found


def _target_nodes(values: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for group in schema.TARGET_GROUPS:
        if values.get(group) is not None:
            yield group, group, values[group]
    loggers = values.get(schema.LOGGERS)
    if isinstance(loggers, Mapping):
        for name, node in loggers.items():
            yield schema.LOGGERS, f"{schema.LOGGERS}.{name}", node


def _wrong_call(
    group: str, path: str, node: Mapping[str, Any], trust: Collection[str]
) -> Iterator[TunesmithError]:
    """Compare a node's keys with the names that its target takes."""
    name = node[targets.TARGET]
    if bool(node.get(targets.PARTIAL)) != (group in BOUND_LATER):
        must = "must be true" if group in BOUND_LATER else "must not be set"
        yield ConfigError("CONF-TARGET", f"{path}.{targets.PARTIAL}", must)
    beside = {p.partition(".")[2] for p in schema.BESIDE_TARGET if p.startswith(f"{group}.")}
    keys = set(node) - {targets.TARGET, targets.PARTIAL} - beside
    special = sorted(key for key in keys if str(key).startswith("_") and str(key).endswith("_"))
    for key in special:
        yield ConfigError("CONF-KEY", f"{path}.{key}", "only _target_ and _partial_ are supported")
    ours = targets.shipped().get(name, frozenset()) - {targets.TARGET, targets.PARTIAL} - beside
    if keys == ours and name in targets.shipped():
        return  # a test holds the shipped ones against their signatures: no import needed
    try:
        takes, takes_any = targets.parameters(targets.resolve(name, trust))
    except TunesmithError as error:
        yield error
        return
    given = GIVEN.get(group, set())
    for key in sorted(keys - set(special) - (takes.keys() - given), key=str):
        if not takes_any or key in given:
            yield not_taken(path, key, name, [n for n in takes if n not in given])
    for key, required in takes.items():
        if required and key not in keys | given and group != schema.LOGGERS:
            yield ConfigError(
                "CONF-MISSING", f"{path}.{key}", f"{name} needs it", f"+{path}.{key}=..."
            )


def not_taken(path: str, key: str, name: str, takes: Iterable[str]) -> ConfigError:
    """Say that a target does not take a key."""
    near = did_you_mean(key, takes)
    return ConfigError(
        "CONF-KEY", f"{path}.{key}", f"{name} takes no {key!r}", near or f"remove it: ~{path}.{key}"
    )


def _trust_of(values: Mapping[str, Any]) -> list[str]:
    trust = values.get("trust")
    return [p for p in trust if isinstance(p, str) and p] if isinstance(trust, list) else []


# Contradictions: values that are right alone and wrong together


def _contradictions(values: Mapping[str, Any], spoilt: set[str]) -> Found:
    def get(path: str) -> Any:
        value: Any = values
        for part in path.split("."):
            value = value.get(part, BROKEN) if isinstance(value, Mapping) else BROKEN
        if isinstance(value, _Broken) or any(path.startswith(bad) for bad in spoilt):
            raise _SpoiltError
        return value

    found: Found = []
    for rule in (_splits, _folds, _ends, _starts, _rows, _wsd, _nesterov, _best, _plateau, _loss):
        try:
            found += [(error.where, error) for error in rule(get)]
        except _SpoiltError:
            continue
    return found


Get = Callable[[str], Any]
Errors = Iterator[TunesmithError]


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


def _ends(get: Get) -> Errors:
    if get("trainer.max_epochs") is None and get("trainer.max_steps") is None:
        yield ConfigError(
            "CONF-END", "trainer", "max_epochs and max_steps are both null", "set one"
        )


def _starts(get: Get) -> Errors:
    if get("resume") is not None and get("ckpt_path") is not None:
        yield ConfigError(
            "CONF-BOTH",
            "resume, ckpt_path",
            "resume goes on with a run, ckpt_path starts one",
            "give one",
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
        yield from _wrong_mode(path, monitor, mode, task)
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
        yield from _wrong_mode("scheduler", monitor, get("scheduler.mode"), task)


def _wrong_mode(path: str, monitor: str, mode: str | None, task: Any) -> Errors:
    metric = monitor.removeprefix("val/")
    known = mode_of(metric) or (task.mode if metric == task.monitor else None)
    if known is None and mode is None:
        yield ConfigError(
            "CONF-MODE", f"{path}.mode", f"is {monitor} better high or low?", "set max or min"
        )
    elif known is not None and mode not in (None, known):
        better = "higher" if known == "max" else "lower"
        yield ConfigError(
            "CONF-MODE", f"{path}.mode={mode}", f"{monitor} is better when {better}", f"use {known}"
        )


def _no_metric(where: str, monitor: str, task: Any) -> TunesmithError:
    names = [f"val/{name}" for name in (*task.metric_names, "loss")]
    fix = schema.nearest(f"val/{monitor.removeprefix('val/')}", names)
    return ConfigError("CONF-MONITOR", where, f"the task has {', '.join(names)}", fix)


def _is_metric(monitor: str, task: Any) -> bool:
    return monitor in {f"val/{name}" for name in (*task.metric_names, "loss")}


def _loss(get: Get) -> Errors:
    names = get("task._target_"), get("loss._target_")
    if names in _shipped_pairs():
        return
    task, loss = (targets.resolve(name, get("trust")) for name in names)
    takes, problem = getattr(loss, "takes", None), getattr(task, "problem", None)
    if takes is not None and takes != problem:
        yield ConfigError("CONF-LOSS", f"loss={names[1]}", f"is for {takes}, the task is {problem}")


def _task(get: Get) -> Any:
    try:
        task = targets.resolve(get("task._target_"), get("trust"))
    except TunesmithError:
        raise _SpoiltError from None
    if not hasattr(task, "metric_names"):
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
        pairs.add((node["task"][targets.TARGET], loss[targets.TARGET]))
    return frozenset(pairs)


# Plain values


def _resolve(cfg: Config) -> tuple[dict[str, Any], Found, set[str]]:
    """Return plain values, what could not be resolved, and the paths fed by the environment."""
    node = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(dict(cfg))
    found: Found = []
    hidden: set[str] = set()
    return _plain(node, "", found, hidden), found, hidden


def _plain(node: Any, path: str, found: Found, hidden: set[str]) -> Any:
    if path.count(".") > yaml_file.DEEPEST:
        raise ConfigError("CONF-SIZE", path[:60], f"deeper than {yaml_file.DEEPEST}")
    if isinstance(node, DictConfig):
        keys: list[Any] = list(node.keys())
        return {k: _value(node, k, f"{path}.{k}" if path else str(k), found, hidden) for k in keys}
    if isinstance(node, ListConfig):
        return [_value(node, i, f"{path}.{i}", found, hidden) for i in range(len(node))]
    return node


def _value(node: Any, key: Any, path: str, found: Found, hidden: set[str]) -> Any:
    child = node._get_node(key)
    raw = child._value() if child is not None else None
    if isinstance(raw, str) and "oc.env" in raw and child._is_interpolation():
        hidden.add(path)
    if OmegaConf.is_missing(node, key):
        if not path.startswith(f"{schema.LOGGERS}."):  # the run fills those in
            error = ConfigError("CONF-MISSING", path, "has no value yet", f"give one: {path}=...")
            found.append((path, error))
        return BROKEN if not path.startswith(f"{schema.LOGGERS}.") else raw
    try:
        value = node[key]
    except OmegaConfBaseException as error:
        found.append((path, _unresolved(path, raw, error)))
        return BROKEN
    return _plain(value, path, found, hidden)


def _unresolved(path: str, raw: Any, error: Exception) -> TunesmithError:
    unset = re.search(r"Environment variable '(.*?)' not found", str(error))
    if unset:
        return ConfigError("CONF-ENV", path, f"environment variable {unset[1]} is not set")
    return ConfigError("CONF-INTERPOLATION", f"{path}={raw!r}", str(error).splitlines()[0])


def _deciding(cfg: Config) -> dict[str, Any]:
    """Flatten what decides the result into dotted keys; a list is one value."""
    return {
        path: value
        for path, value in _leaves(redacted(cfg))
        if not any(path == key or path.startswith(f"{key}.") for key in NOT_IDENTITY)
    }


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and (node or not path):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _masked(key: Any, value: Any, secrets: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _masked(k, v, secrets) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(key, v, secrets) for v in value]
    if isinstance(value, _Broken):
        return "???"
    if value is None or isinstance(value, bool):
        return value
    if _names_secret(str(key)) or str(value) in secrets:
        return MASK
    if not isinstance(value, str):
        return value
    for secret in sorted((s for s in secrets if len(s) >= SHORT), key=len, reverse=True):
        value = value.replace(secret, MASK)
    return _without_passwords(value)


def _without_passwords(text: str) -> str:
    return PASSWORD_IN_URL.sub(rf"\1:{MASK}@", text)


def _names_secret(path: str) -> bool:
    return SECRET.search(path.rpartition(".")[2]) is not None


def _shown(value: Any) -> str:
    """Write a value as one would type it."""
    typed = {None: "null", True: "true", False: "false"}
    is_word = value is None or isinstance(value, bool)
    text = _without_passwords(typed[value] if is_word else str(value))
    return text if len(text) <= 60 else f"{text[:59]}…"
