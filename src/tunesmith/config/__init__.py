"""A config as a whole: is it right, which run is it, what of it may be written down."""

from tunesmith.config.calls import GIVEN, not_taken
from tunesmith.config.contradictions import mode_of
from tunesmith.config.foreign import read_stored
from tunesmith.config.masking import redacted
from tunesmith.config.mistakes import check
from tunesmith.config.sameness import differences, identity
from tunesmith.config.values import suggestion
from tunesmith.targets import CONF  # the folder of the packaged configs

__all__ = [
    "CONF",
    "GIVEN",
    "check",
    "differences",
    "identity",
    "mode_of",
    "not_taken",
    "read_stored",
    "redacted",
    "suggestion",
]
