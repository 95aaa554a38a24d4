"""Which splits there are, which are cut from train, and what is opened for those wanted."""

from collections.abc import Callable, Collection, Mapping, Sequence

from tunesmith.data.prepare.languages import Wanted, Where, each, joined
from tunesmith.data.prepare.normalize import RowSource
from tunesmith.data.prepare.split import SplitSpec
from tunesmith.data.sources.resolve import Opener
from tunesmith.errors import ConfigError, DataError, TunesmithError, raise_all

SPLITS = ("train", "validation", "test")


def find_splits(
    location: Where,
    ways: Callable[..., dict[str, Opener]],
    options: SplitSpec,
    languages: Sequence[str] | None,
    split_languages: Wanted,
) -> tuple[dict[str, Opener], dict[str, bool]]:
    """Return {split: what opens it}, and of which splits it is true that train is cut for them.

    `ways` opens the splits of one place; where rows are of several `languages` each has its own.
    """
    if languages is None:
        found = ways(*location)
        return found, splits_to_make(found, options)
    theirs = {language: ways(*there) for language, there in each(languages, location).items()}
    to_cut = splits_to_make({split for found in theirs.values() for split in found}, options)
    return joined(theirs, split_languages, any(to_cut.values())), to_cut


def splits_to_make(sources: Collection[str], options: SplitSpec) -> dict[str, bool]:
    """Tell of "validation" and "test" whether they are cut from train."""
    if options.folds is not None and "validation" in sources:
        what = "folds cut validation from train, but the source has a validation split"
        fix = "set data.splits.validation=null and data.validation_file=null"
        raise ConfigError("CONF-SPLIT", f"data.split.folds={options.folds}", what, fix)
    validation = options.validation > 0 or options.folds is not None
    return {
        "validation": "validation" not in sources and validation,
        "test": "test" not in sources and options.test > 0,
    }


def check_validation(
    sources: Mapping[str, Opener], to_make: Mapping[str, bool], need: bool
) -> None:
    if need and "validation" not in sources and not to_make["validation"]:
        what = "no validation split, and none is cut from train"
        raise DataError("DATA-SPLIT", "data", what, "set data.split.validation=0.1")


def sources_needed(
    splits: Collection[str], sources: Mapping[str, Opener], to_make: Mapping[str, bool], named: bool
) -> list[str]:
    """Return the splits to open. Unless the labels are named, only train can tell them."""
    cutting = any(to_make.get(name, False) for name in splits)
    train = "train" in splits or cutting or not named
    if train and "train" not in sources:
        raise DataError("DATA-SPLIT", "data", "no train split to read", "set data.train_file")
    needed = {name for name in splits if name in sources} | ({"train"} if train else set())
    return [name for name in SPLITS if name in needed]


def open_sources(names: Collection[str], openers: Mapping[str, Opener]) -> dict[str, RowSource]:
    """Open the sources, and say of all at once what is wrong with them."""
    sources: dict[str, RowSource] = {}
    errors: list[TunesmithError] = []
    for name in names:
        try:
            sources[name] = openers[name]()
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return sources
