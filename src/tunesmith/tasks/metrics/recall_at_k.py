"""Candidates in the order of their scores, and how far up the right ones stand."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

AT_ONCE = 512  # queries, so that their scores of all candidates fit into memory


class Ranked(NamedTuple):
    """The candidates of one query."""

    best: list[int]  # which, the best first
    scores: list[float]  # of those
    rank: int | None  # of the query's own one, from 1; the first of equal ones is before the others


def ranked(
    queries: Tensor, candidates: Tensor, own: Sequence[int | None], most: int
) -> Iterator[Ranked]:
    """Rank candidates (M, H) for each query (N, H) by their dot product; `most` are listed.

    `own` (N) says which candidate is the query's, None where it has none.
    """
    for start in range(0, len(queries), AT_ONCE):
        scores = queries[start : start + AT_ONCE] @ candidates.T  # (n, M)
        best = scores.topk(min(most, len(candidates)))
        lists = zip(best.indices.tolist(), best.values.tolist(), scores, own[start:], strict=False)
        for indices, values, row, mine in lists:
            yield Ranked(indices, values, None if mine is None else rank_of(row, mine))


def rank_of(scores: Tensor, candidate: int) -> int:
    before = (scores > scores[candidate]).sum() + (scores[:candidate] == scores[candidate]).sum()
    return int(before) + 1


def recall_and_mrr(ranks: Sequence[Sequence[int | None]], at: Sequence[int]) -> dict[str, float]:
    """Return the mean recall at some depths, and the mean reciprocal rank of the first right one.

    `ranks` has for each query the ranks of all its right candidates, None for one not found.
    """
    found = [[math.inf if rank is None else rank for rank in right] for right in ranks]
    scores = {f"recall_at_{k}": _mean([_share(right, k) for right in found]) for k in at}
    return {**scores, "mrr": _mean([1 / min(right) for right in found])}


def _share(ranks: Sequence[float], depth: int) -> float:
    return sum(rank <= depth for rank in ranks) / len(ranks)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
