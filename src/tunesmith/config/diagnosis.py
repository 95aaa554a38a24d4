"""A command line that Hydra refused: every mistake in it, in the user's words, at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tunesmith import config
from tunesmith.config import hydra_internals, instantiate, override_parser, schema
from tunesmith.config.signatures import arguments
from tunesmith.errors import ConfigError, TunesmithError, did_you_mean
from tunesmith.runtime.options import AnyMapping

# How Hydra refuses what a user wrote, files included. Anything else is a fault, of ours or of
# Hydra's, and passes: it must not be shown as the user's mistake.
REFUSALS = (
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    TunesmithError,
    OSError,
    ValueError,
)


@dataclass
class Diagnosis:
    """What is wrong, and the overrides that are not."""

    loader: Any
    config_name: str
    multirun: bool = False
    mistakes: list[TunesmithError] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


def diagnose(
    overrides: Sequence[str],
    config_name: str = "train",
    conf: Path = config.CONF,
    config_dir: Path | None = None,
    multirun: bool = False,
) -> list[TunesmithError]:
    """Return every mistake of these overrides, and of the config that the good ones make.

    With `multirun` an override may name several values: each is checked, the first is composed.
    """
    if config_dir is not None and not config_dir.is_dir():
        return [ConfigError("CONF-DIR", f"--config-dir {config_dir}", "no such folder")]
    found = Diagnosis(hydra_internals.loader(conf, config_dir), config_name, multirun)
    if found.loader.repository.load_config(config_name) is None:
        known = found.loader.list_groups("") + [file.stem for file in conf.glob("*.yaml")]
        fix = did_you_mean(config_name, known)
        return [ConfigError("CONF-NAME", f"--config-name {config_name}", f"not in {conf}", fix)]
    _sort(found, overrides)
    composed = _compose(found)
    if composed is None:
        return found.mistakes
    for override in found.values:
        _apply(found, composed, override)
    with open_dict(composed):
        composed.pop("hydra", None)
    return found.mistakes + config.check(composed)


def _sort(diagnosis: Diagnosis, overrides: Sequence[str]) -> None:
    """Parse each override by itself, and tell choices of a group from values."""
    for text in overrides:
        try:
            override = override_parser.parse_override(text)
            override.config_loader = diagnosis.loader
            if override.is_sweep_override():
                _sort_sweep(diagnosis, override)
            else:
                _sort_one(diagnosis, override)
        except TunesmithError as error:
            diagnosis.mistakes.append(error)


def _sort_one(diagnosis: Diagnosis, override: Any) -> None:
    if not hydra_internals.is_choice(diagnosis.loader, override):
        diagnosis.values.append(override)
    elif (mistake := _wrong_choice(diagnosis, override)) is not None:
        diagnosis.mistakes.append(mistake)
    else:
        diagnosis.groups.append(override)


def _sort_sweep(diagnosis: Diagnosis, override: Any) -> None:
    """Check each value of several; the first right one stands for them where all is composed."""
    if not diagnosis.multirun:
        raise _sweep(override.input_line)
    mistakes, right = [], []
    for value in override_parser.sweep_values(override):
        single = hydra_internals.with_value(override, value)
        if hydra_internals.is_choice(diagnosis.loader, single):
            mistake = _wrong_choice(diagnosis, single)
        else:
            mistake = config.check_value(override.key_or_group, single.value())
        mistakes += [mistake] if mistake is not None else []
        right += [single] if mistake is None else []
    diagnosis.mistakes += mistakes
    for single in right[:1]:
        _sort_one(diagnosis, single)


def _sweep(text: str) -> TunesmithError:
    key, _, values = text.partition("=")
    return ConfigError(
        "CONF-SWEEP", text, "several values for one run; -m sweeps", f"a list is {key}=[{values}]"
    )


def _wrong_choice(diagnosis: Diagnosis, override: Any) -> TunesmithError | None:
    if override.is_delete():
        return None
    group = override.key_or_group
    return unknown_choice(group, override.value(), diagnosis.loader.get_group_options(group))


def unknown_choice(group: str, value: Any, options: Sequence[str]) -> TunesmithError | None:
    """Compare a group's choice with the files there are."""
    wanted = value if isinstance(value, list) else [value]
    wrong = [str(name) for name in wanted if name is not None and str(name) not in options]
    if value is None and group not in ("experiment", "debug"):
        return ConfigError(
            "CONF-GROUP", f"{group}=null", "a group needs a choice", _listed(options)
        )
    if not wrong:
        return None
    near = did_you_mean(wrong[0], options)
    return ConfigError(
        "CONF-GROUP", f"{group}={wrong[0]}", f"no such choice; there are {', '.join(options)}", near
    )


def _listed(options: Sequence[str]) -> str:
    return f"there are {', '.join(options)}"


