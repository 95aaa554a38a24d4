"""Contrastive learning from few labels: texts of a class are drawn together, others apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.models import heads
from tunesmith.models.logistic_head import LogisticHead
from tunesmith.runtime.options import Count, Positive
from tunesmith.tasks.base import IGNORE, Batch, Features, Output
from tunesmith.tasks.bases.single_label import SingleLabel
from tunesmith.tasks.capabilities import Augments, FitsHead, TruncatesLongTexts
from tunesmith.tasks.losses import PairCosine
from tunesmith.tasks.text.long_text import AT_AN_END
from tunesmith.tasks.text.pooling import pooled

PARTNER = "partner_"  # begins the name of what the model reads of the second text of a pair


class Contrastive(SingleLabel, Augments, FitsHead, TruncatesLongTexts):
    """Tunes an encoder on pairs of texts, then fits a linear head to what it makes of each.

    As SetFit does (Tunstall et al., 2022): each row meets texts of its own class, whose cosine
    shall be 1, and as many of others, 0. An embedding is the mean of the last layer over a
    text's tokens, of length 1. The head is fitted to the train split again at each validation.
    """

    head = heads.NO_HEAD
    losses = (PairCosine,)
    truncation_modes = (*AT_AN_END, "middle")  # a pair has whole rows

    loss: PairCosine

    def __init__(self, *, pairs_per_text: Count, l2: Positive, **common: Any) -> None:
        super().__init__(**common)
        self.pairs = pairs_per_text
        self.classifier = LogisticHead(self.model.config.hidden_size, len(self.label_to_id), l2)
        self._seen: tuple[Any, np.ndarray] = (None, np.empty(0))  # a split and its labels

    # Rows to batches

    def augment(
        self, features: Features, rng: np.random.Generator, others: Sequence[Features]
    ) -> Features:
        """Draw the other texts of this one's pairs; one that there is none for does not count."""
        labels = self._labels_of(others)
        own = labels == features["labels"]
        alike, unlike = np.flatnonzero(own), np.flatnonzero(~own)
        kinds = ((alike[alike != features["row"]], 1), (unlike, 0))
        partners, same = [], []
        for rows, is_same in kinds:
            for _ in range(self.pairs):
                partners.append(others[int(rng.choice(rows))] if len(rows) else features)
                same.append(is_same if len(rows) else IGNORE)
        return {**features, "partners": partners, "same": same}

    def _labels_of(self, others: Any) -> np.ndarray:
        """Return the labels (N,) of a split, read once while its features come one by one."""
        if self._seen[0] is not others:
            self._seen = others, np.asarray(others["labels"])
        return self._seen[1]

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest; of pairs also `partner_input_ids` ... (B, P, T), `same` (B, P)."""
        batch = self.collate_text(features)
        if "partners" in features[0]:
            partners = self.pad([p for f in features for p in f["partners"]])
            shape = (len(features), -1, partners["input_ids"].size(1))
            batch |= {f"{PARTNER}{name}": t.view(shape) for name, t in partners.items()}
            batch["same"] = torch.tensor([f["same"] for f in features])
        return batch

    # Batches to answers

    def forward(self, batch: Batch) -> Output:
        """Compare each text with those it meets."""
        texts = self.embed(batch)  # (B, H)
        read = {k.removeprefix(PARTNER): t for k, t in batch.items() if k.startswith(PARTNER)}
        partners = self.embed({k: t.flatten(0, 1) for k, t in read.items()})  # (B * P, H)
        partners = partners.view(len(texts), -1, texts.size(1))  # (B, P, H)
        mean, weight = self.loss(torch.einsum("bh,bph->bp", texts, partners), batch["same"])
        return Output(mean, self.classifier(texts.detach()), weight)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector of length 1 for each text (B, H), float32."""
        hidden = self.model(**self.model_inputs(batch)).last_hidden_state.float()  # (B, T, H)
        return pooled(hidden, batch["attention_mask"], "mean")

    def logits(self, batch: Batch) -> Tensor:
        return self.classifier(self.embed(batch))

    def fit_head(self, batches: Iterable[Batch]) -> None:
        """Fit the head to the embeddings of the train split."""
        found = [(self.embed(batch), batch["labels"]) for batch in batches]
        embeddings, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        self.classifier.fit(embeddings, labels)
