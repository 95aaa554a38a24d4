"""Yaml files that are not ours: looked at before anything is built from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, SafetyError, TunesmithError

LARGEST = 256 * 1024  # bytes
MOST_NODES = 10_000  # after every alias is expanded
DEEPEST = 20
LONGEST_INTEGER = 100  # characters; Python converts no text of more than 4,300
CORE_TAGS = "tag:yaml.org,2002:"  # of plain data; those of Python objects start with python/
PLAIN_TAGS = {"null", "bool", "int", "float", "str", "timestamp", "seq", "map", "merge", "binary"}


def scan(path: Path, too_large: type[TunesmithError] = ConfigError) -> Any:
    """Return the yaml node graph of a file (None if it is empty), nothing constructed.

    Raises `too_large` for a file beyond the limits (ConfigError where it is the user's own, and
    so a mistake; SafetyError where it is a stranger's), SafetyError for tags that name code,
    ConfigError for broken yaml, several documents, and keys that stand twice.
    """
    import yaml

    if path.stat().st_size > LARGEST:
        raise too_large("CONF-SIZE", str(path), f"is larger than {LARGEST // 1024} KB")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text(encoding="utf-8")
        _check_events(path, yaml.parse(text, Loader=loader), too_large)
        root = yaml.compose(text, Loader=loader)
    except UnicodeDecodeError as error:
        raise ConfigError("CONF-YAML", str(path), f"is not UTF-8 (byte {error.start})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(
            "CONF-YAML", where, error.problem or error.context or "bad yaml"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError("CONF-YAML", str(path), str(error).splitlines()[0]) from error
    if root is not None:
        _check_expansion(path, root, too_large)
        _check_keys(path, root)
        _check_integers(path, root, too_large)
    return root


def scalars(root: Any) -> Iterator[str]:
    """Yield every text of a node graph, keys included, each once."""
    yield from (node.value for node in _scalar_nodes(root))


def _scalar_nodes(root: Any) -> Iterator[Any]:
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.id == "scalar":
            yield node
        elif node.id == "sequence":
            stack.extend(node.value)
        else:
            stack.extend(part for pair in node.value for part in pair)


def _check_integers(path: Path, root: Any, too_large: type[TunesmithError]) -> None:
    for node in _scalar_nodes(root):
        if node.tag == f"{CORE_TAGS}int" and len(node.value) > LONGEST_INTEGER:
            where = f"{path}:{node.start_mark.line + 1}"
            raise too_large("CONF-SIZE", where, f"an integer of {len(node.value)} digits")


def _check_events(path: Path, events: Any, too_large: type[TunesmithError]) -> None:
    import yaml

    depth = nodes = 0
    for event in events:
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or nodes > MOST_NODES:
            raise _beyond(path, too_large)
        tag = getattr(event, "tag", None)
        # A lone "!" only says that a scalar is a text.
        if tag not in (None, "!") and not _is_plain(tag):
            raise SafetyError(
                "UNSAFE-YAML",
                f"{path}:{event.start_mark.line + 1}",
                f"the tag {tag.replace(CORE_TAGS, '!!')} is not plain data; refused",
            )


def _is_plain(tag: str) -> bool:
    return tag.startswith(CORE_TAGS) and tag.removeprefix(CORE_TAGS) in PLAIN_TAGS


def _check_expansion(path: Path, root: Any, too_large: type[TunesmithError]) -> None:
    """Count nodes and depth as if every alias were written out, in time linear in the file."""
    sizes: dict[int, tuple[int, int]] = {}

    def measure(node: Any, depth: int) -> tuple[int, int]:
        if depth > DEEPEST + 1:  # also how an alias to its own parent ends
            raise _beyond(path, too_large)
        if id(node) not in sizes:
            inner = [] if node.id == "scalar" else list(node.value)
            if node.id == "mapping":
                inner = [part for pair in inner for part in pair]
            measured = [measure(part, depth + 1) for part in inner]
            size = 1 + sum(size for size, _ in measured)
            sizes[id(node)] = size, 1 + max((height for _, height in measured), default=0)
        return sizes[id(node)]

    size, height = measure(root, 0)
    if size > MOST_NODES or height > DEEPEST + 1:
        raise _beyond(path, too_large)


def _beyond(path: Path, too_large: type[TunesmithError]) -> TunesmithError:
    limits = f"{MOST_NODES} values after expansion, depth {DEEPEST}"
    return too_large("CONF-SIZE", str(path), f"is beyond the limits of a config: {limits}")


def _check_keys(path: Path, root: Any) -> None:
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if node.id == "scalar" or id(node) in seen:
            continue
        seen.add(id(node))
        if node.id == "sequence":
            stack.extend(node.value)
            continue
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            stack.append(value)
            line = key.start_mark.line + 1
            if key.id == "scalar" and lines.setdefault((key.tag, key.value), line) != line:
                first = lines[key.tag, key.value]
                raise ConfigError(
                    "CONF-DUPLICATE",
                    f"{path}:{line}",
                    f"the key {key.value!r} stands twice, first in line {first}",
                )
