"""Scores of classes, all from one confusion matrix: memory N + C², equal to scikit-learn's."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

AT_ONCE = 64  # classes whose ranks are held at once


class Probabilities(Mapping[str, float]):
    """The probability of each of C labels for one row: a view of an array, not a dict per row."""

    __slots__ = ("labels", "values_of_row")

    def __init__(self, labels: Mapping[str, int], values: np.ndarray) -> None:
        self.labels, self.values_of_row = labels, values  # {label: index}, (C,)

    def __getitem__(self, label: str) -> float:
        return float(self.values_of_row[self.labels[label]])

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return repr(dict(self))


def matrix_of(rows: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Return the probabilities (N, C) of N rows, whatever mappings hold them."""
    return np.stack(
        [
            row.values_of_row
            if isinstance(row, Probabilities)
            else np.fromiter(row.values(), float)
            for row in rows
        ]
    )


def confusion_matrix(truths: np.ndarray, guesses: np.ndarray, classes: int) -> np.ndarray:
    """Count N true and guessed classes: (C, C), true by guessed."""
    pairs = truths.astype(np.int64) * classes + guesses
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: np.ndarray) -> float:
    return float(np.trace(confusion) / confusion.sum())


def f1_per_class(confusion: np.ndarray) -> np.ndarray:
    """Return F1 of each class (C,): NaN where no row is of it and no answer says it."""
    right, counted = np.diag(confusion), confusion.sum(0) + confusion.sum(1)
    return np.where(counted > 0, 2 * right / np.maximum(counted, 1), np.nan)


def f1_macro(confusion: np.ndarray) -> float:
    """Average F1 over the classes that occur, in truth or as an answer."""
    return float(np.nanmean(f1_per_class(confusion)))


def matthews(confusion: np.ndarray) -> float:
    """Return Matthews' correlation (Gorodkin, 2004); 0 where answers or truths are constant."""
    counts = confusion.astype(np.float64)
    true, guessed, total = counts.sum(1), counts.sum(0), counts.sum()
    covariance = np.trace(counts) * total - true @ guessed
    spread = (total**2 - guessed @ guessed) * (total**2 - true @ true)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def auroc(scores: np.ndarray, truths: np.ndarray) -> float:
    """Average the area under the ROC curve over classes, each against all others.

    `scores` are (N, C), `truths` (N, C) of 0 and 1. NaN unless each class has rows in and out.
    """
    inside = truths.sum(0, dtype=np.int64)  # (C,)
    outside = len(truths) - inside
    if not (inside.all() and outside.all()):
        return float("nan")
    ranks = np.zeros(scores.shape[1])  # the sum of the ranks of the rows inside
    for start in range(0, scores.shape[1], AT_ONCE):
        part = slice(start, start + AT_ONCE)
        ranks[part] = (rankdata(scores[:, part], axis=0) * truths[:, part]).sum(0)
    # Mann and Whitney's U over the pairs of one row inside and one outside; ties count half.
    return float(np.mean((ranks - inside * (inside + 1) / 2) / (inside * outside)))


def f1_per_label(truths: np.ndarray, guesses: np.ndarray) -> np.ndarray:
    """Return F1 of each of C labels (C,) from `truths` and `guesses` (N, C) of 0 and 1; else 0."""
    right = (truths & guesses).sum(0)
    counted = truths.sum(0) + guesses.sum(0)
    return 2 * right / np.maximum(counted, 1)


def f1_micro(truths: np.ndarray, guesses: np.ndarray) -> float:
    counted = truths.sum() + guesses.sum()
    return float(2 * (truths & guesses).sum() / max(counted, 1))
