"""A config as a whole: is it right, which run is it, what of it may be written down."""

from tunesmith.config.check import check, resolved
from tunesmith.config.check_targets import unknown_argument
from tunesmith.config.check_values import check_value, suggestion, typed
from tunesmith.config.cross_checks import monitor_of
from tunesmith.config.fingerprint import NOT_HASHED, config_diff, config_hash
from tunesmith.config.instantiate import CONF  # the folder of the packaged configs
from tunesmith.config.redact import mask_override, mask_value, redact_config, refuse_masked
from tunesmith.config.run_config import RunConfig
from tunesmith.config.saved_config import read_run_config, read_saved_config, refuse_other_version
from tunesmith.config.signatures import PROVIDED

__all__ = [
    "CONF",
    "NOT_HASHED",
    "PROVIDED",
    "RunConfig",
    "check",
    "check_value",
    "config_diff",
    "config_hash",
    "mask_override",
    "mask_value",
    "monitor_of",
    "read_run_config",
    "read_saved_config",
    "redact_config",
    "refuse_masked",
    "refuse_other_version",
    "resolved",
    "suggestion",
    "typed",
    "unknown_argument",
]
