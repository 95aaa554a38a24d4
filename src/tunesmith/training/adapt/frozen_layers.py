"""The embeddings and the first layers keep their pretrained weights."""

from torch import nn

from tunesmith.errors import ConfigError
from tunesmith.models.encoder import embeddings, encoder_layers
from tunesmith.runtime.options import LayerCount, NonNegative, Positive
from tunesmith.tasks.base import Task
from tunesmith.tasks.capabilities import encoders_of, head_names
from tunesmith.training.adapt.base import Adaptation, factors_of


def frozen(
    task: Task,
    layers: LayerCount = "all",
    head_lr_multiplier: Positive = 1.0,
    cache_gb: NonNegative = 4.0,
) -> Adaptation:
    """Fix the embeddings and the first `layers` encoder blocks; "all" leaves only the head."""
    fixed = _fixed_modules(task, layers)
    head = head_names(task)
    names = {id(p): name for name, p in task.named_parameters()}
    for module in fixed:
        module.eval()
        for parameter in module.parameters():
            if names[id(parameter)] not in head:
                parameter.requires_grad_(False)
    factors = factors_of(task, head_lr_multiplier)
    if not factors:
        what = "the task has no head, so nothing is left to learn"
        raise ConfigError("CONF-RANGE", f"adapt.layers={layers}", what, "fix fewer layers")
    return Adaptation(factors, fixed, cache_gb)


def _fixed_modules(task: Task, count: int | str) -> list[nn.Module]:
    if count == "all":
        return encoders_of(task)
    blocks = encoder_layers(task.model)
    if not isinstance(count, int) or not 0 <= count <= len(blocks):
        raise ConfigError(
            "CONF-RANGE", f"adapt.layers={count}", f"this model has {len(blocks)} layers"
        )
    return [embeddings(task.model), *blocks[:count]]
