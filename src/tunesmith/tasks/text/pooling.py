"""One vector a text: the states of its tokens, pooled and brought to length 1."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.models.scatter import scatter_rows
from tunesmith.tasks.base import Batch
from tunesmith.tasks.text import multi_text


def embedded(model: PreTrainedModel, inputs: Batch, pooling: str) -> Tensor:
    """Return a unit vector (B, C, H), float32, for each text of a batch (B, C, T); 0 for none."""
    chosen = multi_text.is_text(inputs)  # (B, C)
    if not chosen.any():
        size = (*chosen.shape, model.config.hidden_size)
        return torch.zeros(size, device=chosen.device)
    read = multi_text.of_texts(inputs, chosen)  # (N, T)
    hidden = model(**read).last_hidden_state.float()  # (N, T, H)
    return scatter_rows(pooled(hidden, read["attention_mask"], pooling), chosen, 0.0)


def pooled(hidden: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """Pool states (N, T, H) to unit vectors (N, H): the "mean" of a text's tokens, or its "first".

    Special tokens count in the mean (Reimers & Gurevych, 2019).
    """
    if pooling == "first":
        return F.normalize(hidden[:, 0], dim=-1)
    weights = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (N, T, 1)
    return F.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)
