"""Names use the field's terms: a word that was retired for a clearer one does not come back."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
CONF = ROOT / "conf"
# Each stood for several things, or for a word that every reader of this field knows.
RETIRED = frozenset(
    [
        *(
            "anew",
            "beside",
            "besides",
            "canonical",
            "contradiction",
            "contradictions",
            "cut",
            "cuts",
        ),
        *("doing", "foreign", "forget", "found", "given", "how", "kept", "made", "mistake"),
        *(
            "mistakes",
            "older",
            "piece",
            "pieces",
            "place",
            "placed",
            "places",
            "quickly",
            "sameness",
        ),
        *("settle", "settled", "shelf", "stored", "storing", "store", "stores", "theirs", "there"),
        *("told", "trivial", "vary", "wanted", "what", "where", "whose"),
    ]
)
RETIRED_NAMES = frozenset(
    [
        *("answers_alone", "lies_apart", "under_way", "make_room", "fit_to", "refit", "readers"),
        *("parts_rows", "tuned", "unvaried", "check_plan", "check_pieces", "made_of", "on_long"),
    ]
)
RETIRED_KEYS = frozenset(
    [
        "draw",
        "shots",
        "accumulate",
        "tie",
        "pairs",
        "penalty",
        "startup",
        "points",
        "confirm_mode",
        "max_growth_gb",
        "encoder",
    ]
)
MESSAGE = {"where", "what"}  # the shape of every message: error[CODE] where: what; fix
ONLY_ONCE = {"__init__", "__main__", "base", "options"}  # every package may have these


def modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of each class, function and parameter that a module defines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def config_keys() -> Iterator[tuple[str, str]]:
    """Yield (file, key) of each group, option and key below conf/."""
    for path in sorted(CONF.rglob("*.yaml")):
        yield str(path.relative_to(CONF)), path.stem
        yield from ((str(path.relative_to(CONF)), key) for key in keys_of(OmegaConf.load(path)))


def keys_of(node: object) -> Iterator[str]:
    if OmegaConf.is_dict(node):
        for key, value in node.items_ex(resolve=False):  # type: ignore[attr-defined]
            if str(key).startswith(("override ", "/", "_")) or key == "defaults":
                continue
            yield str(key)
            yield from keys_of(value)


def words_of(name: str) -> list[str]:
    """Split snake_case and CamelCase into lower-case words."""
    return re.findall(r"[a-z]+|[A-Z][a-z]*|\d+", name) and [
        word.lower() for word in re.findall(r"[a-z]+|[A-Z][a-z]*", name)
    ]


def is_retired(name: str) -> bool:
    return name.strip("_") in RETIRED_NAMES or bool(RETIRED.intersection(words_of(name)))


def retired_names() -> list[str]:
    found = [
        f"{path.relative_to(SRC)}: {part}"
        for path in modules()
        for part in path.relative_to(SRC).with_suffix("").parts
        if is_retired(part)
    ]
    found += [
        f"{path.relative_to(SRC)}:{line}: {name}"
        for path in modules()
        for line, name in names_in(path.read_text(encoding="utf-8"))
        if is_retired(name) and not (path.name == "errors.py" and name in MESSAGE)
    ]
    return found + [
        f"conf/{file}: {key}"
        for file, key in config_keys()
        if is_retired(key) or key in RETIRED_KEYS
    ]


def test_no_retired_word_names_anything() -> None:
    assert retired_names() == []


@pytest.mark.parametrize(
    "name",
    ["place", "lies_apart", "read_anew", "FoundSplit", "_told", "what", "is_kept", "storedRun"],
)
def test_the_check_finds_a_retired_word(name: str) -> None:
    assert is_retired(name)
    assert [n for _, n in names_in(f"def f({name}):\n    pass\n") if is_retired(n)] == [name]


@pytest.mark.parametrize("name", ["placement", "cutoff", "restore", "mask_rate", "nowhere"])
def test_the_check_leaves_longer_words_alone(name: str) -> None:
    assert not is_retired(name)


def test_no_two_modules_share_a_name() -> None:
    counts = Counter(path.stem for path in modules() if path.stem not in ONLY_ONCE)
    assert [name for name, count in counts.items() if count > 1] == []
