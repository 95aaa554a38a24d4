"""Token classification: one tag per word; named entities, or any other tags."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.errors import ConfigError, DataError
from tunesmith.models import heads
from tunesmith.runtime.options import CountOrZero
from tunesmith.tasks.base import (
    IGNORE,
    Answer,
    Batch,
    Features,
    Output,
    Row,
    TaskContext,
)
from tunesmith.tasks.bases.text_task import TextTask, no_tokens
from tunesmith.tasks.capabilities import (
    Capturable,
    ComparesWithGuessing,
    LabeledExample,
    ShowsConfusion,
    ShowsExamples,
    SplitsRows,
)
from tunesmith.tasks.losses import CrossEntropy, losses_of_guessing
from tunesmith.tasks.metrics import class_scores
from tunesmith.tasks.metrics.entity_f1 import SCHEME, Entity, entities, scores, well_formed
from tunesmith.tasks.text.long_text import overlap
from tunesmith.tasks.text.padding import pad_lists
from tunesmith.tasks.text.word_windows import NO_WORD, Words, split_words, windows


class TokenClassification(
    TextTask, Capturable, ComparesWithGuessing, ShowsConfusion, ShowsExamples, SplitsRows
):
    """Scores every tag of each word, on its first token; entities are read from the tags.

    Long sentences are read in windows, so nothing is ever cut off. With `entities=False` the
    tags are in no B-/I-/O scheme (parts of speech): each word then counts as an entity, and
    precision, recall and F1 are the share of right words.
    """

    columns: ClassVar = {
        "words": Column(ColumnType.WORDS),
        "tags": Column(ColumnType.TAGS, target=True),
    }
    head = heads.TOKEN_CLASSIFICATION
    losses = (CrossEntropy,)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("f1", "precision", "recall", "f1_strict", "accuracy"), "max"
    )
    monitor = "f1"
    decision = "tags"
    token_fillers: ClassVar[Mapping[str, int]] = {"words": NO_WORD, "labels": IGNORE}

    loss: CrossEntropy

    def __init__(self, *, stride: CountOrZero | None, entities: bool, **common: Any) -> None:
        super().__init__(**common)
        self.stride = overlap(stride, self.max_length)
        self.entities = entities
        self.closed = any(label[0] in "ES" for label in self.label_to_id)  # BIOES, not BIO
        self.tokenizer.truncation_side = "right"  # windows run from left to right

    @classmethod
    def check(cls, context: TaskContext) -> None:
        room = context.max_length - context.tokenizer.num_special_tokens_to_add()
        stride = overlap(context.options["stride"], context.max_length)
        if stride >= room:
            what = f"windows of {room} tokens (data.max_length={context.max_length}) must go on"
            fix = f"set it below {room}"
            raise ConfigError("CONF-RANGE", f"task.stride={stride}", what, fix)
        strange = [label for label in context.labels or () if not SCHEME.fullmatch(label)]
        if context.options["entities"] and strange:
            many = f"tag {strange[0]!r} is" if len(strange) == 1 else f"{len(strange)} tags are"
            first = "" if len(strange) == 1 else f" (first {strange[0]!r})"
            what = f"{many} neither O nor B-, I-, E- or S- and a type{first}"
            fix = "task.entities=false scores words, not entities"
            raise DataError("DATA-TAGS", "", what, fix)

    def fit_statistics(self, rows: Any) -> None:
        counts = Counter(tag for tags in values_of(rows, "tags") for tag in tags)
        self.loss.weigh_classes([counts[label] for label in self.label_to_id])

    def encode(self, row: Row) -> list[Features]:
        """Return a feature for each window: what the model reads, and the words it answers.

        `words` and `labels` hold something at the first token of each word that this window
        answers, NO_WORD and IGNORE elsewhere: a word is learnt and scored exactly once.
        """
        words = split_words(row["words"]).words
        found = windows(self.tokenizer, words, self.max_length, self.stride)
        tags = row.get("tags")
        features = []
        for inputs, answered in found:
            if not answered:
                raise no_tokens(row, " ".join(words))
            length = len(answered)
            one = {**inputs, "words": answered, "length": length, "full_length": length}
            if tags is not None:
                one["labels"] = [
                    IGNORE if w == NO_WORD else self.label_to_id[tags[w]] for w in answered
                ]
            features.append(one)
        return features

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest: what the model reads, `words` and `labels`, (B, T) each."""
        batch = self.pad(features)
        for name, nothing in (("words", NO_WORD), ("labels", IGNORE)):
            if name in features[0]:
                batch[name] = pad_lists([f[name] for f in features], nothing)
        return batch

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch)  # (B, T, C)
        mean, weight = self.loss(logits.flatten(0, 1), batch["labels"].flatten())
        return Output(mean, logits, weight)

    def decode(self, batch: Batch, output: Output) -> list[Any]:
        """Return (words, probabilities (N, C)) for the N words that each window answers."""
        logits = output.logits.detach().float().cpu()  # (B, T, C)
        words = batch["words"].cpu()  # (B, T)
        answers = words != NO_WORD
        return [
            (words[i][answers[i]].tolist(), logits[i][answers[i]].softmax(-1).numpy())
            for i in range(len(words))
        ]

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        return [
            self._answer(found, split_words(row["words"]))
            for found, row in zip(predictions, rows, strict=True)
        ]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        """Score the entities; of tags that mean none, `f1` is the mean over the tags."""
        counts = self.confusion(answers, rows)
        has_words = bool(counts.any())
        accuracy = class_scores.accuracy(counts) if has_words else 0.0
        if not self.entities:
            return {"f1": class_scores.f1_macro(counts) if has_words else 0.0, "accuracy": accuracy}
        given, wanted = [a["tags"] for a in answers], [row["tags"] for row in rows]
        found = scores(map(entities, given), map(entities, wanted))
        strict = scores(*([well_formed(tags, self.closed) for tags in t] for t in (given, wanted)))
        return {**found._asdict(), "f1_strict": strict.f1, "accuracy": accuracy}

    def confusion(self, answers: Sequence[Answer], rows: Sequence[Row]) -> np.ndarray:
        """Count the words of each tag by the tag that they were given."""
        counts = np.zeros((len(self.label_to_id), len(self.label_to_id)), dtype=np.int64)
        for answer, row in zip(answers, rows, strict=True):
            wanted, given = (
                [self.label_to_id[t] for t in tags] for tags in (row["tags"], answer["tags"])
            )
            np.add.at(counts, (wanted, given), 1)
        return counts

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        counts = self._counts(values_of(train, "tags"))  # (C,)
        texts = [split_words(row["words"]) for row in rows]
        each = [
            (range(len(t.words)), np.tile(counts / counts.sum(), (len(t.words), 1))) for t in texts
        ]
        return [self._answer([found], text) for found, text in zip(each, texts, strict=True)]

    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        truths = [self.label_to_id[tag] for row in rows for tag in row["tags"]]
        counts = self._counts(values_of(train, "tags"))  # (C,)
        return losses_of_guessing(self.loss, counts.tolist(), truths)

    def _counts(self, tags: Iterable[Sequence[str]]) -> np.ndarray:
        """Count each tag over rows: (C,)."""
        counts = Counter(tag for row in tags for tag in row)
        return np.array([counts[label] for label in self.label_to_id])

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        return [
            LabeledExample(
                " ".join(row["words"]),
                self._named(row["tags"], row["words"]),
                self._named(answer["tags"], row["words"]),
                answer["probability"],
            )
            for answer, row in zip(answers, rows, strict=True)
        ]

    def _answer(self, windows: Sequence[Any], words: Words) -> Answer:
        """Put the windows together: a tag a word, and the entities that the tags mean."""
        names = list(self.label_to_id)
        probabilities = np.zeros((len(words.words), len(names)), dtype=np.float32)  # (N, C)
        # A limited validation may leave windows out: their words are outside of everything.
        probabilities[:, self.label_to_id.get("O", 0)] = 1.0
        for answered, theirs in windows:
            probabilities[answered] = theirs
        tags = [names[best] for best in probabilities.argmax(-1)]
        sure = probabilities.max(-1, initial=0.0)  # (N,)
        answer: Answer = {"tags": tags, "probability": float(sure.mean()) if tags else 1.0}
        if words.text is not None:
            answer = {"words": words.words, **answer}
        if self.entities:
            answer["entities"] = [_span(e, words, sure) for e in entities(tags)]
        return answer

    def _named(self, tags: Sequence[str], words: Sequence[str]) -> str:
        if not self.entities:
            return " ".join(tags)
        found = [f"{e.label}: {' '.join(words[e.start : e.end])}" for e in entities(tags)]
        return "; ".join(found) or "no entity"


def _span(entity: Entity, words: Words, sure: np.ndarray) -> dict[str, Any]:
    """Say of an entity what it is and where; ends are not included."""
    label, start, end = entity
    span = {"label": label, "text": words.between(start, end), "start": start, "end": end}
    if words.text is not None:
        span |= {"start_char": words.places[start][0], "end_char": words.places[end - 1][1]}
    return {**span, "probability": float(sure[start:end].mean())}
