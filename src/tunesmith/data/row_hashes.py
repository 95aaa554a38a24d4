"""What the rows of a split are, as a hash: whether a score is one of the same rows."""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

import numpy as np


def hash_of_rows(texts: np.ndarray, labels: Iterable[Any] = ()) -> str:
    """Return the SHA-256 of rows, whatever their order, whoever reads them, from whichever file.

    `texts` (N,) are hashes of what is read, `labels` (N) what is to be predicted; none where
    labels are withheld.
    """
    wanted = np.zeros(len(texts), dtype="<u8")
    for i, label in enumerate(labels):
        wanted[i] = _digest_of_json(json.dumps(label, sort_keys=True))
    order = np.lexsort((wanted, texts))
    pairs = np.stack([texts.astype("<u8"), wanted], axis=1)[order]  # (N, 2)
    return hashlib.sha256(pairs.tobytes()).hexdigest()


@lru_cache(1024)  # few labels stand in many rows; where each is another text, few are held
def _digest_of_json(text: str) -> int:
    return digest(text)


def digest(text: str) -> int:
    """Hash a text to 64 bits; half of 2^32 texts would be needed for a likely collision."""
    return int(digests([text])[0])


def digests(texts: Iterable[str]) -> np.ndarray:
    """Return the hash of each of N texts, (N,): see `digest`."""
    return digests_of_bytes(text.encode("utf-8", "surrogatepass") for text in texts)


def digests_of_bytes(parts: Iterable[bytes]) -> np.ndarray:
    """Return 64 bits of BLAKE2b of each of N byte strings, (N,)."""
    blake = partial(hashlib.blake2b, digest_size=8)
    return np.frombuffer(b"".join([blake(part).digest() for part in parts]), dtype="<u8")
