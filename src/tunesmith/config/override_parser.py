"""One override in Hydra's grammar: parsed, and the values of one that has several."""

import re
from typing import Any

from tunesmith.errors import ConfigError, TunesmithError, did_you_mean

OPTIONS = ("--help", "--composed", "--debug", "--multirun", "--config-dir", "--config-name")


def parse_override(text: str) -> Any:
    """Parse one override by Hydra's grammar; raise ConfigError where it is not one."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_overrides([text])[0]
    except HydraException as error:
        raise _syntax(text, error) from error


def typed_overrides() -> list[str]:
    """Return the overrides of Hydra's command line as typed; none where it does not run.

    Reading them would resolve ${oc.env:TOKEN}, and they are written down.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    if not HydraConfig.initialized():
        return []
    return list(OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))  # type: ignore[arg-type]


def sweep_values(override: Any) -> list[Any]:
    """Return the values of a sweep as the parser gives them; of an interval, both ends."""
    from hydra.errors import HydraException

    if override.is_interval_sweep():
        return [override.value().start, override.value().end]
    try:
        return list(override.sweep_iterator())
    except (HydraException, ValueError) as error:  # range(1,5,0)
        raise ConfigError("CONF-SYNTAX", override.input_line, "has no end") from error


def _syntax(text: str, error: Exception) -> TunesmithError:
    if "=" not in text and not text.startswith("~"):
        return ConfigError("CONF-SYNTAX", text, "is not key=value", did_you_mean(text, OPTIONS))
    reason = re.sub(r"^Error parsing override .*?\n", "", str(error)).splitlines()[0]
    if evaluated := re.match(r"\w+ while evaluating '.*': (.*)", reason):
        return ConfigError("CONF-SYNTAX", text, evaluated[1])
    return ConfigError("CONF-SYNTAX", text, reason, "quote it: \"key='a, b'\"")
