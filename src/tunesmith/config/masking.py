"""What of a config may be written down or shown: secrets become `***`."""

import re
from typing import Any

from tunesmith.addresses import MASK, masked
from tunesmith.config.plain import Broken, Config, leaves, resolve

SECRET = re.compile(
    r"password|passwd|secret|api_?key|credential|token(?!i|s\b|_id|_type)", re.IGNORECASE
)
# A key and its value inside of {key: value}, as an override spells a mapping.
PAIR = re.compile(r"([\w.\-]+)\s*:\s*(\"[^\"]*\"|'[^']*'|[^,{}\[\]]+)")
SHORT = 6  # a shorter secret is masked where it stands, not wherever its letters occur


def redacted(cfg: Config) -> dict[str, Any]:
    """Return a plain, resolved dict with `***` for secrets, fit to be written down.

    Masked are the values of keys that name a secret, passwords in URLs, and whatever came from
    the environment (`${oc.env:X}`), also where another key repeats it.
    """
    values, _, hidden = resolve(cfg)
    values.pop("hydra", None)
    secrets = {str(value) for path, value in leaves(values) if path in hidden}
    return {key: _masked(key, value, secrets) for key, value in values.items()}


def masked_override(text: str) -> str:
    """Return an override fit to be written down: secrets by their key, passwords in URLs."""
    key, equal, value = text.partition("=")
    if equal and names_secret(key):
        return f"{key}={MASK}"
    return masked(PAIR.sub(_masked_pair, text) if value.startswith(("{", "[")) else text)


def masked_value(key: str, value: Any) -> Any:
    """Return the value of a setting fit to be written down, whatever it is made of."""
    return _masked(key, value, set())


def _masked_pair(pair: re.Match[str]) -> str:
    return f"{pair[1]}:{MASK}" if names_secret(pair[1]) else pair[0]


def _masked(key: Any, value: Any, secrets: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _masked(k, v, secrets) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(key, v, secrets) for v in value]
    if isinstance(value, Broken):
        return "???"
    if value is None or isinstance(value, bool):
        return value
    if names_secret(str(key)) or str(value) in secrets:
        return MASK
    if not isinstance(value, str):
        return value
    for secret in sorted((s for s in secrets if len(s) >= SHORT), key=len, reverse=True):
        value = value.replace(secret, MASK)
    return masked(value)


def names_secret(path: str) -> bool:
    """Say whether a key's name tells that its value is a secret."""
    return SECRET.search(path.rpartition(".")[2]) is not None


def as_typed(value: Any) -> str:
    """Write a value as one would type it."""
    typed = {None: "null", True: "true", False: "false"}
    is_word = value is None or isinstance(value, bool)
    text = masked(typed[value] if is_word else str(value))
    return text if len(text) <= 60 else f"{text[:59]}…"
