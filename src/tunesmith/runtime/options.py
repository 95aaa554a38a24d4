"""Typed options: what a key of the config may be, said once, beside the code that uses it.

Each plain group has one class. A field gives the key's type, its range and one sentence; defaults
stand in the yaml files and nowhere else, so no field has one. The signature of a `_target_` says
the same of its arguments: `mask_rate: Annotated[float, Gt(0), Lt(1)]`.
"""

import functools
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
)


class Options(BaseModel):
    """The options of one config group: frozen, complete, of exactly these keys.

    Values are plain (no configs of Hydra's) and are taken as they are: `"3"` is no integer and
    `1` is no boolean; an integer is a float too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings")


@dataclass(frozen=True)
class Rule:
    """The rule of a type in words, where its parts do not say it: ends "must be ..."."""

    text: str


@dataclass(frozen=True)
class Keys:
    """Says which keys a mapping has, where a target takes the mapping as it is."""

    options: type[Options]


def _holds(holds: Any) -> AfterValidator:
    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError("out of range")
        return value

    return AfterValidator(check)


def _is_text(value: str) -> bool:
    return value != "" and (value == "\t" or value.isprintable())


def _is_path(value: str) -> bool:
    return value != "" and value.isprintable()


def _is_relative(value: str) -> bool:
    parts = re.split(r"[/\\]", value)
    is_name = all(0 < len(part.encode()) <= 200 and not part.startswith(".") for part in parts)
    return _is_path(value) and not value.startswith("~") and is_name


# Numbers

Number = Annotated[float, AllowInfNan(False)]
Fraction = Annotated[Number, Ge(0), Lt(1)]  # a share that leaves something
Share = Annotated[Number, Gt(0), Le(1)]  # a share that is something
Inside = Annotated[Number, Gt(0), Lt(1)]
Unit = Annotated[Number, Ge(0), Le(1)]
Positive = Annotated[Number, Gt(0)]
NonNegative = Annotated[Number, Ge(0)]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Betas = Annotated[
    list[Fraction],
    _holds(lambda pair: len(pair) == 2),
    Rule("a list of two numbers >= 0 and < 1"),
]
CountOrAuto = Annotated[Count | Literal["auto"], Rule("an integer >= 1, or auto")]
LayerCount = Annotated[CountOrZero | Literal["all"], Rule("all, or an integer >= 0")]

# Texts

Text = Annotated[str, _holds(_is_text), Rule("text")]
PathText = Annotated[str, _holds(_is_path), Rule("a path")]
# What a checkpoint holds is trusted with the weights: it is not fetched from elsewhere.
LocalPath = Annotated[
    str, _holds(lambda x: _is_path(x) and "://" not in x), Rule("a local path, not a URL")
]
FolderName = Annotated[
    str, _holds(_is_relative), Rule("a folder's name: relative, at most 200 bytes, no dot first")
]
Sha256 = Annotated[
    str, _holds(re.compile(r"[0-9a-f]{64}").fullmatch), Rule("64 hexadecimal digits")
]
Package = Annotated[str, _holds(re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*").fullmatch)]
Packages = Annotated[list[Package], Rule("a list of Python packages")]
Amount = Annotated[str | int | float, Rule("an amount like 30min or 20GB")]
Columns = Annotated[list[Text], Rule("a list of columns")]
ColumnOrColumns = Annotated[
    Text | Annotated[list[Text], _holds(bool)], Rule("a column, or a list of columns")
]
Labels = Annotated[list[str | int], Rule("a list of texts or integers")]
LabelWords = Annotated[dict[Any, Text], Rule("a mapping of labels to words")]
AnyMapping = Annotated[dict[str, Any], Rule("a mapping")]


# What a type says


def parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without its metadata, and the metadata."""
    if get_origin(annotation) is Annotated:
        bare, *metadata = get_args(annotation)
        inner, more = parts(bare)
        return inner, (*more, *metadata)
    return annotation, ()


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union but None; of any other type the type itself."""
    bare, _ = parts(annotation)
    if get_origin(bare) not in (Union, types.UnionType):
        return (annotation,)
    return tuple(member for member in get_args(bare) if member is not type(None))


def allows_null(annotation: Any) -> bool:
    bare, _ = parts(annotation)
    return type(None) in get_args(bare)


def choices(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a Literal, or of an optional one; () for any other type."""
    members = alternatives(annotation)
    bare, _ = parts(members[0])
    return get_args(bare) if len(members) == 1 and get_origin(bare) is Literal else ()


