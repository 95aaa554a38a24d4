"""Prompting: a label is the word that a masked language model puts into a template."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.errors import ConfigError, TunesmithError, did_you_mean, raise_all
from tunesmith.models import heads
from tunesmith.models.heads import head_on_tokens
from tunesmith.runtime.options import LabelWords, Text
from tunesmith.tasks.base import Batch, Features, Row, TaskContext
from tunesmith.tasks.bases.masked_lm import need_mask_token
from tunesmith.tasks.bases.single_label import SingleLabel
from tunesmith.tasks.capabilities import NotesTruncation
from tunesmith.tasks.losses import CrossEntropy
from tunesmith.tasks.text import prompt_template
from tunesmith.tasks.text.prompt_template import Template


class Prompt(SingleLabel, NotesTruncation):
    """Asks a masked language model for one of a few words, each of which means a label.

    The logits of the labels are those of their words at the mask (Schick & Schütze, 2021, PET;
    Gao et al., 2021, LM-BFF), so no head has to be learnt from a few rows.
    """

    head = heads.MASKED_LM
    losses = (CrossEntropy,)

    loss: CrossEntropy
    words: Tensor  # (C,) the token of each label

    def __init__(self, *, template: Text, verbalizer: LabelWords | None, **common: Any) -> None:
        super().__init__(**common)
        self.template = Template(template)
        tokens = tokens_of(self.template, verbalizer, list(self.label_to_id), self.tokenizer)
        self.register_buffer("words", torch.tensor(tokens), persistent=False)

    @classmethod
    def check(cls, context: TaskContext) -> None:
        """Raise what is wrong with the template or with a label's word."""
        need_mask_token(context)
        asked = Template(context.options["template"])
        raise_all(asked.check_errors(context.columns))
        tokens_of(asked, context.options["verbalizer"], context.labels or [], context.tokenizer)
        empty = dict.fromkeys(asked.texts, "")
        encoding, _, _ = prompt_template.encoded(
            asked, empty, context.tokenizer, context.max_length, "right"
        )
        if len(encoding) >= context.max_length:
            what = f"the template alone is {len(encoding)} tokens long"
            fix = "raise it, or shorten task.template"
            raise ConfigError("CONF-LENGTH", f"data.max_length={context.max_length}", what, fix)

    def truncation_note(self) -> str:
        return f"texts truncated, so that with the template they have {self.max_length} tokens"

    def encode(self, row: Row) -> list[Features]:
        """Put the row's texts into the template; what is too long is cut from them alone."""
        texts = {name: row[name] for name in self.template.texts}
        encoding, place, full = prompt_template.encoded(
            self.template, texts, self.tokenizer, self.max_length, self.truncation
        )
        read = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
        features = {k: v for k, v in read.items() if k in self.tokenizer.model_input_names}
        features |= {"mask_at": place, "length": len(encoding), "full_length": full}
        if row.get("label") is not None:
            features["labels"] = self.label_of(row)
        return [features]

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest; `mask_at` (B,) is the place of the mask."""
        batch = self.collate_text(features)
        return batch | {"mask_at": torch.tensor([f["mask_at"] for f in features])}

    def logits(self, batch: Batch) -> Tensor:
        """Return the scores of the labels' words at the mask (B, C)."""
        places = torch.arange(batch["input_ids"].size(1), device=batch["mask_at"].device)
        with head_on_tokens(self.model, places == batch["mask_at"].unsqueeze(1)):
            scores = self.model(**self.model_inputs(batch)).logits[0]  # (B, V)
        return scores[:, self.words]


def tokens_of(
    asked: Template,
    words: Mapping[Any, str] | None,
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
) -> list[int]:
    """Return the token of each label's word; where no words are given, labels are their own.

    Raises ConfigError for a label without a word, and a word that is not one token of its own.
    """
    given = {str(k): v for k, v in words.items()} if words is not None else {x: x for x in labels}
    raise_all(_coverage(given, labels))
    errors: list[TunesmithError] = []
    label_of: dict[int, str] = {}
    for label in labels:
        pieces = prompt_template.tokens_of_word(asked, given[label], tokenizer)
        unknown = any(token == tokenizer.unk_token_id for token, _ in pieces)
        if len(pieces) != 1 or unknown:
            names = [name for _, name in pieces]
            errors.append(_no_token(label, given[label], names, unknown, words is None))
        elif (token := pieces[0][0]) in label_of:
            what = f"{label_of[token]!r} and {label!r} have the same word, {given[label]!r}"
            errors.append(ConfigError("CONF-WORDS", "task.verbalizer", what, "give each its own"))
        else:
            label_of[token] = label
    raise_all(errors)
    return list(label_of)


def _coverage(verbalizer: Mapping[str, str], labels: Sequence[str]) -> list[TunesmithError]:
    """Find labels without a word, and words without a label."""
    lacking = [label for label in labels if label not in verbalizer]
    strange = [label for label in verbalizer if label not in labels]
    found = [f"no word for label {label!r}" for label in lacking]
    errors: list[TunesmithError] = [ConfigError("CONF-WORDS", "task.verbalizer", w) for w in found]
    for label in strange:
        fix = did_you_mean(label, list(labels)) or f"labels are {', '.join(labels[:8])}"
        what = f"{label!r} is no label of the data"
        errors.append(ConfigError("CONF-WORDS", "task.verbalizer", what, fix))
    return errors


def _no_token(
    label: str, word: str, tokens: Sequence[str], is_unknown: bool, is_name: bool
) -> ConfigError:
    where = f"task.verbalizer.{label}={word}"
    what = f"is {len(tokens)} tokens ({', '.join(tokens)}), not one"
    if is_unknown or not tokens:
        what = "is no word of the model's vocabulary"
    fix = (
        "give each label a word: 'task.verbalizer={label: word, ...}'"
        if is_name
        else "another word"
    )
    return ConfigError("CONF-WORDS", where, what, fix)
