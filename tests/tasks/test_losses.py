"""Losses: means and weights that can be put together, class weights from the train split."""

import pytest
import torch
import torch.nn.functional as F

from tunesmith.tasks.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    MeanSquaredError,
    weights_by_share,
)

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 2, 1, 0])


def test_cross_entropy_is_torchs_with_smoothing_and_weights():
    loss = CrossEntropy(label_smoothing=0.1, class_weights="inverse")
    loss.weigh_classes([10, 20, 30])
    mean, weight = loss(LOGITS, LABELS)
    torch.testing.assert_close(
        mean, F.cross_entropy(LOGITS, LABELS, loss.class_weight, label_smoothing=0.1)
    )
    torch.testing.assert_close(weight, loss.class_weight[LABELS].sum())


def test_ignored_labels_weigh_nothing():
    ignored = torch.where(torch.arange(6) < 2, -100, LABELS)
    mean, weight = CrossEntropy()(LOGITS, ignored)
    torch.testing.assert_close(mean, F.cross_entropy(LOGITS[2:], LABELS[2:]))
    assert weight == 4
    mean, weight = CrossEntropy()(LOGITS, torch.full((6,), -100))
    assert weight == 0
    assert torch.isfinite(mean)


@pytest.mark.parametrize("method", ["inverse", "inverse_sqrt"])
def test_class_weights_favour_the_rare_and_average_to_one(method):
    counts = torch.tensor([90.0, 10.0])
    weights = weights_by_share(counts.tolist(), method)
    assert weights[1] > weights[0]
    torch.testing.assert_close((weights * counts).sum() / counts.sum(), torch.tensor(1.0))
    assert weights_by_share(counts.tolist(), "none") is None


def test_binary_cross_entropy_is_torchs():
    labels = torch.tensor([[1, 0, 1], [0, 0, 1]])
    mean, weight = BinaryCrossEntropy()(LOGITS[:2], labels)
    torch.testing.assert_close(mean, F.binary_cross_entropy_with_logits(LOGITS[:2], labels.float()))
    assert weight == 2


def test_mean_squared_error_is_torchs():
    guesses, labels = torch.tensor([1.0, 2.0]), torch.tensor([1.5, 4.0])
    mean, weight = MeanSquaredError()(guesses, labels)
    torch.testing.assert_close(mean, F.mse_loss(guesses, labels))
    assert weight == 2
