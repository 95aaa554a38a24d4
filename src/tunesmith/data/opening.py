"""Which splits there are, which are cut from train, and what is opened for those wanted."""

from collections.abc import Callable, Collection, Mapping, Sequence

from tunesmith.data.prepare.languages import Wanted, Where, each, joined
from tunesmith.data.prepare.normalize import RowSource
from tunesmith.data.prepare.split import SplitSpec
from tunesmith.data.sources.resolve import Opener
from tunesmith.errors import ConfigError, DataError, TunesmithError, raise_all

SPLITS = ("train", "validation", "test")


def find_splits(
    place: Where,
    ways: Callable[..., dict[str, Opener]],
    how: SplitSpec,
    languages: Sequence[str] | None,
    whose: Wanted,
) -> tuple[dict[str, Opener], dict[str, bool]]:
    """Return {split: what opens it}, and of which splits it is true that train is cut for them.

    `ways` opens the splits of one place; where rows are of several `languages` each has its own.
    """
    if languages is None:
        found = ways(*place)
        return found, splits_to_cut(found, how)
    theirs = {language: ways(*there) for language, there in each(languages, place).items()}
    to_cut = splits_to_cut({split for found in theirs.values() for split in found}, how)
    return joined(theirs, whose, any(to_cut.values())), to_cut


def splits_to_cut(found: Collection[str], how: SplitSpec) -> dict[str, bool]:
    """Tell of "validation" and "test" whether they are cut from train."""
    if how.folds is not None and "validation" in found:
        what = "folds cut validation from train, but the source has a validation split"
        fix = "set data.splits.validation=null and data.validation_file=null"
        raise ConfigError("CONF-SPLIT", f"data.split.folds={how.folds}", what, fix)
    validation = how.validation > 0 or how.folds is not None
    return {
        "validation": "validation" not in found and validation,
        "test": "test" not in found and how.test > 0,
    }


def check_validation(found: Mapping[str, Opener], to_cut: Mapping[str, bool], need: bool) -> None:
    if need and "validation" not in found and not to_cut["validation"]:
        what = "no validation split, and none is cut from train"
        raise DataError("DATA-SPLIT", "data", what, "set data.split.validation=0.1")


def sources_needed(
    wanted: Collection[str], found: Mapping[str, Opener], to_cut: Mapping[str, bool], named: bool
) -> list[str]:
    """Return the splits to open. Unless the labels are named, only train can tell them."""
    cutting = any(to_cut.get(name, False) for name in wanted)
    train = "train" in wanted or cutting or not named
    if train and "train" not in found:
        raise DataError("DATA-SPLIT", "data", "no train split to read", "set data.train_file")
    needed = {name for name in wanted if name in found} | ({"train"} if train else set())
    return [name for name in SPLITS if name in needed]


def open_sources(names: Collection[str], found: Mapping[str, Opener]) -> dict[str, RowSource]:
    """Open the sources, and say of all at once what is wrong with them."""
    sources: dict[str, RowSource] = {}
    errors: list[TunesmithError] = []
    for name in names:
        try:
            sources[name] = found[name]()
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return sources
