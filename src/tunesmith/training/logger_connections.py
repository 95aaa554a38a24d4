"""A store at an address: a database, a tracking server. Opened, or refused in one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from tunesmith.errors import MachineError, TunesmithError
from tunesmith.runtime.mask_secrets import MASK, password_of


@contextmanager
def connection_errors_as_one_line(address: str) -> Iterator[None]:
    """Put around what opens a store, and nothing else.

    Raises MachineError STORE for whatever goes wrong in it: a driver that is not installed, a
    host that does not answer, a password that is refused. The password is in neither its text
    nor, with --debug, its traceback.
    """
    try:
        yield
    except TunesmithError:
        raise
    except Exception as error:  # every driver and every server has kinds of its own
        raise _refusal(address, error) from None


def check_database(address: str) -> None:
    """Connect to a database server once, as SQLAlchemy would; nothing is made in it."""
    with connection_errors_as_one_line(address):
        import sqlalchemy

        engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect():
            pass


def _refusal(address: str, error: Exception) -> MachineError:
    shown = _without_password(address, address)
    if isinstance(error, ImportError) and error.name:
        kind = address.partition(":")[0].partition("+")[0]
        fix = f"install it, or name another: {kind}+DRIVER://"
        return MachineError("STORE", shown, f"driver {error.name!r} is not installed", fix)
    cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps what the driver says
    said = str(cause).strip() or type(cause).__name__
    return MachineError("STORE", shown, _without_password(said.splitlines()[0], address))


def _without_password(text: str, address: str) -> str:
    """Mask the address's password wherever it stands as a word of its own."""
    password = password_of(address)
    for secret in filter(None, (password, unquote(password))):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text
