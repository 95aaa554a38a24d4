"""Classification: one label per text, or per pair of texts."""

from tunesmith.tasks.bases.single_label import SingleLabel
from tunesmith.tasks.losses import CrossEntropy
from tunesmith.tasks.text.long_text import OF_A_TEXT


class Classification(SingleLabel):
    """Learns the label with a head on the encoder."""

    problem = "single_label_classification"
    cuts = OF_A_TEXT

    loss: CrossEntropy