def nested(annotation: Any) -> type[Options] | None:
    """Return the options that a key holds, where it is a branch of the config."""
    bare, metadata = parts(annotation)
    marked = [item.options for item in metadata if isinstance(item, Keys)]
    if marked:
        return marked[0]
    return bare if isinstance(bare, type) and issubclass(bare, Options) else None


def describe(annotation: Any) -> str:
    """Say in words what a value must be: "an integer >= 1", "one of hash, stratified"."""
    members = alternatives(annotation)
    bare, metadata = parts(members[0] if len(members) == 1 else annotation)
    rules = [item.text for item in metadata if isinstance(item, Rule)]
    if rules:
        return rules[-1]
    if len(members) > 1:
        return ", or ".join(describe(member) for member in members)
    if get_origin(bare) is Literal:
        return f"one of {', '.join(dict.fromkeys(map(str, get_args(bare))))}"
    if bare in (int, float):
        return _describe_number("an integer" if bare is int else "a number", metadata)
    names = {bool: "true or false", str: "text", dict: "a mapping", Mapping: "a mapping"}
    names |= {list: "a list", Sequence: "a list"}
    return names.get(get_origin(bare) or bare, "any value")


def _describe_number(noun: str, metadata: Sequence[Any]) -> str:
    low = next((item.ge for item in metadata if isinstance(item, Ge)), None)
    high = next((item.le for item in metadata if isinstance(item, Le)), None)
    if noun == "an integer" and low is not None and high is not None:
        return f"an integer from {low} to {high}"
    signs = {Gt: (">", "gt"), Ge: (">=", "ge"), Lt: ("<", "lt"), Le: ("<=", "le")}
    bounds = [
        f"{signs[type(item)][0]} {getattr(item, signs[type(item)][1]):g}"
        for item in metadata
        if type(item) in signs
    ]
    return " ".join([noun, " and ".join(bounds)]).strip()


def is_valid(annotation: Any, value: Any) -> bool:
    return _accepts(annotation, value)


def is_of_type(annotation: Any, value: Any) -> bool:
    """Tell whether a value is of the type, its range left aside."""
    return _accepts(_without_ranges(annotation), value)


def _accepts(annotation: Any, value: Any) -> bool:
    try:
        _adapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _without_ranges(annotation: Any) -> Any:
    bare, _ = parts(annotation)
    origin, arguments = get_origin(bare), get_args(bare)
    if origin in (Union, types.UnionType):
        return Union[tuple(_without_ranges(member) for member in arguments)]  # noqa: UP007
    if origin in (list, dict):
        return origin[tuple(_without_ranges(item) for item in arguments)]
    return bare


@dataclass(frozen=True)
class Key:
    """One key of the config: its dotted path, what it may be, and what it means."""

    path: str
    annotation: Any
    description: str


def keys_of(options: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a group and of those below it; a branch itself is no key."""
    for name, field in options.model_fields.items():
        annotation: Any = field.annotation
        if field.metadata:  # pydantic keeps the two apart
            annotation = Annotated[(annotation, *field.metadata)]
        below = nested(annotation)
        if below is not None:
            yield from keys_of(below, f"{prefix}{name}.")
        else:
            yield Key(f"{prefix}{name}", annotation, field.description or "")
