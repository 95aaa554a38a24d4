"""How a batch gets its padding: on the right, to the longest of its rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.tasks.base import Batch, Features


def pad(tokenizer: PreTrainedTokenizerBase, features: Sequence[Features]) -> Batch:
    """Return what the model reads, (B, T) each, padded to the longest."""
    names = [name for name in tokenizer.model_input_names if name in features[0]]
    fillers = fillers_of(tokenizer)
    batch = {name: pad_lists([f[name] for f in features], fillers[name]) for name in names}
    if "attention_mask" in tokenizer.model_input_names and "attention_mask" not in batch:
        lengths = torch.tensor([len(f["input_ids"]) for f in features])
        places = torch.arange(batch["input_ids"].size(1))
        batch["attention_mask"] = (places < lengths.unsqueeze(1)).long()
    return batch


def pad_several(tokenizer: PreTrainedTokenizerBase, features: Sequence[Features]) -> Batch:
    """Pad rows of several texts to the most and the longest of them: (B, C, T) each."""
    most = max(len(f["input_ids"]) for f in features)
    names = [name for name in tokenizer.model_input_names if name in features[0]]
    flat = [
        {name: f[name][i] if i < len(f[name]) else [] for name in names}
        for f in features
        for i in range(most)
    ]
    batch = pad(tokenizer, flat)
    return {name: tensor.view(len(features), most, -1) for name, tensor in batch.items()}


def pad_lists(numbers: Sequence[Sequence[int]], filler: int, left: bool = False) -> Tensor:
    """Put lists of differing lengths into one tensor (B, T), filled up on one side."""
    longest = max(map(len, numbers), default=0)
    table = np.full((len(numbers), longest), filler, dtype=np.int64)
    for row, values in zip(table, numbers, strict=True):
        row[longest - len(values) if left else 0 :][: len(values)] = values
    return torch.from_numpy(table)


def fillers_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return what pads each input of a model."""
    fillers = dict.fromkeys(tokenizer.model_input_names, 0)
    fillers["input_ids"] = tokenizer.pad_token_id or 0
    return fillers | {"token_type_ids": tokenizer.pad_token_type_id}


def widen(lengths: Sequence[int], fillers: Mapping[str, int], batch: Batch) -> Batch:
    """Pad a batch of (B, T, ...) tensors on to the next of some lengths, ascending.

    Each filler is of one of them. A tensor that has none, and yet T in its place, may be one of
    tokens: the batch then stays as it is.
    """
    own = batch["input_ids"].size(1)
    length = next((length for length in lengths if length >= own), own)
    wide = {name for name, tensor in batch.items() if tensor.dim() > 1 and tensor.size(1) == own}
    if length == own or not wide <= fillers.keys():
        return batch
    return batch | {name: _widened(batch[name], length, fillers[name]) for name in wide}


def _widened(tensor: Tensor, length: int, filler: int) -> Tensor:
    table = tensor.new_full((tensor.size(0), length, *tensor.shape[2:]), filler)
    table[:, : tensor.size(1)] = tensor
    return table
