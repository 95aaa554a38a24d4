"""What is a secret by its name, and how a text, a command line or an address is shown without it.

One copy for everything that is written: configs, logs, environments, events, studies, errors.
"""

import re
from collections.abc import Sequence

MASK = "***"
# No other word has these in it.
_STEM = re.compile(
    r"passw(?:or)?d|passphrase|secret|credential|authorization|bearer|api_?key", re.I
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_KEYS = frozenset({"api", "access", "private", "secret", "ssh", "signing", "encryption", "license"})
# The special tokens of a tokenizer are no secrets: mask_token, pad_token.
_SPECIAL = frozenset(
    {"bos", "cls", "end", "eos", "first", "last", "mask", "pad", "sep", "start", "unk"}
)

# A password ends at the last @ of its word; what follows a host and a colon is a port.
_PORT = r"(?!\d+(?:[/?#\s]|$))"
_PASSWORD_IN_URL = re.compile(rf"(\b[\w+.\-]+://[^/\s:@]*):{_PORT}\S+@")
_PASSWORD = re.compile(rf"[\w+.\-]+://[^/:@]*:{_PORT}(.+)@", re.DOTALL)
_LOGIN = re.compile(r"(\b[\w+.\-]+://)[^/\s@]+@")  # user:password@, or a token@, of an address
_KEY = re.compile(r"([\w.\-+@/]+)[\"']?\s*[=:]\s*(?=\S)")
_VALUE = re.compile(
    r"(?:(?:basic|bearer|token)\s+)?"
    r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,}\]]+)",
    re.I,
)
_BEARER = re.compile(r"\b(Bearer\s+)[\w.~+/=\-]{6,}", re.I)


def names_secret(path: str) -> bool:
    """Say whether a key's name tells that its value is a secret: token, x-api-key, db_password.

    Tokenizers, special tokens and counts of tokens are none.
    """
    name = path.rpartition(".")[2]
    if _STEM.search(name.replace("-", "_")):
        return True
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token":
        return before not in _SPECIAL
    return words[-1] == "key" and before in _KEYS


def names_secret_variable(name: str) -> bool:
    """Say the same of an environment variable, such as SSH_KEY, DB_PASS or MY_AUTH."""
    last = name.rpartition("_")[2].lower()
    return names_secret(name) or ("_" in name and last in ("pass", "pwd", "key", "auth"))


def mask_url_passwords(text: str) -> str:
    """Put `***` in the place of the password of every address in a text."""
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}@", text)


def password_of(address: str) -> str:
    """Return the password in an address as it stands there, "" if there is none."""
    found = _PASSWORD.match(address)
    return found[1] if found else ""


def mask_text(text: str) -> str:
    """Hide `password=...`, `token: ...`, `Bearer ...` and `user:password@` anywhere in a text."""
    text = _LOGIN.sub(rf"\1{MASK}@", mask_url_passwords(text))
    text = _BEARER.sub(rf"\1{MASK}", text)
    shown, end = [], 0
    for key in _KEY.finditer(text):
        value = _VALUE.match(text, key.end())
        if key.start() >= end and value is not None and names_secret(key[1]):
            shown += [text[end : key.end()], MASK]
            end = value.end()
    return "".join([*shown, text[end:]])


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Hide the values of secrets in a command line."""
    shown: list[str] = []
    for argument in arguments:
        key, assigned, _ = argument.partition("=")
        asked = shown and shown[-1].startswith("--") and "=" not in shown[-1]
        if asked and names_secret(shown[-1]):  # --password VALUE
            shown.append(MASK)
        elif assigned and names_secret(key):
            shown.append(f"{key}={MASK}")
        else:
            shown.append(mask_text(argument))
    return shown
