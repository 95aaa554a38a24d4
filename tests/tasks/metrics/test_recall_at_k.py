"""Rankings and what is scored of them: as torchmetrics does, on fuzzed inputs."""

import math
import random

import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_recall, retrieval_reciprocal_rank

from tunesmith.tasks.metrics import recall_at_k
from tunesmith.tasks.metrics.recall_at_k import ranked, recall_and_mrr


@pytest.mark.parametrize("seed", range(5))
def test_recall_and_mrr_are_those_of_torchmetrics(seed, monkeypatch):
    monkeypatch.setattr(recall_at_k, "AT_ONCE", 7)  # queries are ranked in several pieces
    dice, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    queries, candidates = (torch.randn(n, 8, generator=generator) for n in (20, 40))
    right = [dice.sample(range(40), dice.randint(1, 4)) for _ in range(20)]
    asked = [(i, one) for i, theirs in enumerate(right) for one in theirs]
    found = ranked(queries[[i for i, _ in asked]], candidates, [one for _, one in asked], 10)
    ranks = [[] for _ in right]
    for (i, _), each in zip(asked, found, strict=True):
        ranks[i].append(each.rank)
    scores = recall_and_mrr(ranks, (1, 5, 10))
    wanted = torch.zeros(20, 40, dtype=torch.bool)
    for i, theirs in enumerate(right):
        wanted[i, theirs] = True
    similar = queries @ candidates.T
    similar = similar - similar.min() + 1  # torchmetrics' rank leaves out what scores 0 or less
    for k in (1, 5, 10):
        each = [retrieval_recall(s, w, top_k=k) for s, w in zip(similar, wanted, strict=True)]
        assert scores[f"recall_at_{k}"] == pytest.approx(float(torch.stack(each).mean()))
    each = [retrieval_reciprocal_rank(s, w) for s, w in zip(similar, wanted, strict=True)]
    assert scores["mrr"] == pytest.approx(float(torch.stack(each).mean()))


def test_the_best_are_listed_with_their_scores():
    queries, candidates = torch.eye(2), torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    first, second = ranked(queries, candidates, [2, None], 2)
    assert first.best == [1, 2] and first.scores == pytest.approx([0.8, 0.5])
    assert first.rank == 2
    assert second.best == [0, 2] and second.rank is None
    [all_of_them] = ranked(queries[:1], candidates, [0], 10)
    assert all_of_them.best == [1, 2, 0]


def test_of_equal_candidates_the_first_is_before_the_others():
    ranks = [each.rank for each in ranked(torch.ones(3, 1), torch.ones(3, 1), [0, 1, 2], 1)]
    assert ranks == [1, 2, 3]


def test_one_that_is_not_found_counts_nothing_and_no_query_has_no_score():
    scores = recall_and_mrr([[None], [1, None]], (1,))
    assert scores == {"recall_at_1": 0.25, "mrr": 0.5}
    assert all(math.isnan(value) for value in recall_and_mrr([], (1,)).values())
