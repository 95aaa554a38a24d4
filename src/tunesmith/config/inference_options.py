"""Options of a finished run that may be changed: those of its answers, not of its model."""

from collections.abc import Mapping, Sequence
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
from tunesmith.errors import ConfigError, did_you_mean
from tunesmith.runtime.options import keys_of

# Options of `data` that say how a file is read: another file may be of another form.
FORM = ("format", "sep", "quoting", "header", "column_names", "encoding", "encoding_errors")
READING = (
    *FORM,
    *("label_separator", "label_from", "media", *COLUMNS),
)


def parse_set_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Read `task.num_beams=4` as {"task.num_beams": 4}; ConfigError for anything else."""
    parts = [word.partition("=") for word in arguments]
    for word, (_, sign, _) in zip(arguments, parts, strict=True):
        if not sign:
            raise ConfigError("CLI", f"--set {word}", "is not of the form task.OPTION=VALUE")
    try:
        return {key: OmegaConf.create(f"value: {value}").value for key, _, value in parts}
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError("CLI", "--set", f"holds a value that cannot be read: {error}") from None


def file_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Read `data.sep=;` as {"sep": ";"}: options of how a file is read, in the form they have.

    Raises ConfigError for another key and for a value that it cannot have.
    """
    keys = {f"data.{key.path}": key for key in keys_of(DataOptions) if key.path in FORM}
    values = {}
    for path, value in parse_set_options(arguments).items():
        if path not in keys:
            fix = did_you_mean(path, keys) or f"only {', '.join(keys)}"
            raise ConfigError("CONF-KEY", path, "does not say how a file is read", fix)
        value = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        error = violation(keys[path], value, str(value))
        if error is not None:
            raise error
        values[path.removeprefix("data.")] = tuple(value) if isinstance(value, list) else value
    return values


def with_options(config: RunConfig, options: Mapping[str, Any]) -> RunConfig:
    """Return the config of a run with other options of its task, or of how a file is read.

    Raises ConfigError for an option that is neither in its task's `inference_options` nor in
    READING, and for a value that it cannot have.
    """
    if not options:
        return config
    name = config.task[instantiate.TARGET]
    task = instantiate.resolve(name, config.trust)
    free = [f"task.{option}" for option in getattr(task, "inference_options", ())]
    keys = argument_keys("task", name, config.trust)
    reading = {f"data.{key.path}": key for key in keys_of(DataOptions) if key.path in READING}
    keys = {**keys, **reading}
    changes: dict[str, dict[str, Any]] = {"task": {}, "data": {}}
    for path, value in options.items():
        if path not in (*free, *reading):
            of_files = "data.*"
            fix = did_you_mean(path, [*free, *reading]) or f"only {', '.join([*free, of_files])}"
            raise ConfigError("CONF-KEY", path, "cannot be set once a run is trained", fix)
        error = violation(keys[path], value, str(value)) if path in keys else None
        if error is not None:
            raise error
        group, _, option = path.partition(".")
        changes[group][option] = value
    config = config.model_copy(update={"task": config.task | changes["task"]})
    return config.with_options("data", **changes["data"])
