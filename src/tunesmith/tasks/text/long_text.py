"""A text that is too long to be read at once: cut at an end, in the middle, or into windows."""

from collections.abc import Mapping, Sequence
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
    tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any], max_length: int, truncation: str
) -> list[dict[str, Any]]:
    """Encode the text of a row, or its pair: what the model reads, `length` and `full_length`.

    "middle" keeps the first quarter of `max_length` tokens and the last three (Sun et al., 2019,
    5.3.1); "windows" gives as many features as the text takes, of which neighbours share a third.
    """
    if truncation == "middle":
        return [_without_middle(tokenizer, row["text"], max_length)]
    if truncation == "windows":
        return _in_windows(tokenizer, row["text"], max_length)
    texts = (row["text"], row.get("text_pair"))
    found = tokenizer(*texts, truncation=True, max_length=max_length)
    # What was cut off a pair is listed more than once: only a second look tells how much it was.
    whole = tokenizer(*texts, verbose=False) if found.encodings[0].overflowing else found
    return [_read(found) | {"full_length": len(whole["input_ids"])}]


def _without_middle(
    tokenizer: PreTrainedTokenizerBase, text: str, max_length: int
) -> dict[str, Any]:
    whole = _read(tokenizer(text, verbose=False))
    full, head = whole.pop("length"), max_length // 4
    if full > max_length:
        whole = {k: v[:head] + v[head - max_length :] for k, v in whole.items()}
    return whole | {"length": min(full, max_length), "full_length": full}


def _in_windows(
    tokenizer: PreTrainedTokenizerBase, text: str, max_length: int
) -> list[dict[str, Any]]:
    found = tokenizer(
        text,
        truncation=True,
        max_length=max_length,
        stride=overlap(None, max_length),
        return_overflowing_tokens=True,
    )
    windows = [{k: v[i] for k, v in found.items()} for i in range(len(found.encodings))]
    features = [_read(window) for window in windows]
    return [one | {"full_length": one["length"]} for one in features]


def _read(encoding: Mapping[str, Any]) -> dict[str, Any]:
    ids = encoding["input_ids"]
    skipped = ("attention_mask", "overflow_to_sample_mapping")
    return {k: v for k, v in encoding.items() if k not in skipped} | {"length": len(ids)}


def pooled(predictions: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Return one prediction a row, (N, ...): the mean of its windows' logits."""
    return np.stack([np.mean(windows, axis=0) for windows in predictions])
