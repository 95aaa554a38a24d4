"""Options of a finished run that may be changed: those of its answers, not of its model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tunesmith.config import instantiate
from tunesmith.config.check_values import violation
from tunesmith.config.run_config import RunConfig
from tunesmith.config.signatures import argument_keys
from tunesmith.data.columns import COLUMNS
from tunesmith.data.options import DataOptions
from tunesmith.data.sources.file_layout import FileFormat
from tunesmith.errors import ConfigError, did_you_mean
from tunesmith.runtime.options import Key, keys_of

# Options of `data` that say how a file is read: another file may be of another form.
FORM = tuple(field.name for field in fields(FileFormat))
READING = (*FORM, "label_separator", "label_from", "media", *COLUMNS)


def parse_set_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Read `task.num_beams=4` as {"task.num_beams": 4}; ConfigError for anything else."""
    parts = [word.partition("=") for word in arguments]
    for word, (_, sign, _) in zip(arguments, parts, strict=True):
        if not sign:
            raise ConfigError("CLI", f"--set {word}", "is not of the form task.OPTION=VALUE")
    try:
        read = {key: OmegaConf.create(f"value: {value}") for key, _, value in parts}
        return {key: OmegaConf.to_container(node)["value"] for key, node in read.items()}  # type: ignore[call-overload,index]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError("CLI", "--set", f"holds a value that cannot be read: {error}") from None


def file_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Read `data.sep=;` as {"sep": ";"}: options of how a file is read.

    Raises ConfigError for another key and for a value that it cannot have.
    """
    keys, options = _keys_of_data(FORM), parse_set_options(arguments)
    _check(options, keys, "does not say how a file is read", f"only {', '.join(keys)}")
    return {path.removeprefix("data."): value for path, value in options.items()}


def with_options(config: RunConfig, options: Mapping[str, Any]) -> RunConfig:
    """Return the config of a run with other options of its task, or of how a file is read.

    Raises ConfigError for an option that is neither in its task's `inference_options` nor in
    READING, and for a value that it cannot have.
    """
    if not options:
        return config
    name = config.task[instantiate.TARGET]
    free = getattr(instantiate.resolve(name, config.trust), "inference_options", ())
    rules = argument_keys("task", name, config.trust)
    of_task = {f"task.{option}": rules.get(f"task.{option}") for option in free}
    fix = f"only {', '.join([*of_task, 'data.*'])}"
    _check(
        options, {**of_task, **_keys_of_data(READING)}, "cannot be set once a run is trained", fix
    )
    changes: dict[str, dict[str, Any]] = {"task": {}, "data": {}}
    for path, value in options.items():
        group, _, option = path.partition(".")
        changes[group][option] = value
    config = config.model_copy(update={"task": config.task | changes["task"]})
    return config.with_options("data", **changes["data"])


def _keys_of_data(names: Collection[str]) -> dict[str, Key | None]:
    return {f"data.{key.path}": key for key in keys_of(DataOptions) if key.path in names}


def _check(
    options: Mapping[str, Any], keys: Mapping[str, Key | None], refusal: str, fix: str
) -> None:
    """Raise ConfigError for a key that is none of these, and for a value against its rule."""
    for path, value in options.items():
        if path not in keys:
            raise ConfigError("CONF-KEY", path, refusal, did_you_mean(path, keys) or fix)
        key = keys[path]
        error = violation(key, value, str(value)) if key is not None else None
        if error is not None:
            raise error
