"""What the rows of a split are, as a hash: whether a score is one of the same rows."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np


def hash_of_rows(texts: np.ndarray, labels: Iterable[Any] = ()) -> str:
    """Return the SHA-256 of rows, whatever their order, whoever reads them, from whichever file.

    `texts` (N,) are hashes of what is read, `labels` (N) what is to be predicted; none where
    labels are withheld.
    """
    wanted = np.zeros(len(texts), dtype="<u8")
    for i, label in enumerate(labels):
        wanted[i] = digest(json.dumps(label, sort_keys=True))
    order = np.lexsort((wanted, texts))
    pairs = np.stack([texts.astype("<u8"), wanted], axis=1)[order]  # (N, 2)
    return hashlib.sha256(pairs.tobytes()).hexdigest()


def digest(text: str) -> int:
    """Hash a text to 64 bits; half of 2^32 texts would be needed for a likely collision."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
