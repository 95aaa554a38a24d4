"""A config as a whole: is it right, which run is it, what of it may be written down."""

from tunesmith.config.calls import GIVEN, not_taken
from tunesmith.config.contradictions import monitor_of
from tunesmith.config.foreign import read_stored
from tunesmith.config.masking import masked_override, masked_value, redacted
from tunesmith.config.mistakes import check
from tunesmith.config.sameness import NOT_IDENTITY, differences, identity
from tunesmith.config.values import check_value, suggestion
from tunesmith.targets import CONF  # the folder of the packaged configs

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
