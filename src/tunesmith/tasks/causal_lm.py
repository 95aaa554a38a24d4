"""Causal language modeling: each token is predicted from those before it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from tunesmith.errors import ConfigError
from tunesmith.models import heads
from tunesmith.models.heads import head_on_tokens
from tunesmith.models.spec import first_position
from tunesmith.runtime.options import Count, Positive, Share
from tunesmith.tasks.base import (
    IGNORE,
    Answer,
    Batch,
    Features,
    Output,
    Row,
    TaskContext,
)
from tunesmith.tasks.bases.language_model import LanguageModelTask, joined, mean_over, means
from tunesmith.tasks.capabilities import GeneratedExample, Generates
from tunesmith.tasks.text.generation import GumbelSampling, check_ends, labels_of, search
from tunesmith.tasks.text.padding import pad_lists

SAMPLES = 4  # texts of a split, the first ones, that an evaluation goes on with for TensorBoard
SHORTEST = 4  # tokens of a text that has a half to go on from


class TokenStats(NamedTuple):
    """What was found out about one block: sums over its tokens, and what was written."""

    tokens: int
    nats: float  # of the model
    right: int
    unigram_nats: float  # of a model that reads no context
    written: tuple[str, ...] = ()  # what the text is gone on with, at its last block
    samples: tuple[GeneratedExample, ...] = ()


class CausalLanguageModeling(LanguageModelTask, Generates):
    """Learns the next token, with an encoder that became a decoder.

    A document is cut into blocks of `max_length` tokens. Each of its tokens, and its end, is told
    once, from those before it in its block.
    """

    head = heads.CAUSAL_LM
    metrics: ClassVar[Mapping[str, str]] = {
        "lm_loss": "min",
        "perplexity": "min",
        "lm_accuracy": "max",
        "unigram_loss": "min",
    }
    monitor = "lm_loss"
    inference_options = ("max_new_tokens", "num_beams", "do_sample", "temperature", "top_p")

    def __init__(
        self,
        *,
        max_new_tokens: Count | None,
        num_beams: Count,
        do_sample: bool,
        temperature: Positive,
        top_p: Share,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.start, self.end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        self.ends = (self.end,)
        new = new_tokens(max_new_tokens, self.max_length)
        self.room = self.max_length - new  # tokens of a text that is gone on with
        self.draws, self.temperature, self.top_p = do_sample, temperature, top_p
        self.search = search(
            self.tokenizer,
            max_new_tokens=new,
            num_beams=num_beams,
            suppress_tokens=sorted(self.special - {self.end}),
        )
        self.model.generation_config = self.search

    @classmethod
    def check(cls, context: TaskContext) -> None:
        check_ends(context)
        longest = context.max_length
        new = new_tokens(context.options["max_new_tokens"], longest)
        if new > longest - 2:
            what = f"texts have {longest} tokens: a start, one of the text, and what is new"
            fix = f"at most {longest - 2}, or raise data.max_length"
            raise ConfigError("CONF-LENGTH", f"task.max_new_tokens={new}", what, fix)
        if context.options["do_sample"] and context.options["num_beams"] > 1:
            what = "beams search for the likeliest text, so nothing is drawn"
            raise ConfigError("CONF-VALUE", "task.do_sample=true", what, "set task.num_beams=1")

    # Rows to batches

    def encode(self, row: Row) -> list[Features]:
        """Cut a document, and its end, into blocks; each begins with the start token."""
        ids = self.tokenizer(row["text"], add_special_tokens=False, verbose=False)["input_ids"]
        width = self.max_length - 1
        blocks = [[*ids, self.end][at : at + width] for at in range(0, len(ids) + 1, width)]
        return [
            {
                "input_ids": [self.start, *block],
                "before": ids[: number * width][-self.room :] if block is blocks[-1] else [],
                "block": number,
                "blocks": len(blocks),
                "length": len(block) + 1,
                "full_length": len(block) + 1,
            }
            for number, block in enumerate(blocks)
        ]

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest: `labels` (B, T) are the next tokens; `before` what came earlier.

        Special tokens within a text are read, not predicted.
        """
        batch = self.pad(features)
        batch["labels"] = pad_lists([self.next_tokens(f["input_ids"]) for f in features], IGNORE)
        batch["before"] = pad_lists([f["before"] for f in features], IGNORE, left=True)
        for name in ("row", "block", "blocks"):
            if name in features[0]:
                batch[name] = torch.tensor([f[name] for f in features])
        return batch

    def next_tokens(self, ids: Sequence[int]) -> list[int]:
        """Return the next token of each token of a block, IGNORE where none is predicted."""
        last = len(ids) - 1
        following = [
            IGNORE if token in self.special and not (token == self.end and i == last) else token
            for i, token in enumerate(ids)
        ]
        return [*following[1:], IGNORE]

    # Batches to answers

    def forward(self, batch: Batch) -> Output:
        chosen = batch["labels"] != IGNORE
        with head_on_tokens(self.model, chosen):
            logits = self.logits(batch)[0]  # (M, V)
        mean, weight = self.loss(logits, batch["labels"][chosen])
        return Output(mean, logits, weight)

    def logits(self, batch: Batch) -> Tensor:
        return self.model(**self.model_inputs(batch), use_cache=False).logits

    def decode(self, batch: Batch, output: Output) -> list[TokenStats]:
        """Return a tally of each block; the first texts of a split are gone on with, for show."""
        labels = batch["labels"]
        tallies = [
            TokenStats(*sums) for sums in self.counted(output.logits, labels, labels != IGNORE)
        ]
        shown = [i for i in range(len(tallies)) if self.is_shown(batch, i)]
        halves = [self.halves(batch["input_ids"][i], labels[i]) for i in shown]
        written = self.written([first for first, _ in halves], labels.device)
        for i, (first, second), given in zip(shown, halves, written, strict=True):
            sample = GeneratedExample(self.text(first), self.text(second), given)
            tallies[i] = tallies[i]._replace(samples=(sample,))
        return tallies

    def is_shown(self, batch: Batch, i: int) -> bool:
        first = bool(batch["row"][i] < SAMPLES) and int(batch["block"][i]) == 0
        return first and int((batch["labels"][i] != IGNORE).sum()) >= SHORTEST

    def halves(self, ids: Tensor, labels: Tensor) -> tuple[list[int], list[int]]:
        """Part a block in two: what is gone on from, and what comes then."""
        length = int((labels != IGNORE).nonzero().max()) + 2
        middle = min(length // 2, self.room)
        return ids[:middle].tolist(), ids[middle:length].tolist()

    def predict(self, batch: Batch) -> list[TokenStats]:
        """Tell what each block costs, and go on with each text after its last one."""
        output = self(batch)
        labels = batch["labels"]
        tallies = [
            TokenStats(*sums) for sums in self.counted(output.logits, labels, labels != IGNORE)
        ]
        lasts = (batch["block"] == batch["blocks"] - 1).nonzero()[:, 0].tolist()
        written = self.written([self.prompt(batch, i) for i in lasts], labels.device)
        for i, text in zip(lasts, written, strict=True):
            tallies[i] = tallies[i]._replace(written=(text,))
        return tallies

    def prompt(self, batch: Batch, i: int) -> list[int]:
        """Return the end of a text, as much as leaves room for what is new."""
        before = [token for token in batch["before"][i].tolist() if token != IGNORE]
        own = batch["input_ids"][i][batch["attention_mask"][i] > 0].tolist()
        return [self.start, *[*before, *own[1:-1]][1 - self.room :]]

    def written(self, prompts: Sequence[Sequence[int]], device: torch.device) -> list[str]:
        """Go on with each prompt; what was written ends where the model ended it."""
        if not prompts:
            return []
        mask = pad_lists([[1] * len(p) for p in prompts], 0, left=True)  # (B, P)
        ids = pad_lists(prompts, self.tokenizer.pad_token_id, left=True)
        places = (mask.cumsum(1) - 1 + first_position(self.model.config)) * mask
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        model: Any = self.model
        found = model.generate(
            **{name: tensor.to(device) for name, tensor in given.items()},
            generation_config=self.search,
            logits_processor=self.chance(prompts),
        )
        return [self.text(row) for row in labels_of(found[:, ids.shape[1] :], self.end).tolist()]

    def chance(self, prompts: Sequence[Sequence[int]]) -> LogitsProcessorList:
        """Return what makes draws of choices, where asked for."""
        if not self.draws:
            return LogitsProcessorList()
        warpers = [
            TemperatureLogitsWarper(float(self.temperature)),
            TopPLogitsWarper(float(self.top_p)),
        ]
        return LogitsProcessorList([*warpers, GumbelSampling(prompts)])

    def text(self, ids: Sequence[int]) -> str:
        told = [token for token in ids if token != IGNORE]
        return str(self.tokenizer.decode(told, skip_special_tokens=True)).strip()

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Expect what a unigram model does of the train split."""
        return [{"continuation": "", **self.guess()} for _ in rows]

    def aggregate(
        self, predictions: Sequence[Sequence[TokenStats]], rows: Sequence[Row]
    ) -> list[Answer]:
        return [_answer(joined(tallies)) for tallies in predictions]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        loss = mean_over(answers, "loss", "tokens")
        return {
            "lm_loss": loss,
            "perplexity": float(torch.tensor(loss, dtype=torch.float64).exp()),
            "lm_accuracy": mean_over(answers, "accuracy", "tokens"),
            "unigram_loss": mean_over(answers, "unigram_loss", "tokens"),
        }

    def generated_examples(
        self, answers: Sequence[Answer], rows: Sequence[Row]
    ) -> list[GeneratedExample]:
        return [sample for answer in answers for sample in answer.get("samples", ())]


def new_tokens(requested: int | None, max_length: int) -> int:
    """Return how many tokens a text is gone on with, where not given by `max_length`."""
    return max(1, max_length // 4) if requested is None else requested


def _answer(stats: TokenStats) -> Answer:
    answer: Answer = {"continuation": "".join(stats.written), **means(stats)}
    return answer | ({"samples": stats.samples} if stats.samples else {})
