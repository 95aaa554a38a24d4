"""Clip gradients by their norm."""

from collections.abc import Sequence

from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> None:
    """Scale all gradients so that their norm together is `max_norm` at most, in place.

    To the bit as torch's `clip_grad_norm_`, which multiplies them where it need not, too. On a
    GPU this does so as well: to ask would wait for it.
    """
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.device.type == "cpu" and max_norm / (norm + 1e-6) >= 1:  # as torch has it
        return
    clip_grads_with_norm_(parameters, max_norm, norm)
