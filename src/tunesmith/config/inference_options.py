"""Options of a finished run that may be set anew: those that change its answers, not its model."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tunesmith.config import instantiate
from tunesmith.config.check_values import check_value
from tunesmith.errors import ConfigError, did_you_mean


def parse_set_options(words: Sequence[str]) -> dict[str, Any]:
    """Read `task.num_beams=4` as {"task.num_beams": 4}; ConfigError for anything else."""
    parts = [word.partition("=") for word in words]
    for word, (_, sign, _) in zip(words, parts, strict=True):
        if not sign:
            raise ConfigError("CLI", f"--set {word}", "is not of the form task.OPTION=VALUE")
    try:
        return {key: OmegaConf.create(f"value: {value}").value for key, _, value in parts}
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError("CLI", "--set", f"holds a value that cannot be read: {error}") from None


def with_options(cfg: DictConfig, options: Mapping[str, Any]) -> DictConfig:
    """Return the config of a run with other options of its task.

    Raises ConfigError for an option that is not in its task's `inference_options`, and for a
    value that it cannot have.
    """
    if not options:
        return cfg
    cfg = cfg.copy()
    task = instantiate.resolve(cfg.task._target_, cfg.trust)
    free = [f"task.{name}" for name in getattr(task, "inference_options", ())]
    for path, value in options.items():
        if path not in free:
            fix = did_you_mean(path, free) or (f"only {', '.join(free)}" if free else "")
            raise ConfigError("CONF-KEY", path, "cannot be set anew once a run is trained", fix)
        error = check_value(path, value)
        if error is not None:
            raise error
        cfg.task[path.partition(".")[2]] = value
    return cfg