def _compose(diagnosis: Diagnosis) -> Any:
    """Compose what the choices make; without those that cannot be made."""
    try:
        return _composed(diagnosis, diagnosis.groups)
    except REFUSALS as error:
        bad = [o for o in diagnosis.groups if _fails(diagnosis, [o])]
        diagnosis.mistakes += [
            _uncomposable(o.input_line, _failure(diagnosis, [o]) or error) for o in bad
        ]
        if not bad:
            diagnosis.mistakes.append(_uncomposable("", error))
            return None
        diagnosis.groups = [o for o in diagnosis.groups if o not in bad]
    try:
        return _composed(diagnosis, diagnosis.groups)
    except REFUSALS as error:  # a third try would say the same
        diagnosis.mistakes.append(_uncomposable("", error))
        return None


def _composed(diagnosis: Diagnosis, overrides: Sequence[Any]) -> Any:
    from hydra.types import RunMode

    lines = [override.input_line for override in overrides]
    return diagnosis.loader.load_configuration(diagnosis.config_name, lines, RunMode.RUN)


def _failure(diagnosis: Diagnosis, overrides: Sequence[Any]) -> Exception | None:
    try:
        _composed(diagnosis, overrides)
    except REFUSALS as error:
        return error
    return None


def _fails(diagnosis: Diagnosis, overrides: Sequence[Any]) -> bool:
    return _failure(diagnosis, overrides) is not None


def _uncomposable(location: str, error: Exception) -> TunesmithError:
    if isinstance(error, TunesmithError):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    plain = [
        line for line in lines if not line.startswith(("To append", "full_key", "object_type"))
    ]
    cause = str(error.__cause__).splitlines()[0] if not plain and error.__cause__ else ""
    return ConfigError(
        "CONF-COMPOSE", location, " ".join(plain[:2]) or cause or type(error).__name__
    )


def _apply(diagnosis: Diagnosis, composed: Any, override: Any) -> None:
    """Set one value; report the key that does not exist."""
    try:
        hydra_internals.set_values([override], composed)
    except (*REFUSALS, TypeError) as error:  # a TypeError for ~list.0: only Hydra runs in here
        diagnosis.mistakes.append(_wrong_key(diagnosis, composed, override, error))


def _wrong_key(
    diagnosis: Diagnosis, composed: Any, override: Any, error: Exception
) -> TunesmithError:
    key = override.key_or_group
    parent, _, last = key.rpartition(".")
    sets = not (override.is_add() or override.is_delete())
    add = f"write +{override.input_line}" if sets else ""
    if add and _is_mapping(key):
        return ConfigError("CONF-KEY", key, "takes keys that are not there yet", add)
    if override.is_add() or _exists(composed, key):
        return _uncomposable(override.input_line, error)
    node: Any = OmegaConf.select(composed, parent) if parent else None
    if OmegaConf.is_dict(node) and instantiate.TARGET in node and not override.is_delete():
        taken = _taken(node[instantiate.TARGET], composed, parent, last, override)
        if taken is not None:
            return taken
    visible = {
        name: composed[name]
        for name in composed
        if name != "hydra" and not OmegaConf.is_missing(composed, name)
    }
    known = [*_paths(visible), *diagnosis.loader.list_groups("")]
    fix = config.suggestion(key, known)
    if add and _is_mapping(parent) and OmegaConf.is_dict(node):
        fix = did_you_mean(key, [f"{parent}.{name}" for name in node]) or add
    return ConfigError("CONF-KEY", key, "no such key", fix)


def _is_mapping(path: str) -> bool:
    return any(key.annotation == AnyMapping for key in schema.packaged_keys().get(path, ()))


def _exists(composed: Any, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    try:
        node: Any = OmegaConf.select(composed, parent) if parent else composed
    except OmegaConfBaseException:
        return False
    return OmegaConf.is_dict(node) and last in node


def _taken(
    name: str, composed: Any, parent: str, last: str, override: Any
) -> TunesmithError | None:
    """Tell a key that the target takes, and that only needs a +, from one that it does not."""
    node: Any = OmegaConf.select(composed, parent)
    keys = [key for key in node if not str(key).startswith("_")]
    if near := did_you_mean(last, keys):
        written = f"{parent}.{near.split(chr(39))[1]}"
        return ConfigError(
            "CONF-KEY", f"{parent}.{last}", "no such key", f"did you mean {written!r}?"
        )
    try:
        takes, _ = arguments(name, composed.get("trust") or [])
    except TunesmithError as error:
        return error
    given = config.PROVIDED.get(parent, set())
    if last in takes and last not in given:
        what = f"not in this config, but {name} takes it"
        return ConfigError("CONF-KEY", f"{parent}.{last}", what, f"write +{override.input_line}")
    return config.unknown_argument(parent, last, name, [n for n in takes if n not in given])


def _paths(node: Any, prefix: str = "") -> list[str]:
    paths = []
    for key in node:
        path = f"{prefix}{key}"
        paths.append(path)
        child = node._get_node(key) if OmegaConf.is_config(node) else node[key]
        if OmegaConf.is_dict(child) and not child._is_none() and not child._is_interpolation():
            paths += _paths(child, f"{path}.")
    return paths
