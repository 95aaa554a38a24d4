"""The config of a stored run: data from a stranger."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tunesmith.config import instantiate, yaml_safety
from tunesmith.config.check import check
from tunesmith.config.check_targets import NO_TARGET
from tunesmith.config.check_values import NOT_THERE
from tunesmith.config.run_config import RunConfig, node_of
from tunesmith.errors import ConfigError, ModelError, SafetyError, TunesmithError, raise_all


def read_saved_config(path: Path, trust: Collection[str] = ()) -> dict[str, Any]:
    """Read a run's config.yaml as data from a stranger: nothing in it is resolved or imported.

    What it trusts itself counts for nothing; `trust` names the packages that this command trusts.
    Raises ModelError where there is none, SafetyError where it asks for more than data may.
    """
    if not path.is_file():
        raise ModelError("RUN", str(path.parent), f"no {path.name}")
    if path.is_symlink():
        raise SafetyError("UNSAFE-PATH", str(path), "is a link out of the run; refused")
    try:
        root = yaml_safety.scan(path, too_large=SafetyError)
    except ConfigError as error:
        raise ModelError(error.code, error.where, error.what) from error
    if root is None or root.id != "mapping":
        raise ModelError("RUN", str(path), "is not the config of a run")
    for text in yaml_safety.scalars(root):
        if "${" in text:
            raise SafetyError(
                "UNSAFE-CONFIG", str(path), "a stored config must not interpolate", text
            )
        if "\0" in text:
            raise SafetyError("UNSAFE-CONFIG", str(path), "holds a NUL character; refused")
    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    raise_all(instantiate.check_saved_targets(values, trust))
    return values | {"trust": list(trust)}


def read_run_config(run: Path, trust: Collection[str] = ()) -> dict[str, Any]:
    """Read a run's config.yaml, and check each value of it as those of a command line are.

    Raises ModelError where it lacks a key of this version, or has one of another.
    """
    values = read_saved_config(run / "config.yaml", trust)
    errors = check(values)
    refuse_other_version(run, "its config", values, errors)
    raise_all(errors)
    return values


def refuse_other_version(
    directory: Path, holder: str, values: Mapping[str, Any], errors: Collection[TunesmithError]
) -> None:
    """Raise ModelError where the mistakes of a stored config say that its keys are not ours.

    `holder` is what has the keys, such as "its config".
    """
    lacking = [error.where for error in errors if error.what == NOT_THERE]
    lacking += [
        f"{error.where}.{instantiate.TARGET}"
        for error in errors
        if error.what == NO_TARGET and isinstance(node_of(values, error.where), Mapping)
    ]
    strange = [error.where for error in errors if error.code == "CONF-KEY"]
    strange = [path for path in strange if path not in RunConfig.model_fields]
    if not lacking and not strange:
        return
    which = f"lacks {_first_of(lacking)}" if lacking else f"has {_first_of(strange)}"
    what = f"made by another version, or edited: {holder} {which}"
    raise ModelError("RUN", str(directory), what, "use that version, or train it again")


def _first_of(paths: list[str]) -> str:
    return paths[0] + (f" and {len(paths) - 1} more keys" if len(paths) > 1 else "")
