"""What an error costs. Each loss returns its mean and the weight that the mean was taken over."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunesmith.runtime.options import Fraction, Positive


class Loss(NamedTuple):
    """A mean and its weight: two parts of a batch combine to (Σ weight·mean) / Σ weight."""

    mean: Tensor  # ()
    weight: Tensor  # ()


class ClassWeighted(nn.Module, ABC):
    """A loss that may weigh C classes by their share of the train split."""

    class_weight: Tensor | None  # (C,)

    def __init__(self, class_weights: Literal["none", "inverse", "inverse_sqrt"] = "none") -> None:
        super().__init__()
        self.class_weights = class_weights
        self.register_buffer("class_weight", None)

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor) -> Loss:
        """Compare logits (N, C) with labels."""

    def weigh_classes(self, counts: Sequence[int]) -> None:
        """Set the weight of each class from its count in the train split."""
        self.class_weight = weights_by_share(counts, self.class_weights)


class CrossEntropy(ClassWeighted):
    """One label of C: logits (N, C), labels (N,); label -100 is not counted.

    A class's weight is that of its rows; the smoothed target of a row is not weighed.
    """

    def __init__(
        self,
        label_smoothing: Fraction = 0.0,
        class_weights: Literal["none", "inverse", "inverse_sqrt"] = "none",
    ) -> None:
        super().__init__(class_weights)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Loss:
        logits = logits.float()
        counted = labels >= 0
        costs = F.cross_entropy(
            logits, labels, reduction="none", label_smoothing=self.label_smoothing
        )
        weights = counted.to(logits.dtype)
        if self.class_weight is not None:
            # A row weighs what its own class does; torch would weigh each share of the smoothed
            # target, and a sure answer would then be a rare class.
            weights = weights * self.class_weight[labels.clamp(min=0)]
        weight = weights.sum()
        return Loss((costs * weights).sum() / weight.clamp(min=1e-12), weight)


class SpanCrossEntropy(nn.Module):
    """Where a span starts and where it ends: logits (N, T, 2), labels (N, 2); the mean of both."""

    def forward(self, logits: Tensor, labels: Tensor) -> Loss:
        windows = logits.new_full((), len(labels), dtype=torch.float32)
        return Loss(F.cross_entropy(logits.float(), labels), windows)


class ChoiceCrossEntropy(nn.Module):
    """One of a row's own choices: logits (N, C), -inf where a row has fewer; labels (N,)."""

    def __init__(self, label_smoothing: Fraction = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Loss:
        logits = logits.float()
        costs = -logits.log_softmax(-1)  # (N, C)
        right = costs.gather(1, labels.unsqueeze(1)).squeeze(1)  # (N,)
        is_choice = logits > -torch.inf
        evenly = costs.masked_fill(~is_choice, 0.0).sum(-1) / is_choice.sum(-1)  # (N,)
        mixed = (1 - self.label_smoothing) * right + self.label_smoothing * evenly
        return Loss(mixed.mean(), logits.new_full((), len(labels)))


class InfoNCE(nn.Module):
    """Which of M passages is a query's (van den Oord et al., 2018, with the batch's passages).

    Cosines (N, M), -inf where a passage is no candidate of a query; labels (N,) are the right ones.
    """

    def __init__(self, temperature: Positive) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, cosines: Tensor, labels: Tensor) -> Loss:
        summed = F.cross_entropy(cosines.float() / self.temperature, labels, reduction="sum")
        weight = cosines.new_full((), len(labels), dtype=torch.float32)
        return Loss(summed / weight.clamp(min=1e-12), weight)


class BinaryCrossEntropy(ClassWeighted):
    """Any labels of C: logits (N, C), labels (N, C) of 0 and 1; rows of -100 are not counted.

    A class's weight is that of its positives.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Loss:
        logits = logits.float()
        counted = labels >= 0
        targets = labels.clamp(min=0).to(logits.dtype)
        costs = F.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=self.class_weight, reduction="none"
        )
        rows = counted[:, 0].sum().to(logits.dtype)
        return Loss((costs * counted).mean(-1).sum() / rows.clamp(min=1e-12), rows)


class PairCosine(nn.Module):
    """How near two texts are: cosines (B, P), `same` (B, P) 1 where they share a class, else 0.

    The squared error; a pair of -100 is not counted.
    """

    def forward(self, cosines: Tensor, same: Tensor) -> Loss:
        counted = same >= 0
        errors = (cosines.float() - same) ** 2 * counted
        weight = counted.sum().to(errors.dtype)
        return Loss(errors.sum() / weight.clamp(min=1e-12), weight)


class MeanSquaredError(nn.Module):
    """A number: predictions (N,), labels (N,)."""

    def forward(self, predictions: Tensor, labels: Tensor) -> Loss:
        rows = predictions.new_full((), len(labels), dtype=torch.float32)
        return Loss(F.mse_loss(predictions.float(), labels.float()), rows)


def losses_of_guessing(
    loss: CrossEntropy, counts: Sequence[int], labels: Sequence[int]
) -> tuple[float, float]:
    """Return what `labels` (N,) cost where each answer is the share of its class, and where even.

    `counts` (C,) are those of train; a class that weighs more is guessed more.
    """
    shares = torch.tensor(counts, dtype=torch.float32)
    if loss.class_weight is not None:
        shares = shares * loss.class_weight.cpu()
    truths, guess = torch.as_tensor(labels), (shares / shares.sum()).clamp(min=1e-9).log()
    even = torch.zeros(len(shares))
    return loss_of_one_answer(loss, guess, truths), loss_of_one_answer(loss, even, truths)


def loss_of_one_answer(loss: nn.Module, logits: Tensor, labels: Tensor) -> float:
    """Return what the same logits (C,) for each of N rows cost; labels are (N,) or (N, C)."""
    device = next((buffer.device for buffer in loss.buffers()), labels.device)
    guesses = logits.float().expand(len(labels), -1).to(device)
    return float(loss(guesses, labels.to(device)).mean)


def weights_by_share(counts: Sequence[int], method: str) -> Tensor | None:
    """Weigh classes by 1/share or 1/sqrt(share), with mean 1 over the rows; "none" gives None."""
    if method == "none":
        return None
    counted = np.maximum(np.asarray(counts, dtype=np.float64), 1.0)
    weights = counted ** {"inverse": -1.0, "inverse_sqrt": -0.5}[method]
    return torch.tensor(weights * counted.sum() / (weights * counted).sum(), dtype=torch.float32)
