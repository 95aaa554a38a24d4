"""How a batch gets its padding: on the right, to the longest of its rows."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.tasks.base import Batch, Features


def pad(tokenizer: PreTrainedTokenizerBase, features: Sequence[Features]) -> Batch:
    """Return what the model reads, (B, T) each, padded to the longest."""
    names = tokenizer.model_input_names
    inputs = [{k: f[k] for k in names if k in f} for f in features]
    return dict(tokenizer.pad(inputs, return_tensors="pt", padding_side="right"))


def pad_several(tokenizer: PreTrainedTokenizerBase, features: Sequence[Features]) -> Batch:
    """Pad rows of several texts to the most and the longest of them: (B, C, T) each."""
    most = max(len(f["input_ids"]) for f in features)
    names = [name for name in tokenizer.model_input_names if name in features[0]]
    flat = [
        {name: f[name][i] if i < len(f[name]) else [] for name in names}
        for f in features
        for i in range(most)
    ]
    batch = tokenizer.pad(flat, return_tensors="pt", padding_side="right")
    return {name: tensor.view(len(features), most, -1) for name, tensor in batch.items()}


def pad_lists(numbers: Sequence[Sequence[int]], filler: int, left: bool = False) -> Tensor:
    """Put lists of differing lengths into one tensor (B, T), filled up on one side."""
    table = torch.full((len(numbers), max(map(len, numbers), default=0)), filler)
    for row, given in zip(table, numbers, strict=True):
        if given:
            row[slice(-len(given), None) if left else slice(len(given))] = torch.tensor(given)
    return table
