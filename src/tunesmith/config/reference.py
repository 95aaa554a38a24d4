"""Every key of the config as a page, and as a JSON schema for editors: `make reference`.

Both say what the typed options and the signatures say; defaults come from the yaml files.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from tunesmith.config.instantiate import CONF, TARGET
from tunesmith.config.run_config import TARGET_GROUPS, RunConfig, plain_keys
from tunesmith.config.signatures import argument_keys
from tunesmith.runtime.options import Key, allows_null, describe, keys_of
from tunesmith.training.options import SchedulerStepOptions

PAGE, SCHEMA = "reference.md", "config.schema.json"
# Where the defaults of a plain group stand; every other yaml of the group starts from it.
BASES = {
    "paths": "paths/default.yaml",
    "data": "data/files.yaml",
    "model": "model/base.yaml",
    "trainer": "trainer/base.yaml",
    "callbacks": "callbacks/default.yaml",
    "search": "search/base.yaml",
}


class Entry(NamedTuple):
    """One line of the reference."""

    path: str
    rule: str
    default: str
    sentence: str


class Section(NamedTuple):
    """The keys of one group, or of one target of it."""

    title: str
    file: str
    entries: list[Entry]


def sections() -> Iterator[Section]:
    """Yield every key that the packaged config has, in the order of the yaml files."""
    keys = plain_keys()
    for group in ("", *BASES):
        file = BASES.get(group, "train.yaml")
        own = [
            k
            for path, k in keys.items()
            if (path.partition(".")[0] if "." in path else "") == group
        ]
        values = _values(CONF / file)
        prefix = f"{group}." if group else ""
        entries = [_entry(key, _select(values, key.path.removeprefix(prefix))) for key in own]
        yield Section(group or "top level", file, entries)
    values = _values(CONF / "scheduler/base.yaml")
    steps = keys_of(SchedulerStepOptions, "scheduler.")
    entries = [_entry(key, values[key.path.removeprefix("scheduler.")]) for key in steps]
    yield Section("scheduler", "scheduler/base.yaml", entries)
    for group in TARGET_GROUPS:
        yield from _target_sections(group)


def _target_sections(group: str) -> Iterator[Section]:
    folder = CONF / group.replace(".", "/")
    for file in sorted(folder.glob("*.yaml")):
        values = _values(file)
        node = values.get(group, values)  # a task's file is of the whole config
        if TARGET not in node:
            continue
        keys = argument_keys(group, node[TARGET])
        known = [k for path, k in keys.items() if _has(node, path.removeprefix(f"{group}."))]
        entries = [_entry(key, _select(node, key.path.removeprefix(f"{group}."))) for key in known]
        yield Section(
            f"{group.replace('.', '/')}={file.stem}", str(file.relative_to(CONF)), entries
        )


def _values(file: Path) -> dict[str, Any]:
    node: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return node or {}


def _select(values: Mapping[str, Any], path: str) -> Any:
    node: Any = values
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _has(values: Mapping[str, Any], path: str) -> bool:
    first, _, rest = path.partition(".")
    inner = values.get(first)
    return first in values and (not rest or (isinstance(inner, Mapping) and _has(inner, rest)))


def _entry(key: Key, default: Any) -> Entry:
    rule = describe(key.annotation) + (", or null" if allows_null(key.annotation) else "")
    return Entry(key.path, rule, json.dumps(default, ensure_ascii=False), key.description)


# The page


def page() -> str:
    """Return the reference as markdown."""
    lines = [
        "# Every key of the config",
        "",
        "Made by `make reference` from the typed options. In a terminal: `tunesmith keys WORD`.",
        "A key is set as `key=value`. Defaults are those of the file named above a table.",
    ]
    for section in sections():
        lines += ["", f"## {section.title}", "", f"`conf/{section.file}`"]
        if section.entries:
            lines += ["", "| key | must be | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{e.path}` | {_cell(e.rule)} | `{_cell(e.default)}` | {_cell(e.sentence)} |"
            for e in section.entries
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def schema() -> str:
    """Return the JSON schema of a whole config."""
    return json.dumps(RunConfig.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def search(word: str) -> list[str]:
    """Return the lines of the keys that have a word in their name or meaning."""
    found = [
        (section, entry)
        for section in sections()
        for entry in section.entries
        if word.lower() in f"{entry.path} {entry.sentence}".lower()
    ]
    return [
        f"{e.path} = {e.default}   ({e.rule}; conf/{s.file})\n    {e.sentence}" for s, e in found
    ]


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    folder.mkdir(exist_ok=True)
    (folder / PAGE).write_text(page(), encoding="utf-8")
    (folder / SCHEMA).write_text(schema(), encoding="utf-8")
