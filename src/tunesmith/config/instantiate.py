"""The code that a config may name: which targets are trusted, and how one is built.

Every `_target_`, at any depth, is checked by its name before anything is imported. A config of
the user's may name what starts with a trusted prefix, and the packages listed in `trust`. A
stored run may name exactly what Tunesmith ships, and torch's optimizers and schedulers.
"""

import functools
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, SafetyError, TunesmithError, did_you_mean, raise_all
from tunesmith.runtime.atomic_files import sha256

HERE = Path(__file__).parents[1]  # the package
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parents[1] / "conf"

TRUSTED = (
    "tunesmith.",
    "torch.optim.",
    "torch.nn.",
    "lightning.pytorch.callbacks.",
    "lightning.pytorch.loggers.",
)
SHIPPED = ("tunesmith.", "torch.", "builtins.", "abc.")  # by us, or pinned: a version tells it
TARGET, PARTIAL = "_target_", "_partial_"


def instantiate(node: Any, /, *, trust: Collection[str] = (), **provided: Any) -> Any:
    """Call the node's target with the node's values and `given`; `_partial_: true` binds them.

    Nodes inside it are built first. We do without `hydra.utils.instantiate`: what was checked
    is what is called, and values stay plain (it would turn parameter groups into configs).
    Raises SafetyError for a target that is not trusted, ConfigError for one that cannot be called.
    """
    node = _plain(node)
    raise_all(check(node, trust))
    return _built(node, trust, provided)


def resolve(name: str, trust: Collection[str] = ()) -> Any:
    """Import what the target is called; raise SafetyError where its name is not trusted."""
    if not is_trusted(name, trust):
        raise _refusal(TARGET, name)
    found, parts = _module_of(name)
    for part in parts:
        if part.startswith("_") or not hasattr(found, part):
            raise _unknown(name, found, part)
        found = getattr(found, part)
        # A trusted module may have imported any other: tunesmith.cli.entry.os.system is not ours.
        home = _home(found)
        if home is not None and not is_trusted(f"{home}.", trust):
            what = f"is defined in {home}, which is not trusted"
            raise SafetyError("UNSAFE-TARGET", f"{TARGET}={name}", what, _trust(home))
    if not callable(found):
        raise ConfigError("CONF-TARGET", name, "is not a class or a function")
    return found


def check(node: Any, trust: Collection[str] = ()) -> list[TunesmithError]:
    """Return a refusal for each target, at any depth, that may not be imported."""
    return [_refusal(path, name) for path, name in targets_in(node) if not is_trusted(name, trust)]


def check_saved_targets(node: Any, trust: Collection[str] = ()) -> list[TunesmithError]:
    """Do the same for a stored run: exact names only, and the packages that this command trusts."""
    return [
        SafetyError("UNSAFE-TARGET", f"{path}={name}", "not shipped by Tunesmith", _trust(name))
        for path, name in targets_in(node)
        if not (_is_in(name, trust) or _is_ours(name) or _is_of_torch(name))
    ]


def is_trusted(name: Any, trust: Collection[str] = ()) -> bool:
    """Say whether a config of the user's may name this."""
    return isinstance(name, str) and (name.startswith(TRUSTED) or _is_in(name, trust))


def targets_in(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, name) of each `_target_` at any depth, in lists too."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            inner = f"{path}.{key}" if path else str(key)
            if key == TARGET:
                yield inner, value
            else:
                yield from targets_in(value, inner)
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from targets_in(value, f"{path}.{i}" if path else str(i))


def parameters(target: Callable[..., Any]) -> tuple[dict[str, bool], bool]:
    """Return {name: is required} of a target, and whether it takes any other name too.

    A class that hands `**kwargs` on takes what its base classes take.
    """
    named: dict[str, bool] = {}
    for function in _constructors(target):
        try:
            signature = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # written in C: it will say so itself
            return named, True
        for p in signature:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self":
                named.setdefault(p.name, p.default is p.empty)
        if all(p.kind is not p.VAR_KEYWORD for p in signature):
            return named, False
    return named, True


def code_of(target: Callable[..., Any]) -> dict[str, str]:
    """Return {module: SHA-256 of its source} of what a target is made of and we do not ship.

    Of a class also where its base classes stand; code without a source file has none to change.
    """
    classes = target.__mro__ if inspect.isclass(target) else (target,)
    names = {str(_home(part)) for part in classes}
    strange = sorted(name for name in names if not f"{name}.".startswith(SHIPPED))
    modules = {name: sys.modules.get(name) for name in strange}
    files = {name: getattr(module, "__file__", None) for name, module in modules.items()}
    return {
        name: sha256(Path(file))
        for name, file in files.items()
        if file is not None and Path(file).is_file()
    }


