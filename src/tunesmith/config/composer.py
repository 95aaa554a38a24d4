"""From overrides to a config, as the command line composes it, without Hydra's application."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from tunesmith import config
from tunesmith.config import hydra_internals
from tunesmith.errors import SafetyError, raise_all


def refuse_trust_of_files(composed: DictConfig) -> None:
    """Raise SafetyError where a config file trusts code on behalf of its reader.

    `composed` is the config before the values of the command line are set.
    """
    if composed.get("trust"):
        packages = ",".join(map(str, composed.trust))
        what = "is set by a config file, and counts from the command line alone"
        fix = f"if the code is yours: type trust=[{packages}]"
        raise SafetyError("UNSAFE-TRUST", "trust", what, fix)


class Composer:
    """Composes the configs of these folders.

    The choices of groups are composed once for each combination; values are then set, as
    Hydra itself does it.
    """

    def __init__(
        self, conf: Path = config.CONF, config_dir: Path | None = None, name: str = "train"
    ) -> None:
        self.conf, self.config_dir, self.name = conf, config_dir, name
        self._loader = hydra_internals.loader(conf, config_dir)
        self._made: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config, without Hydra's own part; raises every mistake in the overrides."""
        from tunesmith.config.diagnosis import REFUSALS, diagnose

        try:
            return self._composed(overrides)
        except REFUSALS:
            raise_all(diagnose(overrides, self.name, self.conf, self.config_dir))
            raise

    def plain(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the config checked, resolved, as plain values."""
        composed = self(overrides)
        raise_all(config.check(composed))
        return OmegaConf.to_container(composed, resolve=True)  # type: ignore[return-value]

    def choices(self, overrides: Sequence[str]) -> dict[str, str | None]:
        """Return which option of each group these overrides choose, or leave."""
        chosen = self._load(overrides).hydra.runtime.choices
        return {str(g): None if name is None else str(name) for g, name in chosen.items()}

    def is_choice(self, override: Any) -> bool:
        return hydra_internals.is_choice(self._loader, override)

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parsed = OverridesParser.create().parse_overrides(list(overrides))
        groups = [override for override in parsed if self.is_choice(override)]
        key = tuple(str(override.input_line) for override in groups)
        if key not in self._made:
            self._made[key] = self._compose(key)
        composed = self._made[key].copy()
        OmegaConf.set_struct(composed, True)
        values = [override for override in parsed if override not in groups]
        hydra_internals.set_values(values, composed)
        OmegaConf.set_struct(composed, False)
        return composed

    def _compose(self, choices: Sequence[str]) -> DictConfig:
        composed = self._load(choices)
        refuse_trust_of_files(composed)
        OmegaConf.set_readonly(composed, False)
        with open_dict(composed):
            composed.pop("hydra", None)
        return composed

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        from hydra.types import RunMode

        composed: DictConfig = self._loader.load_configuration(
            self.name, list(overrides), RunMode.RUN
        )
        return composed
