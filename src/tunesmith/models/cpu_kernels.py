"""Dropout and attention as torch has them, in less time on the CPU.

torch draws a mask of dropout number by number there, 6 ns each, and takes the softmax of short
bf16 rows value by value. Here numpy draws the mask, seeded by torch's generator (so that seeds
mean what they mean elsewhere), and short rows are summed in float32.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.models.bert.modeling_bert import eager_attention_forward

from tunesmith.models.first_token import KNOWN

ATTENTION = "tunesmith_eager"  # the name under which transformers knows it
SHORT = 32  # tokens: torch's softmax in bf16 is quick from here on
INTEGERS: dict[int, tuple[torch.dtype, Any]] = {  # by their bytes
    2: (torch.int16, np.int16),
    4: (torch.int32, np.int32),
    8: (torch.int64, np.int64),
}


class Dropout(nn.Dropout):
    """Zeroes values with probability `p`, and divides the others by 1 - p."""

    def forward(self, input: Tensor) -> Tensor:
        return drop(input, self.p, self.training)


def drop(values: Tensor, p: float, training: bool) -> Tensor:
    """Do what `torch.nn.functional.dropout` does; the same seed draws another mask."""
    quick = values.device.type == "cpu" and 0 < p < 1 and not torch.compiler.is_compiling()
    if not training or not quick:
        return F.dropout(values, p, training)
    return values * _noise(values, p)


def _noise(values: Tensor, p: float) -> Tensor:
    """Draw zeros with probability `p`, else 1 / (1 - p), in the shape and type of `values`."""
    seed = int(torch.empty((), dtype=torch.int64).random_())
    count = values.numel()
    bits = np.random.SFC64(seed).random_raw(-(-count // 2)).view(np.int32)[:count]
    kept = bits < min(round((1 - p) * 2**32) - 2**31, 2**31 - 1)
    # Products of integers: numpy multiplies 16 bits of them quickly, of floats it does not.
    of_torch, of_numpy = INTEGERS[values.element_size()]
    scale = torch.tensor(1 / (1 - p), dtype=values.dtype).view(of_torch).item()
    noise = torch.from_numpy(np.multiply(kept, of_numpy(scale)))
    return noise.view(values.dtype).view(values.shape)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Attend as transformers' "eager" does: heads (B, N, T, D) in, states (B, T, N, D) out."""
    if query.device.type != "cpu":
        rest = {"scaling": scaling, "dropout": dropout, **options}
        return eager_attention_forward(module, query, key, value, attention_mask, **rest)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling  # (B, N, T, T)
    if attention_mask is not None:
        scores = scores + attention_mask
    precise = torch.float32 if scores.shape[-1] < SHORT else scores.dtype
    weights = F.softmax(scores, dim=-1, dtype=precise).to(scores.dtype)
    weights = drop(weights, dropout, module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def use_cpu_kernels(model: PreTrainedModel) -> None:
    """Give a model these layers of dropout, and this attention in place of its eager one."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p).train(child.training))
    is_known = model.config.model_type in KNOWN
    if is_known and model.config._attn_implementation == "eager":
        AttentionInterface.register(ATTENTION, attend)
        AttentionMaskInterface.register(ATTENTION, AttentionMaskInterface()["eager"])
        model.set_attn_implementation(ATTENTION)
