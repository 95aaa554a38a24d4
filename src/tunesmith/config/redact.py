"""What of a config may be written down or shown: secrets become `***`."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from tunesmith.config.interpolation import Config, Unresolved, leaves, resolve
from tunesmith.errors import ConfigError
from tunesmith.runtime.mask_secrets import (
    MASK,
    mask_plain_secrets,
    names_secret,
    names_secret_variable,
)

# A key and its value inside of {key: value}, as an override spells a mapping.
PAIR = re.compile(r"([\w.\-]+)\s*:\s*(\"[^\"]*\"|'[^']*'|[^,{}\[\]]+)")
READ = re.compile(r"oc\.env:\s*([^,}\s]*)")  # the variable that an interpolation reads
SHORT = 6  # a shorter secret is masked where it stands, not wherever its letters occur


def redact_config(composed: Config) -> dict[str, Any]:
    """Return a plain, resolved dict with `***` for secrets, fit to be written down.

    Masked are the values of keys that name a secret, what was read from a variable that does
    (`${oc.env:HF_TOKEN}`), also where another key repeats it, and what is a secret by itself.
    What else comes from the environment stays: without it a run could not be used again.
    """
    values, _, fed = resolve(composed)
    values.pop("hydra", None)
    hidden = {
        path: value
        for path, (text, value) in fed.items()
        if names_secret(path) or _reads_secret(text)
    }
    secrets = {v for v in hidden.values() if isinstance(v, str) and len(v) >= SHORT}
    longest_first = sorted(secrets, key=len, reverse=True)
    return {key: _masked(key, str(key), v, hidden, longest_first) for key, v in values.items()}


def refuse_masked(values: Mapping[str, Any], location: str, fix: str) -> None:
    """Raise ConfigError where a stored config lacks a secret that a training would need."""
    shown = (f"={MASK}", f":{MASK}@")  # in an address
    for path, value in leaves(values):
        if isinstance(value, str) and (value == MASK or any(part in value for part in shown)):
            raise ConfigError(
                "RUN-SECRET", location, f"{path} is a secret, and no file keeps it", fix
            )


def mask_override(text: str) -> str:
    """Return an override fit to be written down: secrets by their key and by themselves."""
    key, equal, value = text.partition("=")
    if equal and names_secret(key):
        return f"{key}={MASK}"
    return mask_plain_secrets(
        PAIR.sub(_masked_pair, text) if value.startswith(("{", "[")) else text
    )


def mask_value(key: str, value: Any) -> Any:
    """Return the value of a setting fit to be written down, whatever it is made of."""
    return _masked(key, key, value, (), [])


def _masked_pair(pair: re.Match[str]) -> str:
    return f"{pair[1]}:{MASK}" if names_secret(pair[1]) else pair[0]


def _masked(key: Any, path: str, value: Any, hidden: Collection[str], secrets: list[str]) -> Any:
    if isinstance(value, dict):
        return {k: _masked(k, f"{path}.{k}", v, hidden, secrets) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(key, f"{path}.{i}", v, hidden, secrets) for i, v in enumerate(value)]
    if isinstance(value, Unresolved):
        return "???"
    if value is None or isinstance(value, bool):
        return value
    if names_secret(str(key)) or path in hidden:
        return MASK
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, MASK)
    return mask_plain_secrets(value)


def _reads_secret(text: str) -> bool:
    """Say whether an interpolation reads a variable with the name of a secret, or may do so."""
    return any("$" in name or names_secret_variable(name) for name in READ.findall(text))


def as_typed(value: Any) -> str:
    """Write a value as one would type it."""
    typed = {None: "null", True: "true", False: "false"}
    is_word = value is None or isinstance(value, bool)
    text = mask_plain_secrets(typed[value] if is_word else str(value))
    return text if len(text) <= 60 else f"{text[:59]}…"
