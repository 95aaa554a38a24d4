"""The door through which Hydra finds the search: `python train.py -m` is a study."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig


class TunesmithSweeper(Sweeper):
    """Hands the command line to `tunesmith.search`; Hydra's launchers are not used."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.config, self.context = config, hydra_context

    def sweep(self, arguments: list[str]) -> Any:
        from tunesmith.cli.entry import PassThroughHydra

        assert self.config is not None  # set up before
        from tunesmith.search.start import start

        try:
            return start(self.config, arguments, self.context.config_loader)
        except Exception as error:
            raise PassThroughHydra from error


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="tunesmith",
    node={"_target_": "hydra_plugins.tunesmith_sweeper.TunesmithSweeper"},
    provider="tunesmith",
)
