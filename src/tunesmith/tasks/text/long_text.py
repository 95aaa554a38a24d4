"""A text that is too long to be read at once: cut at an end, in the middle, or into windows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from tunesmith.errors import ConfigError

AT_AN_END = ("right", "left")
OF_A_TEXT = (*AT_AN_END, "middle", "windows")  # values of data.truncation


def overlap(stride: int | None, max_length: int) -> int:
    """Return how many tokens neighbouring windows share: a third of them where nothing is said."""
    return max_length // 3 if stride is None else stride


def truncation_side(truncation: str) -> str:
    """Return the side at which a tokenizer cuts, or at which the last window ends."""
    return "left" if truncation == "left" else "right"


def check_truncation(task: str, modes: Sequence[str], truncation: str, has_pairs: bool) -> None:
    """Raise ConfigError where a task, or a pair of texts, cannot be truncated that way."""
    where = f"data.truncation={truncation}"
    if truncation not in modes:
        what = f"{task} can only truncate {' or '.join(modes)}"
        raise ConfigError("CONF-LENGTH", where, what)
    if has_pairs and truncation not in AT_AN_END:
        what = f"a pair of texts is truncated {' or '.join(AT_AN_END)}"
        raise ConfigError("CONF-LENGTH", where, what, "or set data.text_pair=null")


def check_room(tokenizer: PreTrainedTokenizerBase, max_length: int, truncation: str) -> None:
    """Raise ConfigError where a window would not go on from the one before."""
    shared = overlap(None, max_length)
    if truncation == "windows" and max_length - tokenizer.num_special_tokens_to_add() <= shared:
        what = f"windows of so few tokens, of which {shared} are shared, do not go on"
        raise ConfigError("CONF-LENGTH", f"data.max_length={max_length}", what, "raise it")


def encoded(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]],
    max_length: int,
    truncation: str,
) -> list[list[dict[str, Any]]]:
    """Encode the text of each row, or its pair: what the model reads, `length`, `full_length`.

    "middle" keeps the first quarter of `max_length` tokens and the last three (Sun et al., 2019,
    5.3.1); "windows" gives as many features as a text takes, of which neighbours share a third.
    """
    if truncation == "middle":
        return [[_without_middle(one, max_length)] for one in _read(tokenizer, rows)]
    if truncation == "windows":
        return _in_windows(tokenizer, rows, max_length)
    read = _read(tokenizer, rows, truncation=True, max_length=max_length)
    features = [one | {"full_length": one["length"]} for one in read]
    # What was cut off a pair is listed more than once: only a second look tells how much it was.
    cut = [i for i, one in enumerate(read) if one["length"] >= max_length]
    for i, whole in zip(cut, _read(tokenizer, [rows[i] for i in cut]), strict=True):
        features[i]["full_length"] = whole["length"]
    return [[one] for one in features]


def _without_middle(whole: dict[str, Any], max_length: int) -> dict[str, Any]:
    full, head = whole.pop("length"), max_length // 4
    if full > max_length:
        whole = {k: v[:head] + v[head - max_length :] for k, v in whole.items()}
    return whole | {"length": min(full, max_length), "full_length": full}


def _in_windows(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]], max_length: int
) -> list[list[dict[str, Any]]]:
    found = tokenizer(
        [row["text"] for row in rows],
        truncation=True,
        max_length=max_length,
        stride=overlap(None, max_length),
        return_overflowing_tokens=True,
    )
    features: list[list[dict[str, Any]]] = [[] for _ in rows]
    for row, window in zip(found["overflow_to_sample_mapping"], _each(found), strict=True):
        features[row].append(window | {"full_length": window["length"]})
    return features


def _read(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]], **options: Any
) -> list[dict[str, Any]]:
    """Return what the model reads of each row, and its `length`; quicker than row by row."""
    if not rows:
        return []
    texts, pairs = [row["text"] for row in rows], [row.get("text_pair") for row in rows]
    alone = [pair is None for pair in pairs]
    if any(alone) and not all(alone):
        return [_read(tokenizer, [row], **options)[0] for row in rows]
    return list(_each(tokenizer(texts, None if alone[0] else pairs, verbose=False, **options)))


def _each(encoding: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    skipped = ("attention_mask", "overflow_to_sample_mapping")
    names = [name for name in encoding if name not in skipped]
    for values in zip(*(encoding[name] for name in names), strict=True):
        read = dict(zip(names, values, strict=True))
        yield read | {"length": len(read["input_ids"])}


def pooled(predictions: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Return one prediction a row, (N, ...): the mean of its windows' logits."""
    return np.stack([np.mean(windows, axis=0) for windows in predictions])
