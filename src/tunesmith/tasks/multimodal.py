"""Multimodal classification: one label for a text with an image, a sound, columns of a table."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tunesmith.data.columns import Column, ColumnType
from tunesmith.errors import ConfigError, DataError, ModelError
from tunesmith.models import heads
from tunesmith.models.fusion import FUSIONS, Tokens
from tunesmith.models.media_encoder import MediaEncoder
from tunesmith.models.options import AudioEncoder, ImageEncoder
from tunesmith.models.scatter import scatter_rows
from tunesmith.models.tabular import Tabular, category_code
from tunesmith.runtime.options import Fraction
from tunesmith.tasks.base import Batch, Features, Row, TaskContext
from tunesmith.tasks.bases.single_label import SingleLabel
from tunesmith.tasks.capabilities import HasModalities
from tunesmith.tasks.losses import CrossEntropy

TABLE = "table"  # our name for all tabular columns together
NOTHING = {"bytes": b"", "path": ""}  # of a row that lacks it: Arrow wants one type a column


class Multimodal(SingleLabel, HasModalities):
    """Scores every label of a row by the tokens of its text and of its other columns.

    Features hold the files, or where they are, and not what is made of them: an image of
    224 x 224 pixels is 600 kB, its file a tenth. Each batch reads its own. A row may lack any
    of image, sound and values.
    """

    columns: ClassVar[dict[str, Column]] = {
        "text": Column(ColumnType.TEXT),
        "image": Column(ColumnType.IMAGE, required=False),
        "audio": Column(ColumnType.AUDIO, required=False),
        "numeric": Column(ColumnType.NUMBERS, required=False),
        "categorical": Column(ColumnType.CATEGORIES, required=False),
        "label": Column(ColumnType.CLASS, target=True),
    }
    head = heads.NO_HEAD
    losses = (CrossEntropy,)
    modality_columns = ("image", "audio")

    def __init__(
        self,
        *,
        fusion: Literal["concat", "gate", "cross_attention"],
        dropout: Fraction,
        image: ImageEncoder,
        audio: AudioEncoder,
        encoders: Mapping[str, MediaEncoder],
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.dropout, self.fusion_name = dropout, fusion
        self.encoders = nn.ModuleDict(dict(encoders))
        self.width = int(self.model.config.hidden_size)
        self.projections = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(one.width, self.width), nn.LayerNorm(self.width))
                for name, one in encoders.items()
            }
        )
        self.table: Tabular | None = None
        self._join()

    @classmethod
    def check(cls, context: TaskContext) -> None:
        """Raise ConfigError where the rows have nothing but a text."""
        if not {"image", "audio", "numeric", "categorical"} & set(context.columns):
            what = "nothing stands beside the text"
            fix = "set data.image, data.audio, data.numeric or data.categorical"
            raise ConfigError("CONF-MISSING", "task", what, fix)

    def _join(self) -> None:
        """Make the fusion and the head, for the modalities that there are."""
        names = [*self.encoders, *([TABLE] if self.table is not None else [])]
        heads = int(self.model.config.num_attention_heads)
        self.fusion = FUSIONS[self.fusion_name](self.width, names, heads, self.dropout)
        self.classifier = nn.Sequential(
            nn.Dropout(self.dropout),
            nn.Linear(self.fusion.size, self.width),
            nn.GELU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.width, len(self.label_to_id)),
        )

    # What the train split says

    def fit_statistics(self, rows: Any) -> None:
        self.weigh_classes(rows)
        numbers = categories = None
        if "numeric" in rows.column_names:
            numbers = np.array(rows["numeric"], dtype=np.float64)  # (R, N), NaN for None
        if "categorical" in rows.column_names:
            categories = rows["categorical"]
        if numbers is not None or categories is not None:
            self.table = Tabular.fitted(self.width, numbers, categories or [])
            self._join()

    def allocate_state(self, shapes: Mapping[str, Sequence[int]]) -> None:
        start = "table."
        own = {name.removeprefix(start): s for name, s in shapes.items() if name.startswith(start)}
        if own:
            if not {name for name, shape in own.items() if shape} >= Tabular.SIZES:
                raise ModelError("MODEL-CORRUPT", "task.safetensors", "no whole table of columns")
            self.table = Tabular.of_shapes(self.width, own)
            self._join()

    # Rows to batches

    def encode(self, row: Row) -> list[Features]:
        beside: Features = {}
        for name in self.encoders:
            media = row.get(name) or {}
            beside[name] = {key: media.get(key) or empty for key, empty in NOTHING.items()}
        if row.get("numeric") is not None:
            beside["numbers"] = [np.nan if x is None else x for x in row["numeric"]]
        if row.get("categorical") is not None:
            beside["codes"] = [category_code(j, v) for j, v in enumerate(row["categorical"])]
        return [features | beside for features in self.encode_text(row)]

    def collate(self, features: list[Features]) -> Batch:
        """Pad the texts; add what each encoder reads, `NAME.…` (B, ...), numbers and codes."""
        batch = self.collate_text(features)
        for name, encoder in self.encoders.items():
            media = [_media(f[name]) for f in features]
            try:
                made = encoder.prepared(media)  # type: ignore[operator]
            except ValueError as error:
                raise DataError("DATA-CELL", name, str(error)) from None
            batch |= {f"{name}.{key}": values for key, values in made.items()}
        if self.table is not None:
            batch["numbers"] = self._block(features, "numbers", torch.float32, len(self.table.mean))
            count = len(self.table.column) - len(self.table.mean)
            batch["codes"] = self._block(features, "codes", torch.int64, count)
        return batch

    def _block(self, features: list[Features], key: str, kind: torch.dtype, count: int) -> Tensor:
        rows = [list(f.get(key, [])) for f in features]
        for row in rows:
            if len(row) != count:
                what = f"{len(row)} values for {count} columns"
                raise DataError("DATA-CELL", "numeric" if key == "numbers" else "categorical", what)
        return torch.tensor(rows, dtype=kind).reshape(len(rows), count)

    # Batches to logits

    def logits(self, batch: Batch) -> Tensor:
        hidden = self.model(**self.model_inputs(batch)).last_hidden_state  # (B, T, H)
        text = Tokens(hidden, batch["attention_mask"].bool())
        others = {name: self._tokens(name, batch) for name in self.encoders}
        if self.table is not None:
            values = self.table(batch["numbers"], batch["codes"])
            mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
            others[TABLE] = Tokens(values, mask)
        return self.classifier(self.fusion(text, others))  # (B, C)

    def _tokens(self, name: str, batch: Batch) -> Tokens:
        """Run an encoder on the rows that have what it reads; the others get no token."""
        start = f"{name}."
        inputs = {k.removeprefix(start): v for k, v in batch.items() if k.startswith(start)}
        present = inputs.pop("present")
        # Where no row has any, one is read all the same: every rank's parameters take part.
        read = present if present.any() else torch.arange(len(present), device=present.device) == 0
        hidden, mask = self.encoders[name]({key: v[read] for key, v in inputs.items()})
        values = scatter_rows(self.projections[name](hidden), read)  # (B, T, H)
        return Tokens(values, scatter_rows(mask, read) & present.unsqueeze(1))


def _media(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    if not saved["bytes"] and not saved["path"]:
        return None
    return {"bytes": saved["bytes"] or None, "path": saved["path"] or None}
