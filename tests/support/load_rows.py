"""Reads made-up data with the defaults that `conf/data/files.yaml` ships."""

import inspect
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tunesmith.data.columns import COLUMNS, Column, ColumnType, Rows
from tunesmith.data.load import read

ROOT = Path(__file__).parents[2]
CLASSIFY = {
    "text": Column(ColumnType.TEXT),
    "text_pair": Column(ColumnType.TEXT, required=False),
    "label": Column(ColumnType.CLASS, target=True),
}
SCORE = {"text": Column(ColumnType.TEXT), "label": Column(ColumnType.NUMBER, target=True)}
GOOD = "text,label\na fine day,pos\na bad day,neg\n"


def rows(columns: dict[str, Column] = CLASSIFY, **options: Any) -> Rows:
    """Read with the defaults of conf/data/files.yaml but for the options given."""
    defaults = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/data/files.yaml"))
    known = {*inspect.signature(read).parameters, *COLUMNS}
    asked = {k: v for k, v in defaults.items() if k in known} | {"cache": Path("cache")}
    asked |= {"shot_seed": 0} | options  # in the yaml it follows the seed of the run
    asked["names"] = {column: asked.pop(column) for column in COLUMNS}
    asked["split"] = defaults["split"] | options.get("split", {})
    asked["splits"] = defaults["splits"] | options.get("splits", {})
    return read(columns, **asked)


def write(name: str, content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name
