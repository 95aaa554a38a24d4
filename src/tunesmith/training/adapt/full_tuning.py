"""Every parameter learns."""

from tunesmith.runtime.options import Positive
from tunesmith.tasks.base import Task
from tunesmith.training.adapt.base import Adaptation, factors_of


def full(task: Task, head_lr_multiplier: Positive = 1.0) -> Adaptation:
    """Let every parameter learn."""
    return Adaptation(factors_of(task, head_lr_multiplier), [])
