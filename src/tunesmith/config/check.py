"""Every mistake that a config shows by itself."""

from tunesmith.config.check_targets import wrong_targets
from tunesmith.config.check_values import missing, wrong_values
from tunesmith.config.cross_checks import cross_field_errors
from tunesmith.config.interpolation import Config, resolve
from tunesmith.config.run_config import RunConfig
from tunesmith.errors import TunesmithError, raise_all


def resolved(composed: Config) -> RunConfig:
    """Return a composed config as a typed one, its interpolations resolved; raise all mistakes."""
    raise_all(check(composed))
    values, _, _ = resolve(composed)
    values.pop("hydra", None)
    return RunConfig.model_validate(values)


def check(composed: Config) -> list[TunesmithError]:
    """Return every mistake that the config shows by itself, each once.

    Targets are imported only where their names or keys are not those that we ship.
    """
    values, found, hidden = resolve(composed)
    values.pop("hydra", None)
    found += wrong_values(values, hidden) + missing(values)
    found += wrong_targets(values)
    found += cross_field_errors(values, {path for path, _ in found})
    return list({str(error): error for _, error in found}.values())
