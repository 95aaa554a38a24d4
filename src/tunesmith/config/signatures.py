"""What the arguments of a target may be, as its signature says: type and range.

A target of ours is read, not imported: mistakes are reported before torch is loaded. Its
annotations may use names from light modules only: typing, collections.abc, annotated_types and
our own modules called `options`.
"""

import ast
import functools
import importlib
import inspect
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from tunesmith.config import instantiate
from tunesmith.errors import TunesmithError
from tunesmith.runtime.options import Key, Options, is_of_type, keys_of, nested
from tunesmith.training.options import OptimizerOptions, SchedulerOptions

LIGHT = ("typing", "collections.abc", "annotated_types")
OURS = "tunesmith."
# What the program itself passes to a target: no keys of a config.
PROVIDED = {
    "task": {"model", "tokenizer", "labels", "max_length", "truncation", "loss", "encoders"},
    "adapt": {"task"},
    "optimizer": {"params"},
    "scheduler": {"optimizer", "steps"},
    "search.sampler": {"space", "seed"},
    "logger": {"run_dir", "purge_step", "save_dir"},
}
# torch's own signatures say no ranges.
FOREIGN: dict[str, type[Options]] = {"optimizer": OptimizerOptions, "scheduler": SchedulerOptions}


def argument_keys(group: str, name: str, trust: Collection[str] = ()) -> dict[str, Key]:
    """Return the keys of a group that holds this target, those whose type is known, by path."""
    types = argument_types(name, tuple(trust))
    keys = {key.path: key for key in _keys(group, types, sentences(group, name))}
    if group in FOREIGN:
        keys = {key.path: key for key in keys_of(FOREIGN[group], f"{group}.")} | keys
    return keys


def _keys(group: str, types: dict[str, Any], said: dict[str, str]) -> Iterator[Key]:
    for argument, annotation in types.items():
        if argument in PROVIDED.get(group, ()):
            continue
        path = f"{group}.{argument}"
        options = nested(annotation)
        if options is not None:
            yield from keys_of(options, f"{path}.")
        else:
            yield Key(path, annotation, said.get(argument, ""))


@functools.cache
def argument_types(name: str, trust: tuple[str, ...]) -> dict[str, Any]:
    """Return {argument: annotation}, without those that no value of a config can be checked by."""
    signature = _read(name) if name.startswith(OURS) else None
    types = signature.types if signature is not None else _imported(name, trust)
    return {argument: kind for argument, kind in types.items() if _can_check(kind)}


def _can_check(annotation: Any) -> bool:
    if annotation is Any or annotation is inspect.Parameter.empty:
        return False
    if nested(annotation) is not None:
        return True
    try:
        is_of_type(annotation, None)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return False
    return True


def _imported(name: str, trust: tuple[str, ...]) -> dict[str, Any]:
    """Return the annotations of a target of the user's; torch's and Lightning's are left alone."""
    if name.startswith(instantiate.TRUSTED):
        return {}
    try:
        target = instantiate.resolve(name, trust)
        classes = reversed(target.__mro__) if inspect.isclass(target) else ()
        functions = [vars(c)["__init__"] for c in classes if "__init__" in vars(c)] or [target]
        hints = [get_type_hints(function, include_extras=True) for function in functions]
    except (TunesmithError, NameError, TypeError, AttributeError):
        return {}  # the check of the call reports what is wrong with it
    return {k: v for known in hints for k, v in known.items() if k != "return"}


# Reading our own signatures


@dataclass(frozen=True)
class Signature:
    """The arguments of a target of ours."""

    types: dict[str, Any]  # by their names
    required: frozenset[str]
    takes_any: bool  # others too, by **


def arguments(name: str, trust: Collection[str] = ()) -> tuple[dict[str, bool], bool]:
    """Return {argument: is required} of a target, and whether it takes any other."""
    signature = _read(name) if name.startswith(OURS) else None
    if signature is None:
        return instantiate.parameters(instantiate.resolve(name, trust))
    return {n: n in signature.required for n in signature.types}, signature.takes_any


@functools.cache
def _read(name: str) -> Signature | None:
    module, _, last = name.rpartition(".")
    path = instantiate.HERE.parent.joinpath(*module.split(".")).with_suffix(".py")
    return _read_definition(path, last) if path.is_file() else None


def _read_definition(path: Path, name: str) -> Signature | None:
    tree = _tree(path)
    nodes = (n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef))
    node = next((n for n in nodes if n.name == name), None)
    if node is None:
        return None
    if isinstance(node, ast.FunctionDef):
        return _signature(node, _light_names(tree))
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    own = _signature(inits[0], _light_names(tree)) if inits else Signature({}, frozenset(), True)
    if not own.takes_any:
        return own
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    above = next(filter(None, (_read_base(tree, path, base) for base in bases)), None)
    if above is None:
        return own if inits else Signature({}, frozenset(), False)
    types = above.types | own.types
    return Signature(types, (above.required - own.types.keys()) | own.required, above.takes_any)


def _read_base(tree: ast.Module, path: Path, name: str) -> Signature | None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _read_definition(path, name)
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return _read(f"{node.module}.{name}") if (node.module or "").startswith(OURS) else None
    return None


def _signature(function: ast.FunctionDef, names: dict[str, Any]) -> Signature:
    positional, keywords = function.args.args, function.args.kwonlyargs
    without_default = positional[: len(positional) - len(function.args.defaults)]
    without_default += [
        a for a, default in zip(keywords, function.args.kw_defaults, strict=True) if default is None
    ]
    arguments = [argument for argument in [*positional, *keywords] if argument.arg != "self"]
    types = {a.arg: _evaluated(a.annotation, names) if a.annotation else Any for a in arguments}
    required = frozenset(a.arg for a in without_default) & types.keys()
    return Signature(types, frozenset(required), function.args.kwarg is not None)


def _evaluated(annotation: ast.expr, names: dict[str, Any]) -> Any:
    try:
        code = compile(ast.Expression(annotation), "<signature>", "eval")
        return eval(code, {**names})  # noqa: S307 - our own source, with the names above alone
    except (NameError, AttributeError):
        return Any  # of a heavy module: not for a config


def _light_names(tree: ast.Module) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if node.module in LIGHT or (
            node.module.startswith(OURS) and node.module.endswith(".options")
        ):
            module = importlib.import_module(node.module)
            names |= {
                alias.asname or alias.name: getattr(module, alias.name) for alias in node.names
            }
    return names


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# What each key means


@functools.cache
def sentences(group: str, name: str) -> dict[str, str]:
    """Return {argument: its sentence} of the packaged yaml file of a target."""
    for file in sorted((instantiate.CONF / group.replace(".", "/")).glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        if f"_target_: {name}\n" in text:
            return _comments(text)
    return {}


def _comments(text: str) -> dict[str, str]:
    said: dict[str, str] = {}
    for line in text.splitlines():
        code, sign, comment = line.partition("  # ")
        key, colon, _ = code.strip().partition(":")
        if sign and colon and key.isidentifier():
            said[key] = comment.strip()
    return said
