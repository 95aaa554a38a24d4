"""From overrides to a config, by the config files as they were when the study began."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tunesmith import runs
from tunesmith.errors import raise_all

CONF, CONFIG_DIR = "conf", "config_dir"  # folders of a study


def freeze(study: Path, conf: Path, config_dir: Path | None) -> None:
    """Copy the config files into the study: later edits of them change nothing in it."""
    for source, name in ((conf, CONF), (config_dir, CONFIG_DIR)):
        if source is not None and not (study / name).exists():
            fresh = study / f".{name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            _copy_yaml(source, fresh, (study, study.parent))
            fresh.rename(study / name)


def frozen(study: Path, config_name: str) -> "Composer":
    """Return the composer of a study's own config files."""
    config_dir = study / CONFIG_DIR
    return Composer(study / CONF, config_dir if config_dir.is_dir() else None, config_name)


class Composer:
    """Composes like the command line does, without Hydra's application around it.

    The choices of groups are composed once for each combination; values are then set, as
    Hydra itself does it.
    """

    def __init__(self, conf: Path, config_dir: Path | None = None, name: str = "train") -> None:
        from tunesmith.config.compose import loader

        self.conf, self.config_dir, self.name = conf, config_dir, name
        self._loader = loader(conf, config_dir)
        self._made: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config, without Hydra's own part; raises every mistake in the overrides."""
        from tunesmith.config.compose import REFUSALS, diagnose

        try:
            return self._composed(overrides)
        except REFUSALS:
            raise_all(diagnose(overrides, self.name, self.conf, self.config_dir))
            raise

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import OmegaConf

        parsed = OverridesParser.create().parse_overrides(list(overrides))
        groups = [override for override in parsed if self.is_choice(override)]
        key = tuple(str(override.input_line) for override in groups)
        if key not in self._made:
            self._made[key] = self._compose(key)
        cfg = self._made[key].copy()
        OmegaConf.set_struct(cfg, True)
        ConfigLoaderImpl._apply_overrides_to_config([o for o in parsed if o not in groups], cfg)
        OmegaConf.set_struct(cfg, False)
        return cfg

    def plain(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the config checked, resolved, as plain values."""
        from omegaconf import OmegaConf

        from tunesmith import config

        cfg = self(overrides)
        raise_all(config.check(cfg))
        return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]

    def is_choice(self, override: Any) -> bool:
        is_group = self._loader.repository.group_exists(override.key_or_group)
        return is_group and not isinstance(override.value(), dict)

    def choice(self, overrides: Sequence[str], group: str) -> str | None:
        """Return which option of a group these overrides choose, or leave."""
        return self.choices(overrides).get(group)

    def choices(self, overrides: Sequence[str]) -> dict[str, str | None]:
        """Return which option of each group these overrides choose, or leave."""
        from hydra.types import RunMode

        cfg = self._loader.load_configuration(self.name, list(overrides), RunMode.RUN)
        chosen = cfg.hydra.runtime.choices
        return {str(g): None if name is None else str(name) for g, name in chosen.items()}

    def _compose(self, choices: Sequence[str]) -> DictConfig:
        from hydra.types import RunMode
        from omegaconf import OmegaConf, open_dict

        cfg = self._loader.load_configuration(self.name, list(choices), RunMode.RUN)
        OmegaConf.set_readonly(cfg, False)
        with open_dict(cfg):
            cfg.pop("hydra", None)
        return cfg


def _copy_yaml(source: Path, target: Path, without: Sequence[Path]) -> None:
    """Copy the yaml files below a folder, but of no run, study or hidden folder.

    The folder may be a project (--config-dir .) that the runs, and `target` itself, lie in; or a
    study, whose best experiment is trained on.
    """
    left_out = {path.resolve() for path in (*without, source)}
    if runs.is_study(source):
        left_out |= {(source / name).resolve() for name in (CONF, CONFIG_DIR)}
    target.mkdir()
    for place, folders, names in os.walk(source, followlinks=True):
        folder = Path(place)
        folders[:] = [name for name in folders if _holds_configs(folder / name, left_out)]
        left_out |= {(folder / name).resolve() for name in folders}  # a link may lead back
        for file in (folder / name for name in names if name.endswith((".yaml", ".yml"))):
            if file.is_file():  # a folder of configs holds links to nowhere only by mistake
                copy = target / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def _holds_configs(folder: Path, left_out: set[Path]) -> bool:
    is_run = (folder / "status.json").is_file() or runs.is_study(folder)
    return not (is_run or folder.name.startswith(".") or folder.resolve() in left_out)
