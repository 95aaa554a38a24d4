"""The command line as functions: `tunesmith.train`, `tunesmith.search`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith import config
from tunesmith.config import hydra_internals
from tunesmith.config.composer import Composer
from tunesmith.config.diagnosis import diagnose
from tunesmith.errors import ConfigError, raise_all
from tunesmith.inference.finished_run import FinishedRun, load
from tunesmith.reporting.results import StudyResults
from tunesmith.search.storage import saved_study


@dataclass(frozen=True)
class Study:
    """A search and what came of it."""

    directory: Path
    trust: tuple[str, ...] = ()

    @property
    def results(self) -> StudyResults:
        """Its trials, their order, the confirmation: what summary.json holds, typed."""
        return saved_study.results_of(self.directory)

    @property
    def winner(self) -> FinishedRun:
        """The best trial's run; raises ModelError where there is none."""
        return load(self.directory, trust=self.trust)


def train(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> FinishedRun:
    """Train as `python train.py OVERRIDES` does, in this process; return the finished run.

    `config_dir` holds groups of yours. Raises TunesmithError for all that is wrong.
    """
    from tunesmith.pipeline.train import train_run

    folder = Path(config_dir) if config_dir is not None else None
    composed = Composer(config_dir=folder)(overrides)
    outcome = train_run(composed, list(overrides))
    return load(outcome.directory, trust=list(composed.trust))


def search(overrides: Sequence[str], config_dir: str | Path | None = None) -> Study:
    """Search as `python train.py -m OVERRIDES` does; return the study.

    Trials run in processes of their own, whatever the executor. Raises TunesmithError.
    """
    from hydra.types import RunMode

    from tunesmith.search.start import start

    folder = Path(config_dir) if config_dir is not None else None
    loader = hydra_internals.loader(config.CONF, folder)
    try:
        composed = loader.load_configuration("train", list(overrides), RunMode.MULTIRUN)
    except Exception:
        raise_all(diagnose(overrides, config_dir=folder, multirun=True))
        raise
    results = start(composed, list(overrides), loader)
    if results is None:
        what, fix = "prints and makes no study", "python train.py -m ... search.dry_run=true"
        raise ConfigError("CONF-VALUE", "search.dry_run=true", what, fix)
    return Study(Path(results.directory), tuple(composed.trust))
