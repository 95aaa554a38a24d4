"""The lines of a text file, decoded: a row too long or a byte of another encoding is refused."""

import codecs
import re
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path

from tunesmith.data.columns import LONGEST_ROW
from tunesmith.errors import ConfigError, DataError

HEAD = 1000  # lines that a guess looks at
HALF = re.compile(r"[\ud800-\udfff]")  # of a pair of surrogates; a whole one is one character


def head_of(path: Path, encoding: str, errors: str) -> list[str]:
    """Return the first lines, without their ends."""
    with closing(lines_of(path, encoding, errors)) as lines:
        return [line.rstrip("\r\n") for line in islice(lines, HEAD)]


def lines_of(path: Path, encoding: str, errors: str) -> Generator[str, None, None]:
    """Yield the lines with their ends; a byte-order mark of UTF-8 is no part of them."""
    codec = checked_codec(path, encoding)
    # newline="" keeps a line break inside a quoted cell as it is.
    with path.open(encoding=codec, errors=errors, newline="") as handle:
        number = 0
        try:
            while line := handle.readline(LONGEST_ROW + 1):
                number += 1
                line = line.lstrip("\ufeff") if number == 1 else line  # some write it twice
                if len(line) > LONGEST_ROW:
                    raise too_long(path, number)
                yield line
        except UnicodeError:
            raise undecodable(path, str(path), codec) from None


def too_long(path: Path, number: int) -> DataError:
    return DataError(
        "DATA-ROW", f"{path}:{number}", f"one row of more than {LONGEST_ROW // 10**6} MB"
    )


def checked_codec(path: Path, encoding: str) -> str:
    """Return the codec that reads the file, or say what its first bytes say against it."""
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise ConfigError("CONF-VALUE", "data.encoding", f"no encoding {encoding!r}") from None
    with path.open("rb") as handle:
        start = handle.read(2)
    if codec.startswith("utf-8") and start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        what = "UTF-16 byte-order mark"
        raise DataError("DATA-ENC", str(path), what, "set data.encoding=utf-16")
    return "utf-8-sig" if codec == "utf-8" else codec


def undecodable(path: Path, name: str, codec: str) -> DataError:
    """Find the first bytes that the codec does not know; called once reading has failed."""
    if not codec.startswith("utf-8"):
        return DataError("DATA-ENC", name, f"not {codec.upper()}", "set data.encoding")
    with path.open("rb") as handle:
        for number, line in enumerate(iter(lambda: handle.readline(LONGEST_ROW + 1), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where = f"{name}:{number} byte {error.start + 1}"
                what = f"not UTF-8 (0x{line[error.start]:02x})"
                return DataError("DATA-ENC", where, what, "set data.encoding=latin-1")
    return DataError("DATA-ENC", name, "not UTF-8", "set data.encoding=latin-1")
