"""Columns of a table as tokens beside those of a text: numbers, and categories embedded."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tunesmith.data.row_hashes import digest


def category_code(column: int, value: str | None) -> int:
    """Return a number (int64) for a value of a categorical column; no value is a value too."""
    text = f"{column}" if value is None else f"{column}={value}"
    return digest(text) - 2**63


class Tabular(nn.Module):
    """One token a column, (B, N + C, H): of N numeric and C categorical columns.

    A number is (x - mean) / deviation of the train split, with a mark where it is missing
    (Gorishniy et al., 2021, 3.3: a token is an affine function of its number). A category is an
    embedding of its value; one that the train split did not have is the unknown one.
    """

    SIZES = frozenset({"mean", "column", "codes"})  # what says how large all is

    mean: Tensor  # (N,)
    deviation: Tensor  # (N,)
    codes: Tensor  # (K,) int64, ascending: the values that the train split had

    def __init__(self, width: int, numbers: int, categories: int, codes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("deviation", torch.ones(numbers))
        self.register_buffer("codes", torch.zeros(codes, dtype=torch.int64))
        self.scale = nn.Parameter(torch.randn(numbers, width) * 0.5)
        self.missing = nn.Parameter(torch.randn(numbers, width) * 0.5)
        self.column = nn.Parameter(torch.randn(numbers + categories, width) * 0.5)
        self.value = nn.Embedding(codes + 1, width)  # 0: unknown
        self.norm = nn.LayerNorm(width)

    @classmethod
    def fitted(
        cls, width: int, numbers: np.ndarray | None, categories: Sequence[Sequence[str | None]]
    ) -> "Tabular":
        """Learn statistics and values from the train split.

        `numbers` is (R, N), NaN where there is none; `categories` R rows of C values.
        """
        known = sorted({category_code(j, v) for row in categories for j, v in enumerate(row)})
        count = numbers.shape[1] if numbers is not None else 0
        made = cls(width, count, len(categories[0]) if categories else 0, len(known))
        made.codes.copy_(torch.tensor(known, dtype=torch.int64))
        if numbers is not None:
            for j, column in enumerate(numbers.T):
                present = column[~np.isnan(column)]
                if len(present):
                    made.mean[j] = float(present.mean())
                    made.deviation[j] = float(present.std()) or 1.0
        return made

    @classmethod
    def of_shapes(cls, width: int, shapes: Mapping[str, Sequence[int]]) -> "Tabular":
        """Make one of the sizes of one that was saved."""
        numbers = shapes["mean"][0]
        return cls(width, numbers, shapes["column"][0] - numbers, shapes["codes"][0])

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return tokens from `numbers` (B, N), NaN where missing, and `categories` (B, C) codes."""
        missing = numbers.isnan()  # (B, N)
        standard = ((numbers - self.mean) / self.deviation).masked_fill(missing, 0.0)
        tokens = standard.unsqueeze(-1) * self.scale + missing.unsqueeze(-1) * self.missing
        values = self.value(self._positions(categories))  # (B, C, H)
        return self.norm(torch.cat([tokens, values], dim=1) + self.column)

    def _positions(self, codes: Tensor) -> Tensor:
        """Return which value each code (B, C) is, from 1; 0: none of them."""
        if not len(self.codes):
            return torch.zeros_like(codes)
        places = torch.searchsorted(self.codes, codes).clamp(max=len(self.codes) - 1)
        return torch.where(self.codes[places] == codes, places + 1, 0)
