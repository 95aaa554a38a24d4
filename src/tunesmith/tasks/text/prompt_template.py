"""Templates: words around a row's texts, with a mask in the place of what is asked."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from tunesmith.errors import ConfigError, TunesmithError

TEXTS = ("text", "text_pair")
MASK = "mask"
KEY = "task.template"

Span = tuple[int, int]  # characters: the first one, and the one after the last


class Filled(NamedTuple):
    """A template with something in its places, and where in the text each of them is."""

    text: str
    spans: Mapping[str, Span]


@dataclass(frozen=True)
class Template:
    """Such as "{text} It was {mask}."; braces that are meant stand twice."""

    text: str

    @property
    def parts(self) -> list[tuple[str, str | None]]:
        """Return (words, the place after them or None); raises ValueError where braces are odd."""
        return [
            (words, name if name is None else f"{name}{f'!{how}' if how else ''}{form or ''}")
            for words, name, form, how in Formatter().parse(self.text)
        ]

    @property
    def texts(self) -> list[str]:
        """Return the columns that it shows."""
        return [name for _, name in self.parts if name in TEXTS]

    def check_errors(self, columns: Collection[str]) -> list[TunesmithError]:
        """Return what is wrong with it where rows have these columns."""
        try:
            places = Counter(name for _, name in self.parts if name is not None)
        except ValueError as error:
            return [_wrong(self.text, f"its braces cannot be read: {error}")]
        wanted = {MASK, *(name for name in TEXTS if name in columns)}
        found: list[TunesmithError] = [
            _strange(self.text, name) for name in places if name not in wanted
        ]
        lacking = [name for name in sorted(wanted) if not places[name]]
        twice = [name for name in sorted(wanted) if places[name] > 1]
        found += [_wrong(self.text, f"has no {{{name}}}") for name in lacking]
        return found + [_wrong(self.text, f"has {{{name}}} {places[name]} times") for name in twice]

    def filled(self, values: Mapping[str, str]) -> Filled:
        """Put values in its places."""
        text, spans = "", {}
        for words, name in self.parts:
            text += words
            if name is not None:
                spans[name] = (len(text), len(text) + len(values[name]))
                text += values[name]
        return Filled(text, spans)


def _wrong(template: str, message: str) -> ConfigError:
    return ConfigError("CONF-TEMPLATE", f"{KEY}={template!r}", message)


def _strange(template: str, name: str) -> ConfigError:
    if name in TEXTS:
        what = f"has {{{name}}}, and data.{name}=null names no such column"
    else:
        what = f"has {{{name}}}; it takes {{text}}, {{text_pair}} and {{mask}}"
    return _wrong(template, what)


def encoded(
    template: Template,
    texts: Mapping[str, str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    truncation: str,
) -> tuple[Any, int, int]:
    """Return the encoding of a filled template, the place of its mask, and its uncut length.

    What is too long is cut from the texts, the longest first, never from the template. A text's
    own mask tokens are not the template's.
    """
    values = {**texts, MASK: str(tokenizer.mask_token)}
    filled = template.filled(values)
    encoding = tokenizer(filled.text, verbose=False).encodings[0]
    full = len(encoding)
    while len(encoding) > max_length and any(values[name] for name in texts):
        excess = len(encoding) - max_length
        values |= _shortened(texts.keys(), filled, encoding.offsets, excess, truncation)
        filled = template.filled(values)
        encoding = tokenizer(filled.text, verbose=False).encodings[0]
    return encoding, mask_position(encoding, filled.spans[MASK], tokenizer.mask_token_id), full


def _shortened(
    names: Collection[str], filled: Filled, offsets: list[Span], excess: int, truncation: str
) -> dict[str, str]:
    """Return the texts with so many tokens less; each token is taken from the longest left."""
    spans = {name: filled.spans[name] for name in names}
    tokens = {
        n: [o for o in offsets if a <= o[0] < o[1] and o[0] < b] for n, (a, b) in spans.items()
    }
    left = {name: len(found) for name, found in tokens.items()}
    for _ in range(min(excess, sum(left.values()))):
        left[max(left, key=lambda name: left[name])] -= 1
    return {
        name: filled.text[slice(*_retained(tokens[name], left[name], spans[name], truncation))]
        for name in names
    }


def _retained(tokens: list[Span], count: int, span: Span, truncation: str) -> Span:
    """Return which characters of a text stay where `count` of its tokens do."""
    if count == len(tokens):
        return span if tokens else (span[0], span[0])
    if not count:
        return span[0], span[0]
    if truncation == "left":
        return tokens[-count][0], span[1]
    return span[0], min(tokens[count - 1][1], span[1])


def mask_position(encoding: Any, span: Span, mask: int | None) -> int:
    """Return the number of the token that stands for the template's mask; -1: there is none.

    Some tokenizers add the blank before a mask to it.
    """
    found = zip(encoding.ids, encoding.offsets, strict=True)
    return next((i for i, (token, o) in enumerate(found) if token == mask and o[1] == span[1]), -1)


def tokens_of_word(
    template: Template, word: str, tokenizer: PreTrainedTokenizerBase
) -> list[tuple[int, str]]:
    """Return the tokens that a word becomes in the place of the mask, with their names."""
    values = dict.fromkeys(template.texts, "a") | {MASK: word}
    filled = template.filled(values)
    encoding = tokenizer(filled.text, verbose=False).encodings[0]
    start, end = filled.spans[MASK]
    blank = start - filled.text[:start].endswith(" ")  # a token of its own in some vocabularies
    rows = zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
    words = [row for row, rest in zip(rows, encoding.special_tokens_mask, strict=True) if not rest]
    return [(i, name) for i, name, (a, b) in words if (a < end and b > blank) or a == b == start]
