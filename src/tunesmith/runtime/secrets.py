"""Addresses with a login in them (postgresql://user:password@host/db), as they may be shown."""

import re

MASK = "***"
# A password ends at the last @ of its word; what follows a host and a colon is a port.
_PORT = r"(?!\d+(?:[/?#\s]|$))"
_LOGIN = re.compile(rf"(\b[\w+.\-]+://[^/\s:@]*):{_PORT}\S+@")
_PASSWORD = re.compile(rf"[\w+.\-]+://[^/:@]*:{_PORT}(.+)@", re.DOTALL)


def mask_url_passwords(text: str) -> str:
    """Put `***` in the place of the password of every address in a text."""
    return _LOGIN.sub(rf"\1:{MASK}@", text)


def password_of(address: str) -> str:
    """Return the password in an address as it stands there, "" if there is none."""
    found = _PASSWORD.match(address)
    return found[1] if found else ""
