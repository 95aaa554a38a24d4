"""Classification: one label per text, or per pair of texts."""

from tunesmith.loss import CrossEntropy
from tunesmith.tasks.one_label import OneLabel
from tunesmith.tasks.windows import OF_A_TEXT


class Classification(OneLabel):
    """Learns the label with a head on the encoder."""

    problem = "single_label_classification"
    cuts = OF_A_TEXT

    loss: CrossEntropy
