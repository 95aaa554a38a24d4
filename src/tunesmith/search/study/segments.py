"""From a trial to its segments: the overrides, the config, the run directory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.config.interpolation import leaves
from tunesmith.search.storage.trial_record import Record, lineage
from tunesmith.search.trial import Segment

ConfigOf = Callable[[Sequence[str]], dict[str, Any]]


class Segments:
    """Makes the segments of a study, whose trials are judged at `rungs`.

    `keys` are what the space varies: the default's row shows its values of them too, where they
    are none of the space's. `records` are all trials, for those that began from others.
    """

    def __init__(
        self,
        folder: Path,
        rungs: Sequence[float],
        config_of: ConfigOf,
        keys: Sequence[str] = (),
        records: Sequence[Record] = (),
    ) -> None:
        self.folder, self.rungs, self.config_of = folder, list(rungs), config_of
        self.keys, self.records = list(keys), records

    def of_trial(self, record: Record, seed: int, rung: int, attempt: int) -> Segment:
        """Return the training of a trial's seed up to a rung."""
        overrides = self.overrides(record.overrides, seed)
        config = self.config_of(overrides)
        return Segment(
            trial=record.number,
            seed=seed,
            rung=rung,
            until=self.rungs[rung],
            attempt=attempt,
            directory=str(self.directory(record, seed)),
            config=config,
            overrides=overrides,
            hparams={**(self._values(config) if record.is_default else {}), **record.params},
            devices=_devices(config),
            stages=self.stages(record, seed),
        )

    def stages(self, record: Record, seed: int) -> list[tuple[float, dict[str, Any]]]:
        """Return the stages of a trial before its own, of which a checkpoint may be gone."""
        return [
            (until, self.config_of(self.overrides(one.overrides, seed)))
            for until, one in lineage(record, self.records, self.rungs)[:-1]
        ]

    def _values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that a config has of the keys, plain ones alone."""
        values = {key: value for key, value in leaves(config) if key in self.keys}
        return {key: value for key, value in values.items() if isinstance(value, str | int | float)}

    def whole(self, trial: int, seed: int, overrides: Sequence[str], directory: Path) -> Segment:
        """Return a whole training that is no trial of the search: it has no row.

        One that began from another is trained through the stages of all that it descends from.
        """
        typed = self.overrides(overrides, seed)
        config = self.config_of(typed)
        return Segment(
            trial=trial,
            seed=seed,
            rung=len(self.rungs) - 1,
            until=1.0,
            attempt=0,
            directory=str(directory),
            config=config,
            overrides=typed,
            hparams={},
            devices=_devices(config),
            stages=self.stages(self.records[trial], seed) if trial >= 0 else [],
        )

    def directory(self, record: Record, seed: int) -> Path:
        """Return the run directory of a trial's seed."""
        folder = self.folder / "trials" / f"{record.number:04d}"
        return folder / f"seed-{seed}" if len(record.seeds) > 1 else folder

    def overrides(self, overrides: Sequence[str], seed: int) -> list[str]:
        """Return what makes a trial of these overrides, as one would type it."""
        compared = [f"trainer.validate_at={self.rungs}"] if len(self.rungs) > 1 else []
        return [*overrides, *compared, f"seed={seed}"]


def _devices(config: dict[str, Any]) -> int:
    """Return how many processes a trial runs as."""
    devices = config["trainer"]["devices"]
    return devices if isinstance(devices, int) else 1
