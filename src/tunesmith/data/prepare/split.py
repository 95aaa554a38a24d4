"""Who trains, who validates, who tests: decided by the text alone."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from tunesmith.data.options import SplitOptions
from tunesmith.data.row_hashes import digests_of_bytes
from tunesmith.errors import ConfigError

log = logging.getLogger(__name__)


def fractions(texts: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Map text hashes (N,) to [0, 1), evenly, and to the same value wherever a text stands.

    Each purpose draws independently, so that a fold does not depend on the test split.
    """
    salt = f"{seed}/{purpose}/".encode()
    data = texts.astype("<u8").tobytes()
    hashes = digests_of_bytes(salt + data[i : i + 8] for i in range(0, len(data), 8))
    # 53 bits fill a float exactly, so that no value rounds up to 1.
    return (hashes >> np.uint64(11)) / 2**53


def split_rows(
    texts: np.ndarray,
    labels: Sequence[str] | None,
    options: SplitOptions,
    names: Mapping[str, bool],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Divide rows into splits; return {split: row indices, ascending} and what to warn of.

    `texts` (N,) are hashes: equal ones always share a split. `labels` (N) serve to stratify.
    `names` says of "validation" and "test" whether they are to be cut. The test part comes
    first and does not depend on the folds.
    """
    left = np.arange(len(texts))
    parts: dict[str, np.ndarray] = {}
    notes: list[str] = []
    share = options.test if names.get("test") else 0.0
    fold = names.get("validation", False) and options.folds is not None
    validation = options.validation if names.get("validation") and not fold else 0.0
    places = assign(texts, labels, options, "split", notes)
    if share:
        parts["test"] = left[places < share]
    if validation:
        parts["validation"] = left[(places >= share) & (places < share + validation)]
    rest = left[places >= share + validation]
    if fold and options.folds is not None:
        rest_labels = [labels[i] for i in rest] if labels is not None else None
        again = assign(texts[rest], rest_labels, options, "fold", [])
        low, high = options.fold / options.folds, (options.fold + 1) / options.folds
        chosen = (again >= low) & (again < high)
        parts["validation"], rest = rest[chosen], rest[~chosen]
    return {"train": rest} | parts, notes


def assign(
    texts: np.ndarray,
    labels: Sequence[str] | None,
    options: SplitOptions,
    purpose: str,
    notes: list[str],
) -> np.ndarray:
    """Give each row its place (N,) in [0, 1), of which a split is a range; infinity: train."""
    drawn = fractions(texts, options.seed, purpose)
    if options.method == "hash":
        return drawn
    if labels is None:
        where = f"data.split.method={options.method}"
        raise ConfigError("CONF-RANGE", where, "needs labels; set data.split.method=hash")
    return stratified(texts, labels, drawn, notes)


def stratified(
    texts: np.ndarray, labels: Sequence[str], drawn: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Place the texts of each label evenly over [0, 1), in the order of their hash.

    A text's copies go together, under the label of the first. The last text of a label stands
    at the very end, and an only one at infinity, so that no label is without a row in train.
    """
    rows_of: dict[int, list[int]] = defaultdict(list)
    for i, text in enumerate(texts.tolist()):
        rows_of[text].append(i)
    groups: dict[str, list[list[int]]] = defaultdict(list)
    for rows in rows_of.values():
        groups[labels[rows[0]]].append(rows)
    places = np.empty(len(texts), dtype=np.float64)
    for members in groups.values():
        members.sort(key=lambda rows: (drawn[rows[0]], rows[0]))
        total, before = sum(len(rows) for rows in members), 0
        for rows in members:
            places[rows] = (before + len(rows) / 2) / total
            before += len(rows)
        places[members[-1]] = np.nextafter(1, 0) if len(members) > 1 else np.inf
    note_small_classes(groups, notes)
    return places


def note_small_classes(groups: Mapping[str, list[list[int]]], notes: list[str]) -> None:
    small = sorted(label for label, members in groups.items() if len(members) < 2)
    if small:
        who = f"class {small[0]!r} has" if len(small) == 1 else f"{len(small)} classes have"
        first = "" if len(small) == 1 else f", first {small[0]!r}"
        notes.append(f"{who} fewer than 2 different texts{first}: kept in train, not split")


def sample(texts: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Choose `limit` of N rows by the hash of their texts; return indices in source order."""
    if limit is None or limit >= len(texts):
        return np.arange(len(texts))
    order = np.argsort(fractions(texts, seed, "limit"), kind="stable")
    return np.sort(order[:limit])
