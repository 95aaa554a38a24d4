"""What a worker keeps between segments: rows, tokenizer and base weights are paid for once."""

import json
from typing import Any

from omegaconf import DictConfig

from tunesmith.pipeline.components import Parts, draw_of, plain, prepare

ROOM = 4  # parts kept at once: a search over models does not fill the memory


class InputCache:
    """The parts of earlier segments, by all of the config that they come from.

    The data and model files of a study are not to change while it runs: a worker reads them
    once.
    """

    def __init__(self) -> None:
        self._parts: dict[str, Parts] = {}

    def parts(self, cfg: DictConfig) -> Parts:
        """Return the rows, the model's source and the tokenizer of a config."""
        key = json.dumps(_decides_parts(cfg), sort_keys=True, default=str)
        if key not in self._parts:
            while len(self._parts) >= ROOM:
                del self._parts[next(iter(self._parts))]
            self._parts[key] = prepare(cfg)
        return self._parts[key]


def _decides_parts(cfg: DictConfig) -> dict[str, Any]:
    skipped = ("batch_size", "bucket_window", "language_temperature", "shot_seed")
    data = {k: v for k, v in plain(cfg.data).items() if k not in skipped}
    if data["shots_per_class"] is not None or data["validation_shots_per_class"] is not None:
        data["shot_seed"] = draw_of(cfg)
    return {"data": data, "model": plain(cfg.model), "task": plain(cfg.task), "test": cfg.test}
