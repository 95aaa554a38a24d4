"""Retrieval: the passage that belongs to a query, found among many by its vector."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.data.row_hashes import digest
from tunesmith.errors import ConfigError
from tunesmith.models import heads
from tunesmith.runtime.options import Count
from tunesmith.tasks.base import Answer, Batch, Features, Output, Row
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import (
    HasUndefinedMetrics,
    LabeledExample,
    ShowsExamples,
    UsesOtherRows,
)
from tunesmith.tasks.losses import InfoNCE
from tunesmith.tasks.metrics.recall_at_k import Ranked, ranked, recall_and_mrr
from tunesmith.tasks.text import multi_text, padding
from tunesmith.tasks.text.pooling import embedded

RECALL_AT = (1, 5, 10)


class Retrieval(TextTask, UsesOtherRows, HasUndefinedMetrics, ShowsExamples):
    """Learns one vector a text, so that a query is nearest to its passage.

    In training the candidates of a query are the passages of its batch and their negatives; not
    another copy of its passage, nor another passage of the same query. In an evaluation they are
    the passages of all rows, and so they are in a file to predict: a row without a query adds a
    candidate, one without a passage only asks.
    """

    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(ColumnType.TEXT),
        "text_pair": Column(ColumnType.TEXT),
        "negatives": Column(ColumnType.TEXTS, required=False, learning=True),
    }
    head = heads.NO_HEAD
    losses = (InfoNCE,)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (*(f"recall_at_{k}" for k in RECALL_AT), "mrr"), "max"
    )
    monitor = "mrr"

    loss: InfoNCE

    def __init__(
        self,
        *,
        pooling: Literal["mean", "first"],
        n_best: Count,
        negatives_scope: Literal["batch", "micro_batch"],
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.pooling, self.n_best = pooling, n_best

    @classmethod
    def check_micro_batches(cls, options: Mapping[str, Any], micro_batches: int) -> None:
        if micro_batches > 1 and options["negatives_scope"] == "batch":
            what = (
                f"cannot be those of a batch divided into {micro_batches} (devices x micro-batches)"
            )
            fix = "task.negatives_scope=micro_batch is another loss: it has fewer negatives"
            raise ConfigError("CONF-BATCH", "task.negatives_scope=batch", what, fix)

    # Rows to batches

    def encode(self, row: Row) -> list[Features]:
        """Make one feature a row: query, passage, negatives; `keys` name their texts."""
        given = [row["text"], row["text_pair"]]
        given += [text for text in row.get("negatives") or () if text.strip()]
        texts = [text if text.strip() else None for text in given]
        features = multi_text.encoded(self.tokenizer, texts, self.max_length)
        # 64 bits, with a sign as tensors have it.
        return [features | {"keys": [digest(text) - (1 << 63) for text in given]}]

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the most and the longest texts: (B, C, T); `keys` (B, C)."""
        batch = padding.pad_several(self.tokenizer, features)
        keys = np.zeros(batch["input_ids"].shape[:2], dtype=np.int64)
        for i, f in enumerate(features):
            keys[i, : len(f["keys"])] = f["keys"]
        return {**batch, "keys": torch.from_numpy(keys)}

    # Batches to answers

    def forward(self, batch: Batch) -> Output:
        vectors = self.logits(batch)  # (B, C, H)
        mean, weight = self.loss(*in_batch(vectors, multi_text.is_text(batch), batch["keys"]))
        return Output(mean, vectors, weight)

    def logits(self, batch: Batch) -> Tensor:
        """Return the vectors (B, C, H) of query, passage and negatives; 0 where there is none."""
        return embedded(self.model, self.model_inputs(batch), self.pooling)

    def decode(self, batch: Batch, output: Output) -> list[np.ndarray]:
        """Return the vectors (2, H) of query and passage."""
        return list(output.logits[:, :2].detach().float().cpu().numpy())

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        """Rank the passages of all rows for each query; `rank` is that of the row's own one."""
        answers: list[Answer] = [NOTHING] * len(rows)
        asking = [i for i, row in enumerate(rows) if row["text"].strip()]
        where = passages_of(rows)
        if not where or not asking:
            return answers
        vectors = torch.from_numpy(np.stack([vectors for [vectors] in predictions]))  # (N, 2, H)
        passages = list(where)
        number = {passage: i for i, passage in enumerate(passages)}
        found = ranked(
            vectors[asking, 0],
            vectors[list(where.values()), 1],
            [number.get(rows[i]["text_pair"]) for i in asking],
            self.n_best,
        )
        for i, ranking in zip(asking, found, strict=True):
            answers[i] = answer(ranking, passages)
        return answers

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        """Average over the different queries, each of which may have several right passages."""
        ranks: dict[str, dict[str, int | None]] = defaultdict(dict)
        for given, row in zip(answers, rows, strict=True):
            if is_pair(row["text"], row["text_pair"]):
                ranks[row["text"]][row["text_pair"]] = given["rank"]
        return recall_and_mrr([list(right.values()) for right in ranks.values()], RECALL_AT)

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Give the commonest passage of the train split: as a rule no candidate here."""
        [(passage, _)] = Counter(values_of(train, "text_pair")).most_common(1)
        return [NOTHING | {"passage": passage}] * len(rows)

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        if any(map(is_pair, values_of(rows, "text"), values_of(rows, "text_pair"))):
            return {}
        return dict.fromkeys(self.metrics, "no row has a query and a passage")

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        return [
            LabeledExample(
                row["text"], row["text_pair"], given["passage"], max(0.0, given["score"])
            )
            for given, row in zip(answers, rows, strict=True)
            if given["n_best"] and is_pair(row["text"], row["text_pair"])
        ]


NOTHING: Answer = {"passage": None, "score": None, "rank": None, "n_best": []}


def answer(ranking: Ranked, passages: Sequence[str]) -> Answer:
    """Name the best passages, each with its cosine to the query."""
    best = [
        {"passage": passages[i], "score": score}
        for i, score in zip(ranking.best, ranking.scores, strict=True)
    ]
    return {**best[0], "rank": ranking.rank, "n_best": best}


def passages_of(rows: Sequence[Row]) -> dict[str, int]:
    """Return the different passages, each with the first row that has it."""
    where: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row["text_pair"].strip():
            where.setdefault(row["text_pair"], i)
    return where


def is_pair(query: str, passage: str) -> bool:
    return bool(query.strip() and passage.strip())


def in_batch(vectors: Tensor, is_text: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines (N, M) of N queries with M passages of their batch, and the right ones.

    `vectors` (B, C, H), `is_text` and `keys` (B, C) are of a query, its passage and negatives;
    only rows with both ask. -inf hides a passage that is right as well, wherever it stands: one
    with the same key, or with that of another passage of the same query.
    """
    row, place = is_text[:, 1:].nonzero(as_tuple=True)  # (M,) each: where a passage stands
    asking = is_text[:, :2].all(-1)  # (B,)
    queries, passages = vectors[asking, 0], vectors[row, place + 1]  # (N, H), (M, H)
    with torch.autocast(vectors.device.type, enabled=False):  # 16 bits cannot rank near ones
        cosines = queries @ passages.T
    is_own = (asking.nonzero() == row) & (place == 0)  # (N, M)
    pairs = keys[asking]  # (N, C)
    same_query = pairs[:, :1] == pairs[:, 0]  # (N, N)
    same_passage = pairs[:, 1:2] == keys[row, place + 1]  # (N, M)
    is_right = same_query.float() @ same_passage.float() > 0  # of any of the same queries
    hidden = is_right & ~is_own
    return cosines.masked_fill(hidden, -torch.inf), is_own.nonzero()[:, 1]
