"""The config of a stored run: data from a stranger."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tunesmith.config import instantiate, yaml_safety
from tunesmith.errors import ConfigError, ModelError, SafetyError, raise_all


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
