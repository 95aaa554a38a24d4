"""Parameter groups: who decays, and at what rate each learns."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module, factors: Mapping[str, float], lr: float
) -> list[dict[str, Any]]:
    """Put every learning parameter in exactly one group.

    Matrices decay; biases and norms, the one-dimensional parameters, do not (Devlin et al.,
    2019). A parameter's rate is `lr` times its factor.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[parameter.ndim > 1, factors[name]].append(parameter)
    return [
        {"params": params, "lr": lr * factor} | ({} if decays else {"weight_decay": 0.0})
        for (decays, factor), params in sorted(groups.items(), key=lambda item: item[0])
    ]
