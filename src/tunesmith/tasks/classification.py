"""Classification: one label per text, or per pair of texts."""

from tunesmith.models import heads
from tunesmith.tasks.bases.single_label import SingleLabel
from tunesmith.tasks.capabilities import Capturable, TruncatesLongTexts
from tunesmith.tasks.losses import CrossEntropy
from tunesmith.tasks.text.long_text import OF_A_TEXT


class Classification(SingleLabel, TruncatesLongTexts, Capturable):
    """Learns the label with a head on the encoder."""

    head = heads.SINGLE_LABEL
    losses = (CrossEntropy,)
    truncation_modes = OF_A_TEXT

    loss: CrossEntropy
