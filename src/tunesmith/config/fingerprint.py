"""Which run a config is: what decides the result, as a hash and as differences."""

import hashlib
import json
from typing import Any

from tunesmith.config.interpolation import Config, leaves
from tunesmith.config.redact import redact_config

# Keys that decide nothing of the result: where it is written, what is shown, when it pauses.
NOT_HASHED = (
    "paths",
    "logger",
    "resume",
    "trust",
    "study",
    "search",
    "space",
    "executor",
    "callbacks.checkpoint.allow_worst_as_best",
    "callbacks.progress",
    "trainer.pause_at_step",
)


def config_hash(composed: Config) -> str:
    """Return the SHA-256 of all that decides the result.

    Secrets are not part of it: a new token makes no other run, and a hash that stands beside
    all the rest of what it was made of would let a short password be guessed.
    """
    text = json.dumps(_deciding(composed), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def config_diff(a: Config, b: Config) -> list[str]:
    """Name each key that gives the two another identity, with both values, secrets masked."""
    left, right = _deciding(a), _deciding(b)
    absent = "absent"
    return [
        f"{key}: {left.get(key, absent)} -> {right.get(key, absent)}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key, absent) != right.get(key, absent)
    ]


def _deciding(composed: Config) -> dict[str, Any]:
    """Flatten what decides the result into dotted keys; a list is one value."""
    return {
        path: value
        for path, value in leaves(redact_config(composed))
        if not any(path == key or path.startswith(f"{key}.") for key in NOT_HASHED)
    }
