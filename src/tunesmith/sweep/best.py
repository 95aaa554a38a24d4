"""experiment/best.yaml: the winner as a config that one can train, read and change."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tunesmith.grammar import parsed

HEAD = """# @package _global_
# The winner of a search, as overrides:
#   {typed}
#   python train.py --config-dir {study} experiment=best
"""


def best_yaml(overrides: Sequence[str], study: Path, is_choice: Callable[[Any], bool]) -> str:
    """Return the yaml that does what these overrides do."""
    choices: list[Any] = []
    values = OmegaConf.create()
    for text in overrides:
        override = parsed(text)
        if is_choice(override):
            choices.append({f"override /{override.key_or_group}": override.value()})
        elif not override.is_delete():
            OmegaConf.update(values, override.key_or_group, override.value(), force_add=True)
    typed = " ".join(overrides)
    plain: dict[str, Any] = {"defaults": choices} if choices else {}
    body: Any = OmegaConf.to_container(values)
    return HEAD.format(study=study, typed=typed) + OmegaConf.to_yaml({**plain, **body})
