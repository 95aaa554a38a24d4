"""The `tunesmith tokenizer` command: from texts that a config names to a vocabulary in a folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunesmith import config
from tunesmith.config import RunConfig
from tunesmith.config.composer import Composer
from tunesmith.errors import ConfigError


def make(sources: Sequence[str], output: Path, size: int, lowercase: bool) -> int:
    """Train a tokenizer on files, or on the train split of what overrides (`data=...`) name.

    Returns how many pieces it has. Raises ConfigError where `output` holds something already.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        what = "is there already: runs may rely on it"
        raise ConfigError("CLI", f"--output {output}", what, "name a new folder")
    overrides = [word for word in sources if "=" in word]
    files = [word for word in sources if "=" not in word]
    configs = [_composed(overrides, file) for file in files] or [_composed(overrides)]
    from tunesmith.models import wordpiece

    tokenizer = wordpiece.train(_texts(configs), size, lowercase)
    wordpiece.write(tokenizer, output)
    return len(tokenizer)


def _composed(overrides: Sequence[str], file: str | None = None) -> RunConfig:
    data = ["data=files"] if file is not None else []
    words = [*data, *overrides, "task=mlm"]  # whatever task is named: texts alone are read
    cfg = Composer()(words)
    if file is not None:
        cfg.data.train_file = file  # not as an override: any name is allowed
    return config.resolved(cfg)


def _texts(configs: Sequence[RunConfig]) -> Iterator[str]:
    from tunesmith.pipeline.inputs import read_rows

    for one in configs:
        train: Any = read_rows(one, splits=["train"]).splits["train"]
        for row in train:
            yield row["text"]
