"""Logistic regression on embeddings: a linear head that is fitted in one go."""

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn


class LogisticHead(nn.Module):
    """Scores C labels by an embedding of H numbers; until it is fitted, all alike."""

    weight: Tensor  # (C, H)
    bias: Tensor  # (C,)

    def __init__(self, size: int, labels: int, l2: float) -> None:
        super().__init__()
        self.penalty = l2
        self.register_buffer("weight", torch.zeros(labels, size))
        self.register_buffer("bias", torch.zeros(labels))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return logits (B, C) of embeddings (B, H)."""
        return embeddings.float() @ self.weight.T + self.bias

    def fit(self, embeddings: Tensor, labels: Tensor) -> None:
        """Minimise the cross-entropy of (N, H) and (N,) plus penalty / 2 times the squared weights.

        The optimum is the only one, and where it starts is fixed: the same rows, the same head.
        """
        rows = embeddings.double().cpu().numpy()
        wanted = np.eye(len(self.bias))[labels.cpu().numpy()]  # (N, C)
        start = np.zeros((len(self.bias), rows.shape[1] + 1))

        def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
            found = flat.reshape(start.shape)  # the last column is the bias
            return _cost(found, rows, wanted, self.penalty)

        options = {"maxiter": 1000, "gtol": 1e-7, "ftol": 1e-15}
        best = minimize(cost, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        solved = torch.from_numpy(best.x.reshape(start.shape))
        self.weight.copy_(solved[:, :-1])
        self.bias.copy_(solved[:, -1])


def _cost(
    probabilities: np.ndarray, rows: np.ndarray, targets: np.ndarray, l2: float
) -> tuple[float, np.ndarray]:
    """Return the cost of weights and biases (C, H + 1), and its gradient."""
    weight = probabilities[:, :-1]
    logs = log_softmax(rows @ weight.T + probabilities[:, -1], axis=1)  # (N, C)
    cost = -(logs * targets).sum() + l2 / 2 * (weight**2).sum()
    slope = np.exp(logs) - targets  # (N, C)
    gradient = np.concatenate([slope.T @ rows + l2 * weight, slope.sum(0)[:, None]], axis=1)
    return float(cost), gradient.ravel()
