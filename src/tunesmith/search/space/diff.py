"""Two spaces compared, as a study keeps them: it goes on only with the one it began with."""

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.search.space.quoting import quoted

Identity = Mapping[str, Any]  # of Space.identity()


def differences(before: Identity, now: Identity) -> list[str]:
    """Name in one line each what the two spaces do not share."""
    return [
        *_changes(_ranges(before), _ranges(now)),
        *(f"no longer {text}" for text in before["fixed"] if text not in now["fixed"]),
        *(f"now {text}" for text in now["fixed"] if text not in before["fixed"]),
        *_changes({"seed": _listed(before["seeds"])}, {"seed": _listed(now["seeds"])}),
    ]


def described(dimension: Mapping[str, Any]) -> str:
    """Say in a few words what a dimension's values are: "1e-05 to 0.0002, log"."""
    if dimension["kind"] == "categorical":
        text = ", ".join(map(quoted, dimension["choices"]))
    else:
        text = f"{dimension['low']!r} to {dimension['high']!r}"
        text += f" by {dimension['step']!r}" if dimension["step"] is not None else ""
        text += ", whole" if dimension["kind"] == "int" else ""
        text += ", log" if dimension["log"] else ""
    conditions = [f"{key}={quoted(value)}" for key, value in dimension["when"].items()]
    return f"{text}, when {' and '.join(conditions)}" if conditions else text


def _ranges(space: Identity) -> dict[str, str]:
    return {d["prefix"] + d["key"]: described(d) for d in space["dimensions"]}


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key, "not searched"), now.get(key, "not searched")
        if old != new:
            yield f"{key}: {old} -> {new}"


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds)) or "not repeated"
