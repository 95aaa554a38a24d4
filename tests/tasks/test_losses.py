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


@pytest.mark.parametrize(("smoothing", "weights"), [(0.1, "none"), (0.0, "inverse"), (0.0, "none")])
def test_cross_entropy_is_torchs_with_smoothing_or_weights(smoothing, weights):
    loss = CrossEntropy(label_smoothing=smoothing, class_weights=weights)
    loss.weigh_classes([10, 20, 30])
    mean, weight = loss(LOGITS, LABELS)
    reference = F.cross_entropy(LOGITS, LABELS, loss.class_weight, label_smoothing=smoothing)
    torch.testing.assert_close(mean, reference)
    weighed = loss.class_weight[LABELS].sum() if weights != "none" else torch.tensor(6.0)
    torch.testing.assert_close(weight, weighed)


@pytest.mark.parametrize("method", ["inverse", "inverse_sqrt"])
@pytest.mark.parametrize("counts", [[190, 2], [10_000, 20, 20, 20, 20]])
def test_a_sure_text_of_a_common_class_is_best_answered_with_it(method, counts):
    """Torch weighs the smoothed target: the best answer for a common text was a rare class."""
    loss = CrossEntropy(label_smoothing=0.1, class_weights=method)
    loss.weigh_classes(counts)
    logits = torch.zeros(1, len(counts), requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def cost():
        optimizer.zero_grad()
        mean = loss(logits, torch.tensor([0])).mean
        mean.backward()
        return mean

    optimizer.step(cost)
    smoothed = 0.9 + 0.1 / len(counts)
    assert float(logits.detach().softmax(-1)[0, 0]) == pytest.approx(smoothed, abs=0.01)


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
