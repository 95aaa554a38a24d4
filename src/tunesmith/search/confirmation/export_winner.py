"""The winner as a config that needs no other file: one can train, read and change it.

experiment/best.yaml chooses "best" in each group and says what the search changed in it; what
the group held besides stands in <group>/best.yaml. So another choice of a group on the command
line replaces that group, and what the search found stays.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tunesmith import config, runs
from tunesmith.config.composer import Composer
from tunesmith.runtime.mask_secrets import mask_plain_secrets, names_secret

FILE = "experiment/best.yaml"
OF_THE_SEARCH = ("study", "search", "space", "executor", "resume", "ckpt_path")
HEAD = """# @package _global_
# The winner of a search; as overrides:
#   {typed}
#   python train.py --config-dir {study} experiment=best{trust}
"""
SCHEDULE = """# It is a schedule: this file has the settings of its last stage alone.
# All stages, each with the share of the steps up to which it goes; they are trained again by
#   tunesmith replay {study} {trial}
"""
HEAD_OF_GROUP = "# Part of experiment/best.yaml: {group} as the search began with it.\n"


def write_experiment(
    study: Path,
    compose: Composer,
    overrides: Sequence[str],
    threads: int | None = None,
    note: str = "",
) -> None:
    """Write what these overrides make; `threads` are a trial's where the config says none.

    `note` are comments that go before the rest.
    """
    for name, text in files(study, compose, overrides, threads, note).items():
        (study / name).parent.mkdir(exist_ok=True, mode=0o700)
        runs.write_text(study / name, text)


def files(
    study: Path,
    compose: Composer,
    overrides: Sequence[str],
    threads: int | None = None,
    note: str = "",
) -> dict[str, str]:
    """Return the text of each file, by its path in the study."""
    wanted = _plain(compose(overrides))
    if wanted["trainer"]["num_threads"] is None:
        wanted["trainer"]["num_threads"] = threads
    groups = _groups(compose)
    began = _shared(_plain(compose(_choices(compose, overrides, groups))), wanted)
    found = {
        f"{group}/best.yaml": HEAD_OF_GROUP.format(group=group) + OmegaConf.to_yaml(began[group])
        for group in groups
        if group in began
    }
    chosen = [{f"override /{g}": "best" if g in began else None} for g in groups]
    of_groups = {group: began[group] for group in groups if group in began}
    body = _without_secrets(_changes(of_groups, wanted))
    typed = " ".join(map(config.mask_override, overrides))
    # Whoever trains again says again whom to trust: a file that does is refused.
    trust = f" trust=[{','.join(body.pop('trust'))}]" if body.get("trust") else ""
    head = HEAD.format(typed=" ".join(typed.split()), study=study, trust=trust)
    return found | {FILE: head + note + OmegaConf.to_yaml({"defaults": chosen, **body})}


def _groups(compose: Composer) -> list[str]:
    """Return the groups of the root config that are no part of the search."""
    skipped = (*OF_THE_SEARCH, "experiment", "debug", "hydra")
    names = [name for name in compose.choices([]) if "/" not in name and "@" not in name]
    return sorted(name for name in names if name not in skipped)


def _choices(compose: Composer, overrides: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return the choices that these overrides make, an experiment's too, without its values."""
    known = compose.choices(overrides)
    return [f"{group}={known[group]}" for group in groups if known.get(group) is not None]


def _plain(cfg: Any) -> dict[str, Any]:
    """Return plain values as they are written: what another key or the environment says stays."""
    values: Any = OmegaConf.to_container(cfg, resolve=False)
    return {key: value for key, value in values.items() if key not in OF_THE_SEARCH}


def _shared(base: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is left of a config without the keys that the other one lacks."""
    return {
        key: _shared(value, target[key]) if isinstance(value, dict) else value
        for key, value in base.items()
        if key in target and isinstance(value, dict) == isinstance(target[key], dict)
    }


def _changes(base: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes `wanted` of `base` when it is merged into it."""
    found = {}
    for key, value in target.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            if changes := _changes(base[key], value):
                found[key] = changes
        elif key not in base or base[key] != value:
            found[key] = value
    return found


def _without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what must not be written down: whoever trains again gives it again."""
    return {
        key: _without_secrets(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if isinstance(value, dict) or value is None or not _is_secret(str(key), value)
    }


def _is_secret(key: str, value: Any) -> bool:
    text = str(value)
    return "${" not in text and (names_secret(key) or mask_plain_secrets(text) != text)
