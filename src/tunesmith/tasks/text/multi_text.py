"""Several texts a row, each read by itself: how they stand in features and batches."""

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.tasks.base import Batch, Features
from tunesmith.tasks.text import long_text

Text = str | tuple[str, str] | None  # or a pair of texts that is read at once; None: no text


def encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], longest: int) -> Features:
    """Return what the model reads of a row: for each name a list of C texts, each cut by itself.

    No text has no tokens, as padding has none. `length` is that of the longest text.
    """
    read = [_read(tokenizer, text, longest) for text in texts]
    names = [name for name in tokenizer.model_input_names if name != "attention_mask"]
    features: Features = {name: [one.get(name, []) for one in read] for name in names}
    for name in ("length", "full_length"):
        features[name] = max(one[name] for one in read)
    return features


def _read(tokenizer: PreTrainedTokenizerBase, text: Text, longest: int) -> Features:
    if text is None:
        return {"length": 0, "full_length": 0}
    text, text_pair = (text, None) if isinstance(text, str) else text
    row = {"text": text, "text_pair": text_pair}
    [[read]] = long_text.encoded(tokenizer, [row], longest, "right")
    return read


def is_text(batch: Batch) -> Tensor:
    """Return which places (B, C) hold a text."""
    return batch["attention_mask"].any(-1)


def of_texts(inputs: Batch, chosen: Tensor) -> Batch:
    """Return the inputs (N, T) of the N chosen texts (B, C), padded to their longest alone."""
    flat = {name: tensor[chosen] for name, tensor in inputs.items()}
    longest = int(flat["attention_mask"].sum(-1).max()) if len(flat["attention_mask"]) else 0
    return {name: tensor[:, :longest] for name, tensor in flat.items()}
