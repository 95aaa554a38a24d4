"""What a worker keeps between segments: rows, tokenizer and base weights are paid for once."""

import json
from typing import Any

from tunesmith.config import RunConfig
from tunesmith.pipeline.inputs import RunInputs, few_shot_seed, load_inputs

ROOM = 4  # inputs kept at once: a search over models does not fill the memory


class InputCache:
    """The inputs of earlier segments, by all of the config that they come from.

    The data and model files of a study are not to change while it runs: a worker reads them
    once.
    """

    def __init__(self) -> None:
        self._inputs: dict[str, RunInputs] = {}

    def inputs_of(self, config: RunConfig) -> RunInputs:
        """Return the rows, the model's source and the tokenizer of a config."""
        key = json.dumps(_deciding_keys(config), sort_keys=True, default=str)
        if key not in self._inputs:
            while len(self._inputs) >= ROOM:
                del self._inputs[next(iter(self._inputs))]
            self._inputs[key] = load_inputs(config)
        return self._inputs[key]


def _deciding_keys(config: RunConfig) -> dict[str, Any]:
    skipped = {"batch_size", "bucket_window", "language_temperature", "shot_seed"}
    data = config.data.model_dump(exclude=skipped)
    if data["shots_per_class"] is not None or data["validation_shots_per_class"] is not None:
        data["shot_seed"] = few_shot_seed(config)
    model = config.model.model_dump()
    return {"data": data, "model": model, "task": config.task, "test": config.test}
