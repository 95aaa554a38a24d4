"""Which parameters of a model learn, and how fast: what every method of `adapt` returns."""

from dataclasses import dataclass

from torch import nn

from tunesmith.tasks.base import Task
from tunesmith.tasks.capabilities import head_names


@dataclass(frozen=True)
class Adaptation:
    """What a method decided."""

    factors: dict[str, float]  # of each learning parameter's rate, by its name
    fixed: list[nn.Module]  # they stay in eval mode: no dropout in front of fixed weights
    cache_gb: float = 0.0  # of disk for what they compute, once for all; 0: in each step


def factors_of(task: Task, head_lr_multiplier: float) -> dict[str, float]:
    """Return the factor of each parameter that learns: 1, of the new head the multiplier."""
    head = head_names(task)
    return {
        name: head_lr_multiplier if name in head else 1.0
        for name, parameter in task.named_parameters()
        if parameter.requires_grad
    }
