"""Summarization: an encoder reads a text, and a decoder writes another."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.errors import ConfigError
from tunesmith.models import heads
from tunesmith.models.encoder_decoder import decoder_of, tie_weights
from tunesmith.models.heads import head_on_tokens
from tunesmith.runtime.options import Count, CountOrZero, Number
from tunesmith.tasks.base import (
    IGNORE,
    Answer,
    Batch,
    Features,
    Output,
    Row,
    TaskContext,
)
from tunesmith.tasks.bases.language_model import refuse_class_weights
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import (
    ComparesWithGuessing,
    GeneratedExample,
    Generates,
    NotesTruncation,
    TruncatesLongTexts,
)
from tunesmith.tasks.losses import CrossEntropy
from tunesmith.tasks.metrics.rouge import KINDS, rouge
from tunesmith.tasks.text.document_segments import sentence_starts
from tunesmith.tasks.text.generation import beams, check_ends, labels_of, search
from tunesmith.tasks.text.long_text import AT_AN_END
from tunesmith.tasks.text.padding import pad_lists

SAMPLES = 4  # texts of a split, the first ones, that TensorBoard shows
MOST_COUNTED = 10_000  # target texts, evenly spread, whose words are counted


class Written(NamedTuple):
    """What was written for one text."""

    ids: list[int]
    nats: float  # of all its tokens, its end included
    tokens: int


class Summarization(TextTask, Generates, ComparesWithGuessing, NotesTruncation, TruncatesLongTexts):
    """Learns to write the target text from the text, token by token.

    Encoder and decoder begin as the same checkpoint, the decoder with cross-attention of its own
    (BERT2BERT of Rothe et al., 2020); with `tie` they stay the same weights (BERTShare).
    """

    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(ColumnType.TEXT),
        "target": Column(ColumnType.TEXTS, target=True),
    }
    head = heads.ENCODER_DECODER
    losses = (CrossEntropy,)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys((*KINDS, "lead_rougeL"), "max")
    monitor = "rougeL"
    decision = "summary"
    truncation_modes = (*AT_AN_END, "middle")
    inference_options = (
        "min_target_length",
        "num_beams",
        "length_penalty",
        "no_repeat_ngram_size",
        "rouge_words",
    )

    loss: CrossEntropy
    lead: Tensor  # () words of a target text, the median of the train split's

    def __init__(
        self,
        *,
        tie_encoder_decoder: bool,
        max_target_length: Annotated[int, Ge(2)] | None,
        min_target_length: CountOrZero,
        num_beams: Count,
        length_penalty: Number,
        no_repeat_ngram_size: CountOrZero,
        rouge_words: Literal["english", "any"],
        **common: Any,
    ) -> None:
        super().__init__(**common)
        refuse_class_weights(self.loss)
        if tie_encoder_decoder:
            tie_weights(self.model)
        self.start, self.end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        self.longest_target = target_length(max_target_length, self.max_length)
        self.rouge_words = rouge_words
        self.search = search(
            self.tokenizer,
            decoder_start_token_id=self.start,
            max_new_tokens=self.longest_target,
            min_new_tokens=min_target_length,
            no_repeat_ngram_size=no_repeat_ngram_size,
            **beams({"num_beams": num_beams, "length_penalty": length_penalty}),
        )
        self.model.generation_config = self.search
        self.model.config.decoder_start_token_id = self.start
        self.model.config.pad_token_id = self.tokenizer.pad_token_id
        self.register_buffer("lead", torch.tensor(1))

    @classmethod
    def check(cls, context: TaskContext) -> None:
        check_ends(context)
        most = target_length(context.options["max_target_length"], context.max_length)
        least = context.options["min_target_length"]
        if most > context.longest:
            what = f"the model takes at most {context.longest} tokens"
            raise ConfigError("CONF-LENGTH", f"task.max_target_length={most}", what)
        if least >= most:
            what = f"must be less than task.max_target_length, {most}"
            raise ConfigError("CONF-LENGTH", f"task.min_target_length={least}", what)

    def fit_statistics(self, rows: Any) -> None:
        """Count the words of target texts: a text's lead is as long."""
        numbers = range(0, len(rows), -(-len(rows) // MOST_COUNTED))
        words = [len(first.split()) for first, *_ in rows[list(numbers)]["target"]]
        self.lead.fill_(max(1, int(np.median(words))))

    # Rows to batches

    def truncation_note(self) -> str:
        return f"texts truncated at {self.max_length} tokens, targets at {self.longest_target}"

    def encode(self, row: Row) -> list[Features]:
        """Encode a text, and what is to be written: `labels`; of a long target the end is cut."""
        [features] = self.encode_text(row)
        if row.get("target") is None:
            return [features]
        ids = self.tokenizer(row["target"][0], add_special_tokens=False, verbose=False)["input_ids"]
        labels = [*ids[: self.longest_target - 1], self.end]
        features["full_length"] += len(ids) + 1 - len(labels)
        return [features | {"labels": labels}]

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest; `labels` (B, U) are what the decoder shall write."""
        batch = self.pad(features)
        if "labels" in features[0]:
            batch["labels"] = pad_lists([f["labels"] for f in features], IGNORE)
        return batch

    # Batches to answers

    def forward(self, batch: Batch) -> Output:
        chosen = batch["labels"] != IGNORE
        logits = self.logits_at(batch, chosen)  # (M, V)
        mean, weight = self.loss(logits, batch["labels"][chosen])
        return Output(mean, logits, weight)

    def logits_at(self, batch: Batch, chosen: Tensor) -> Tensor:
        """Return the logits (M, V) of the chosen places (B, U) of the target alone."""
        with head_on_tokens(decoder_of(self.model), chosen):
            return self.logits(batch)[0]

    def logits(self, batch: Batch) -> Tensor:
        """Run the model with the right tokens before each one that it is to write: (B, U, V)."""
        labels = batch["labels"]
        given = F.pad(labels[:, :-1], (1, 0), value=self.start)  # (B, U)
        given = given.masked_fill(given == IGNORE, self.tokenizer.pad_token_id)
        # Padding needs no mask: it comes last, and no token sees what comes after it.
        read = {**self.model_inputs(batch), "decoder_input_ids": given}
        return self.model(**read, use_cache=False).logits

    def decode(self, batch: Batch, output: Output) -> list[Written]:
        return self.predict(batch)

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[Written]:
        """Write for each text, and tell how likely the model finds what it wrote."""
        model: Any = self.model
        found = model.generate(**self.model_inputs(batch), generation_config=self.search)
        labels = labels_of(found[:, 1:], self.end)
        chosen = labels != IGNORE
        logits = self.logits_at({**batch, "labels": labels}, chosen)  # (M, V)
        nats = F.cross_entropy(logits.float(), labels[chosen], reduction="none")
        sums = nats.new_zeros(len(labels)).index_add(0, chosen.nonzero()[:, 0], nats)  # (B,)
        tokens = chosen.sum(1).tolist()
        ids = [row[row != IGNORE].tolist() for row in labels]
        return [Written(*one) for one in zip(ids, sums.tolist(), tokens, strict=True)]

    def aggregate(
        self, predictions: Sequence[Sequence[Written]], rows: Sequence[Row]
    ) -> list[Answer]:
        return [self.answer(written) for [written] in predictions]

    def answer(self, written: Written) -> Answer:
        """Return the summary and its probability, the geometric mean over its tokens."""
        text = str(self.tokenizer.decode(written.ids, skip_special_tokens=True)).strip()
        probability = math.exp(-written.nats / max(written.tokens, 1))
        return {"summary": text, "probability": probability, "tokens": written.tokens}

    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        return None

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        """Compare each summary with the nearest of its row's target texts."""
        wanted = [list(map(in_lines, row["target"])) for row in rows]
        given = [in_lines(answer["summary"]) for answer in answers]
        leads = [" ".join(row["text"].split()[: int(self.lead)]) for row in rows]
        lead = rouge(leads, wanted, self.rouge_words, ["rougeL"])["rougeL"]
        return {**rouge(given, wanted, self.rouge_words), "lead_rougeL": lead}

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Give the commonest target text of the train split."""
        text, count = Counter(first for first, *_ in values_of(train, "target")).most_common(1)[0]
        answer = {"summary": text, "probability": count / len(train), "tokens": len(text.split())}
        return [answer] * len(rows)

    def generated_examples(
        self, answers: Sequence[Answer], rows: Sequence[Row]
    ) -> list[GeneratedExample]:
        shown = list(zip(answers, rows, strict=True))[:SAMPLES]
        return [
            GeneratedExample(row["text"], row["target"][0], answer["summary"])
            for answer, row in shown
        ]


def target_length(requested: int | None, max_length: int) -> int:
    """Return the longest target in tokens, its end included, where not given by `max_length`."""
    return max(2, max_length // 4) if requested is None else requested


def in_lines(text: str) -> str:
    """Put each sentence on a line of its own."""
    starts = sentence_starts(text)
    parts = (text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True))
    return "\n".join(part for part in parts if part)
