"""Lists of differing lengths as one tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor


def aligned(numbers: Sequence[Sequence[int]], filler: int, left: bool = False) -> Tensor:
    """Put lists of differing lengths into one tensor (B, T), filled up on one side."""
    table = torch.full((len(numbers), max(map(len, numbers), default=0)), filler)
    for row, given in zip(table, numbers, strict=True):
        if given:
            row[slice(-len(given), None) if left else slice(len(given))] = torch.tensor(given)
    return table
