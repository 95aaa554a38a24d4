"""The config files of a study, as they were when it began."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tunesmith import runs
from tunesmith.config import check, refuse_other_version
from tunesmith.config.composer import Composer
from tunesmith.errors import TunesmithError

CONF, CONFIG_DIR = "conf", "config_dir"  # folders of a study


def freeze(study: Path, conf: Path, config_dir: Path | None, config_name: str) -> Composer:
    """Copy the config files into the study: later edits of them change nothing in it.

    Returns the composer of the copies.
    """
    is_new = not (study / CONF).exists()
    for source, name in ((conf, CONF), (config_dir, CONFIG_DIR)):
        if source is not None and not (study / name).exists():
            fresh = study / f".{name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            _copy_yaml(source, fresh, (study, study.parent))
            fresh.rename(study / name)
    return _composer(study, config_name) if is_new else frozen(study, config_name)


def frozen(study: Path, config_name: str) -> Composer:
    """Return the composer of a study's own config files.

    Raises ModelError where they lack a key of this version.
    """
    compose = _composer(study, config_name)
    try:
        base = compose([])
    except TunesmithError:
        return compose  # it needs a choice of the command line: all is composed again with that
    refuse_other_version(study, f"its {CONF}/", base, check(base))  # type: ignore[arg-type]
    return compose


def _composer(study: Path, config_name: str) -> Composer:
    config_dir = study / CONFIG_DIR
    return Composer(study / CONF, config_dir if config_dir.is_dir() else None, config_name)


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
