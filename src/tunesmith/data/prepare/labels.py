"""The names of the labels: read, sorted, spelled one way, and checked over the splits."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tunesmith.data.columns import ColumnType
from tunesmith.data.prepare.label_column import KnownLabels, Seen, Spell
from tunesmith.data.prepare.parse_cells import INTEGRAL, normal_form
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.errors import ConfigError, DataError

NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def choose_names(
    known: KnownLabels,
    train: Mapping[str, Seen] | None,
    kind: ColumnType,
    source: RowSource | None,
    order: Sequence[str] | None,
) -> list[str]:
    """Return the known labels, else those of the train split, spelled one way and sorted.

    `order` is that of the source, where it has one. Raises DataError where those in train are of
    two kinds, look alike, or are too few to tell apart.
    """
    least = 2 if kind is ColumnType.CLASS else 1
    values = list(known.names) if known.names is not None else None
    if values is not None and (len(set(values)) < len(values) or len(values) < least):
        what = f"{len(values)} names, {len(set(values))} different; need >= {least}, all different"
        raise ConfigError("CONF-VALUE", "data.labels", what)
    if train is not None and source is not None:
        if values is None:
            check_one_kind(train, source)
            refuse_look_alikes(train, source)
        spell = spelling(known, train)
        used = in_order({spell(label): seen for label, seen in train.items()})
        if len(used) < least:
            what = f"only label {used[0]!r} in train" if used else "no label in train"
            raise DataError("DATA-LABEL", source.name, f"{what}; need >= {least}")
        return values or ([name for name in order if name in used] if order else used)
    return values or []


def visible(label: str) -> str:
    """Return what one sees of a label: composed, without marks of no width, spaces as one."""
    composed = unicodedata.normalize("NFC", label)
    kept = [c for c in composed if unicodedata.category(c) not in ("Cf", "Cc")]
    return " ".join("".join(kept).split())


def refuse_look_alikes(labels: Mapping[str, Seen], source: RowSource) -> None:
    """Raise DataError for labels that differ, and by nothing that one can see."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        alike[visible(label)].append(label)
    for group in alike.values():
        if len(group) > 1:
            group.sort(key=lambda label: labels[label].first)
            shown = " and ".join(
                f"{label!a} ({source.line_of(labels[label].first)})" for label in group[:2]
            )
            what = f"labels look the same and are not: {shown}"
            fix = "mend the file, or name all in data.labels if both are meant"
            raise DataError("DATA-LABEL", source.name, what, fix)


def differ_in_case(names: Sequence[str]) -> str | None:
    """Return what to say of labels that differ in case alone; None where there are none."""
    by_case: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_case[" ".join(name.casefold().split())].append(name)
    pair = next((group for group in by_case.values() if len(group) > 1), None)
    return f"labels {pair[0]!r} and {pair[1]!r} differ in case alone" if pair else None


def check_one_kind(train: Mapping[str, Seen], source: RowSource) -> None:
    place, where = source.line_of, source.name
    numbers = {label for label in train if NUMERIC.fullmatch(label)}
    words = set(train) - numbers
    if numbers and words:
        first = [min(kind, key=lambda label: train[label].first) for kind in (words, numbers)]
        text, number = (f"({label!r}, {place(train[label].first)})" for label in first)
        what = f"labels are text {text} and numbers {number}"
        raise DataError("DATA-LABEL", where, what, "name all in data.labels if both are meant")
    broken = [label for label in numbers if not INTEGRAL.fullmatch(label)]
    if broken:
        label = min(broken, key=lambda label: train[label].first)
        what = f"label {label!r} ({place(train[label].first)}) is a fraction, not a class"
        raise DataError("DATA-LABEL", where, what, "set task=regression, or data.labels")


def spelling(known: KnownLabels, labels: Mapping[str, Seen]) -> Spell:
    """Return how the labels found in a split are to be spelled.

    A number or a truth value of several spellings (1, 1.0) has that of the known names; without
    any, 1.0 is 1 where all are integral. Where the user declared the names, and all labels found
    are integers that are none of them but could be their indices, they are.
    """
    integral = all(INTEGRAL.fullmatch(label) for label in labels)
    if known.names is None:
        # "1" and "007" stay as they are; only a fraction of nothing is dropped.
        return normal_form if integral and any("." in label for label in labels) else str
    names = known.names
    if all(label in names for label in labels):
        return str
    if is_indices(known, labels):
        return lambda label: names[int(float(label))] if INTEGRAL.fullmatch(label) else label
    one_spelling: dict[str, list[str]] = defaultdict(list)
    for name in names:
        one_spelling[normal_form(name)].append(name)
    ours = {spelled: theirs[0] for spelled, theirs in one_spelling.items() if len(theirs) == 1}
    return lambda label: label if label in names else ours.get(normal_form(label), label)


def is_indices(known: KnownLabels, labels: Mapping[str, Seen]) -> bool:
    """Tell whether the labels of a split are places in the names that the user declared."""
    if not known.declared or known.names is None or not labels:
        return False
    return all(
        INTEGRAL.fullmatch(label)
        and not known.has(label)
        and 0 <= int(float(label)) < len(known.names)
        for label in labels
    )


def indices_note(known: KnownLabels, labels: Mapping[str, Seen], split: str) -> str:
    """Say which names the integers of a split were taken for."""
    names, indices = known.names or (), sorted({int(float(label)) for label in labels})
    shown = ", ".join(f"{index} is {names[index]}" for index in indices[:5])
    more = ", …" if len(indices) > 5 else ""
    return f"{split}: integers are places in data.labels, from 0: {shown}{more}"


def in_order(labels: Mapping[str, Seen]) -> list[str]:
    """Sort labels, by value where all are integers."""
    if all(INTEGRAL.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (float(label), label))
    return sorted(labels)


def unknown_labels(
    labels: Mapping[str, Seen],
    names: Sequence[str],
    split: str,
    against: str,
    spell: Spell,
    source: RowSource,
    fix: str = "",
) -> DataError | None:
    """Return what to say of labels that the model will not know; None where there are none."""
    strange = {label: seen for label, seen in labels.items() if spell(label) not in names}
    if not strange:
        return None
    first = min(strange, key=lambda label: strange[label].first)
    many = "1 label" if len(strange) == 1 else f"{len(strange)} labels"
    total = sum(seen.rows for seen in strange.values())
    rows = "1 row" if total == 1 else f"{total} rows"
    what = f"{split} has {many} not in {against}: {first!r} "
    what += f"({rows}, first {source.line_of(strange[first].first)})"
    alike = next((name for name in names if visible(name) == visible(first)), None)
    if alike is not None:
        what += f"; it looks like {alike!a} and is {first!a}"
    return DataError("DATA-LABEL", source.name, what, fix)
