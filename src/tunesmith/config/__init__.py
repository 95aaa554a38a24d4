"""A config as a whole: is it right, which run is it, what of it may be written down."""

from tunesmith.config.check import check
from tunesmith.config.check_targets import GIVEN, not_taken
from tunesmith.config.check_values import check_value, suggestion
from tunesmith.config.cross_checks import monitor_of
from tunesmith.config.fingerprint import NOT_IDENTITY, differences, identity
from tunesmith.config.instantiate import CONF  # the folder of the packaged configs
from tunesmith.config.redact import masked_override, masked_value, redacted
from tunesmith.config.saved_config import read_stored

__all__ = [
    "CONF",
    "GIVEN",
    "NOT_IDENTITY",
    "check",
    "check_value",
    "differences",
    "identity",
    "masked_override",
    "masked_value",
    "monitor_of",
    "not_taken",
    "read_stored",
    "redacted",
    "suggestion",
]
