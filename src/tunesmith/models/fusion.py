"""A text and the other inputs of its row as one vector: by concatenation, gates, attention."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Tokens(NamedTuple):
    """What a modality says of each row; rows that lack it have no token."""

    values: Tensor  # (B, T, H)
    mask: Tensor  # (B, T) bool: which of them are some

    def pooled(self) -> Tensor:
        """Return the mean (B, H) of each row's tokens; 0 where there is none."""
        weights = self.mask.to(self.values.dtype).unsqueeze(-1)  # (B, T, 1)
        return (self.values * weights).sum(1) / weights.sum(1).clamp(min=1)

    def present(self) -> Tensor:
        """Return which rows (B, 1) have the modality."""
        return self.mask.any(1, keepdim=True)


class Fusion(nn.Module, ABC):
    """Makes one vector (B, `size`) of the text's tokens and those of the other modalities.

    A row that lacks a modality is answered by the others and by what was learnt for the lack.
    What padding or an absent modality holds changes nothing.
    """

    size: int

    @abstractmethod
    def forward(self, text: Tokens, others: Mapping[str, Tokens]) -> Tensor: ...


class Concatenation(Fusion):
    """The means of all modalities side by side; in place of an absent one a learnt vector."""

    def __init__(self, width: int, names: Sequence[str], heads: int, dropout: float) -> None:
        super().__init__()
        self.size = width * (len(names) + 1)
        self.absent = absent_vectors(names, width)

    def forward(self, text: Tokens, others: Mapping[str, Tokens]) -> Tensor:
        return torch.cat([text.pooled(), *filled(others, self.absent)], dim=-1)


class Gates(Fusion):
    """A sum of modalities, each weighed by a gate that sees all (Arevalo et al., 2017, eq. 1-5).

    An absent modality is shown to the gates as a learnt vector, and adds nothing itself.
    """

    def __init__(self, width: int, names: Sequence[str], heads: int, dropout: float) -> None:
        super().__init__()
        self.size = width
        self.absent = absent_vectors(names, width)
        count = len(names) + 1
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
        self.gate = nn.Linear(count * width, count * width)

    def forward(self, text: Tokens, others: Mapping[str, Tokens]) -> Tensor:
        pooled = [text.pooled(), *filled(others, self.absent)]
        gates = self.gate(torch.cat(pooled, dim=-1)).sigmoid().chunk(len(pooled), dim=-1)
        there = [torch.ones_like(text.present()), *(o.present() for o in others.values())]
        return torch.stack(
            [
                gate * make(one).tanh() * present
                for gate, make, one, present in zip(gates, self.hidden, pooled, there, strict=True)
            ]
        ).sum(0)


class CrossAttention(Fusion):
    """The text's tokens attend to those of the other modalities; the mean of what comes out.

    One layer of a transformer's decoder without the self-attention (Vaswani et al., 2017). A
    learnt token stands before the others, so that a row that lacks them all has what to attend to.
    """

    def __init__(self, width: int, names: Sequence[str], heads: int, dropout: float) -> None:
        super().__init__()
        self.size = width
        self.nothing = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.kinds = absent_vectors(names, width)  # which modality a token is of
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, text: Tokens, others: Mapping[str, Tokens]) -> Tensor:
        rows = len(text.values)
        keys = [self.nothing.expand(rows, 1, -1)]
        keys += [tokens.values + self.kinds[name] for name, tokens in others.items()]
        always = torch.ones(rows, 1, dtype=torch.bool, device=text.mask.device)
        hidden_from = ~torch.cat([always, *(o.mask for o in others.values())], dim=1)  # (B, S)
        there = torch.cat(keys, dim=1)  # (B, S, H)
        found, _ = self.attention(
            self.before(text.values), there, there, key_padding_mask=hidden_from, need_weights=False
        )
        mixed = text.values + found
        mixed = mixed + self.feed(self.between(mixed))
        return Tokens(mixed, text.mask).pooled()


FUSIONS: Mapping[str, type[Fusion]] = {
    "concat": Concatenation,
    "gate": Gates,
    "cross_attention": CrossAttention,
}


def absent_vectors(names: Sequence[str], width: int) -> nn.ParameterDict:
    return nn.ParameterDict({name: nn.Parameter(torch.randn(width) * 0.5) for name in names})


def filled(others: Mapping[str, Tokens], absent: nn.ParameterDict) -> list[Tensor]:
    """Return the mean (B, H) of each modality, and the vector of its absence where it is not."""
    return [torch.where(o.present(), o.pooled(), absent[name]) for name, o in others.items()]
