"""Reads made-up data with the defaults that `conf/data/files.yaml` ships."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tunesmith.data.columns import Column, ColumnType, Rows
from tunesmith.data.load import read
from tunesmith.data.options import DataOptions
from tunesmith.errors import DataError

ROOT = Path(__file__).parents[2]
CLASSIFY = {
    "text": Column(ColumnType.TEXT),
    "text_pair": Column(ColumnType.TEXT, required=False),
    "label": Column(ColumnType.CLASS, target=True),
}
SCORE = {"text": Column(ColumnType.TEXT), "label": Column(ColumnType.NUMBER, target=True)}
GOOD = "text,label\na fine day,pos\na bad day,neg\n"


def rows(
    columns: dict[str, Column] = CLASSIFY,
    need_validation: bool = True,
    only: Sequence[str] | None = None,
    cache: Path = Path("cache"),
    of_run: Sequence[str] | None = None,
    **options: Any,
) -> Rows:
    """Read with the defaults of conf/data/files.yaml but for the options given.

    `of_run` are the labels of a finished run.
    """
    defaults: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/data/files.yaml"))
    defaults.pop("defaults", None)
    asked = defaults | {"shot_seed": 0} | options  # in the yaml it follows the seed of the run
    for group in ("split", "splits"):
        asked[group] = defaults[group] | options.get(group, {})
    made = DataOptions.model_validate(asked)
    try:
        return read(columns, made, cache, only, of_run)
    except DataError as error:
        if need_validation or error.code != "DATA-SPLIT" or "no validation" not in error.what:
            raise
    return read(columns, made, cache, ["train", "test"])


def write(name: str, content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name
