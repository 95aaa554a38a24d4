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
_ADDRESS = re.compile(r"[\w+.\-]+://[^\s\"'<>]+")
_QUERY = re.compile(r"([?&;]([\w.\-]+)=)([^&;#\s]+)")
_QUERY_KEYS = frozenset({"key", "sig", "signature", "x-amz-signature", "auth", "code"})
# Tokens that say by their first letters whose they are: Hugging Face, OpenAI and Anthropic, GitHub,
# GitLab, Slack, AWS, Google, Databricks, npm, PyPI; and JSON web tokens.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_(?=[A-Z0-9]*[a-z])(?=[a-z0-9]*[A-Z])[A-Za-z0-9]{30,}"
    r"|sk-(?:[a-z]+\d*-){0,2}(?=[A-Z0-9_]*[a-z])(?=[a-z0-9_]*[A-Z])(?=\w*\d)\w{20,}[\w\-]*"
    r"|gh[opsur]_(?=[A-Za-z]*\d)[A-Za-z0-9]{36,}"
    r"|github_pat_\w{16,}|glpat-[\w\-]{16,}|xox[abeprs]-[\w\-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|AIza[\w\-]{30,}|dapi[0-9a-f]{32}|npm_[A-Za-z0-9]{30,}|pypi-[\w\-]{40,}"
    r"|eyJ[\w\-]{10,}\.[\w\-]{10,}\.[\w\-]*)"
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


def mask_plain_secrets(text: str) -> str:
    """Put `***` in the place of what is a secret whatever its key is called.

    That are the passwords of addresses, secrets in their queries (`?token=...`), and tokens of
    known services, which say by their first letters whose they are.
    """
    text = _PASSWORD_IN_URL.sub(rf"\1:{MASK}@", text)
    if "://" in text:
        text = _ADDRESS.sub(lambda address: _QUERY.sub(_masked_part, address[0]), text)
    return _TOKEN.sub(MASK, text)


def _masked_part(part: re.Match[str]) -> str:
    is_secret = names_secret(part[2]) or part[2].lower() in _QUERY_KEYS
    return f"{part[1]}{MASK}" if is_secret else part[0]


def password_of(address: str) -> str:
    """Return the password in an address as it stands there, "" if there is none."""
    found = _PASSWORD.match(address)
    return found[1] if found else ""


def mask_text(text: str) -> str:
    """Hide `password=...`, `token: ...`, `Bearer ...` and `user:password@` anywhere in a text."""
    return mask_assigned(_LOGIN.sub(rf"\1{MASK}@", mask_plain_secrets(text)))


def mask_assigned(text: str) -> str:
    """Hide the values of `password=...`, `token: ...` and `Bearer ...` anywhere in a text."""
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
