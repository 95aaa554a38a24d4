"""Every mistake that can be told from a config alone."""

from tunesmith.config.check_targets import wrong_targets
from tunesmith.config.check_values import missing, wrong_values
from tunesmith.config.cross_checks import cross_field_errors
from tunesmith.config.interpolation import Config, resolve
from tunesmith.errors import TunesmithError


def check(cfg: Config) -> list[TunesmithError]:
    """Return every mistake that can be told from the config alone, each once.

    Targets are imported only where their names or keys are not those that we ship.
    """
    values, found, hidden = resolve(cfg)
    values.pop("hydra", None)
    found += wrong_values(values, hidden) + missing(values)
    found += wrong_targets(values)
    found += cross_field_errors(values, {path for path, _ in found})
    return list({str(error): error for _, error in found}.values())