@functools.cache
def packaged_nodes() -> dict[str, frozenset[str]]:
    """Return the targets of the shipped yaml files, each with the keys next to it."""
    from omegaconf import OmegaConf

    keys: dict[str, set[str]] = {}
    for file in sorted(CONF.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        if TARGET in text:  # the others need not be parsed: this is on the way to the first error
            for node in _nodes(OmegaConf.to_container(OmegaConf.create(text))):
                keys.setdefault(node[TARGET], set()).update(node.keys() - {"defaults"})
    return {name: frozenset(names) for name, names in keys.items()}


def packaged_targets() -> frozenset[str]:
    """Return the exact targets of `conf/`: what a stored run may name."""
    return frozenset(packaged_nodes())


def _built(node: Any, trust: Collection[str], provided: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_built(value, trust, {}) for value in node]
    if not isinstance(node, dict):
        return node
    values = {k: _built(v, trust, {}) for k, v in node.items() if k not in (TARGET, PARTIAL)}
    if TARGET not in node:
        return values
    strange = [key for key in values if str(key).startswith("_") and str(key).endswith("_")]
    if strange:
        raise ConfigError("CONF-KEY", f"{node[TARGET]}", f"{strange[0]} is not supported")
    target = resolve(node[TARGET], trust)
    if node.get(PARTIAL):
        return functools.partial(target, **values, **provided)
    try:
        return target(**values, **provided)
    except (TypeError, ValueError) as error:
        raise ConfigError("CONF-TARGET", node[TARGET], str(error)) from error


def _plain(node: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _module_of(name: str) -> tuple[Any, list[str]]:
    """Import the longest part of a dotted name that is a module; return it and the rest."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or any(p.startswith("_") for p in parts):
        raise ConfigError("CONF-TARGET", name, "is not the dotted name of a class or a function")
    found, done = _imported(parts[0], name), 1
    while done < len(parts) - 1:
        if hasattr(found, parts[done]) and not inspect.ismodule(getattr(found, parts[done])):
            break
        path = ".".join(parts[: done + 1])
        if not _is_module(path):
            if hasattr(found, parts[done]):
                break  # a module that this one imported: `resolve` refuses it
            raise _unknown(name, found, parts[done])
        found, done = _imported(path, name), done + 1
    return found, parts[done:]


def _is_module(path: str) -> bool:
    try:
        return importlib.util.find_spec(path) is not None
    except ModuleNotFoundError:
        return False


def _imported(path: str, target: str) -> types.ModuleType:
    try:
        return importlib.import_module(path)
    except ImportError as error:
        raise ConfigError("CONF-TARGET", target, f"cannot be imported: {error}") from error


def _home(value: Any) -> str | None:
    """Name the module that defines a class or a function; None for a constant."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    if not callable(value):
        return None
    return str(getattr(value, "__module__", None) or type(value).__module__)


def _constructors(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    if not inspect.isclass(target):
        return [target]
    classes = [c for c in target.__mro__ if c is not object]
    return [vars(c)["__init__"] for c in classes if "__init__" in vars(c)]


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if TARGET in node:
            yield node
        for value in node.values():
            yield from _nodes(value)


def _is_in(name: Any, trust: Collection[str]) -> bool:
    return isinstance(name, str) and any(name.startswith(f"{package}.") for package in trust)


def _is_ours(name: Any) -> bool:
    return isinstance(name, str) and name in packaged_targets()


def _is_of_torch(name: Any) -> bool:
    """Say whether it is exactly torch.optim.X or torch.optim.lr_scheduler.X, for their classes."""
    if not isinstance(name, str) or not name.startswith("torch.optim."):
        return False
    from torch import optim

    schedulers = optim.lr_scheduler
    places: list[tuple[str, types.ModuleType, type]] = [
        ("torch.optim", optim, optim.Optimizer),
        ("torch.optim.lr_scheduler", schedulers, schedulers.LRScheduler),
    ]
    home, _, last = name.rpartition(".")
    for place, module, base in places:
        found = vars(module).get(last) if home == place else None
        if inspect.isclass(found) and issubclass(found, base):
            return True
    return False


def _refusal(path: str, name: Any) -> SafetyError:
    return SafetyError("UNSAFE-TARGET", f"{path}={name}", "is not trusted code", _trust(name))


def _trust(name: Any) -> str:
    package = str(name).partition(".")[0]
    return f"if it is yours: trust=[{package}]" if package.isidentifier() else ""


def _unknown(name: str, value: Any, part: str) -> ConfigError:
    public = [word for word in dir(value) if not word.startswith("_")]
    where = getattr(value, "__name__", value)
    return ConfigError("CONF-TARGET", name, f"{where} has no {part!r}", did_you_mean(part, public))
