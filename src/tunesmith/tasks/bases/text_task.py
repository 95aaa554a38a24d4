"""What tasks have in common whose model reads texts: encoding, padding, logits."""

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.columns import Column, ColumnType
from tunesmith.errors import TunesmithError
from tunesmith.tasks.base import Batch, Features, Output, Row, Task
from tunesmith.tasks.text import padding
from tunesmith.tasks.text.long_text import encoded


class TextTask(Task, ABC):
    """Encodes a text, or a pair of texts, and learns its label by the logits of the model."""

    def label_of(self, row: Row) -> Any:
        """Return the encoded label of a row: an int, a float, or a list of them."""
        raise NotImplementedError(f"{type(self).__name__} has rows with a label: define label_of")

    def encode(self, row: Row) -> list[Features]:
        return self.encode_text(row)

    def encode_batch(self, rows: Sequence[Row]) -> list[list[Features]]:
        own = type(self)
        if (own.encode, own.encode_text) != (TextTask.encode, TextTask.encode_text):
            # A task that adds to what its texts are.
            return super().encode_batch(rows)
        return self.encode_texts(rows)

    def collate(self, features: list[Features]) -> Batch:
        return self.collate_text(features)

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch)
        mean, weight = self.loss(logits, batch["labels"])
        return Output(mean, logits, weight)

    def predict(self, batch: Batch) -> list[Any]:
        zero = torch.zeros(())
        return self.decode(batch, Output(zero, self.logits(batch), zero))

    def decode(self, batch: Batch, output: Output) -> list[Any]:
        """Return one prediction per feature: its logits, float32."""
        return list(output.logits.detach().float().cpu().numpy())

    # For subclasses

    def encode_text(self, row: Row) -> list[Features]:
        """Encode the text of a row, or its pair, and its label where it has one."""
        return self.encode_texts([row])[0]

    def encode_texts(self, rows: Sequence[Row]) -> list[list[Features]]:
        """Encode the text of each row, as `encode_text` does."""
        by_row = encoded(self.tokenizer, rows, self.max_length, self.truncation)
        for row, features in zip(rows, by_row, strict=True):
            if not features[0]["input_ids"]:
                raise no_tokens(row, row["text"])
            if row.get("label") is not None:
                label = self.label_of(row)
                for one in features:
                    one["labels"] = label
        return by_row

    def collate_text(self, features: list[Features]) -> Batch:
        """Pad to the longest: `input_ids`, `attention_mask` (B, T); `labels` (B,) or (B, C)."""
        batch = self.pad(features)
        if "labels" in features[0]:
            batch["labels"] = torch.tensor(np.asarray([f["labels"] for f in features]))
        return batch

    def pad(self, features: list[Features]) -> Batch:
        """Return what the model reads, (B, T) each, padded to the longest."""
        return padding.pad(self.tokenizer, features)

    def logits(self, batch: Batch) -> Tensor:
        """Run the model on a batch without its labels."""
        return self.model(**self.model_inputs(batch)).logits

    def model_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what of a batch the model reads."""
        return {k: batch[k] for k in self.tokenizer.model_input_names if k in batch}


def texts_with(label: ColumnType) -> Mapping[str, Column]:
    """Return the columns of a task on a text, or a pair of texts, with a label of this kind."""
    return {
        "text": Column(ColumnType.TEXT),
        "text_pair": Column(ColumnType.TEXT, required=False),
        "label": Column(label, target=True),
    }


def no_tokens(row: Row, text: str) -> TunesmithError:
    """A tokenizer that marks the ends of a text makes two of an empty one; this one makes none."""
    where = f"row {row['row']}" if "row" in row else ""
    what = f"the text {text[:40]!r} becomes no token at all"
    return TunesmithError("INTERNAL", where, what, "data.on_empty_text=drop leaves it out")
