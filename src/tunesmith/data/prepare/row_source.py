"""The rows of a split where they come from, and which of its columns a run reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.data.columns import Column, SourceName, names_of
from tunesmith.data.prepare.parse_cells import is_nothing, nested_names
from tunesmith.data.sources.csv import header_options, suggested_names
from tunesmith.data.sources.files import Raw
from tunesmith.errors import DataError, did_you_mean, raise_all


@dataclass(frozen=True)
class RowSource:
    """The rows of one split where they come from."""

    name: str  # as messages name it
    identity: str  # changes whenever a row does
    columns: list[str]
    rows: Callable[[], Iterator[Raw]]
    in_lines: bool = True  # rows are numbered by lines of a file, else by themselves from 1
    is_text: bool = False  # every cell is a text, also a number and what is missing (csv)
    classes: Mapping[str, list[str]] = field(default_factory=dict)  # names behind integers
    folder: Path = Path()  # what the paths in its cells are relative to
    guesses: tuple[str, ...] = ()  # how it is read, where no option says so
    first_rows: Sequence[Sequence[str]] = ()  # of a file whose header looks like one of them
    all_columns: Callable[[], list[str]] | None = None  # reads all rows; None: `columns` are all

    def at(self, number: int) -> str:
        """Return where a row stands, as a message begins: `train.csv:3`."""
        return f"{self.name}:{number}" if self.in_lines else f"{self.name}: row {number}"

    def known_columns(self) -> list[str]:
        """Return the columns of all rows, where `columns` are those of the first one alone."""
        return self.columns if self.all_columns is None else self.all_columns()

    def has_column(self, name: str) -> bool:
        if name in self.columns:
            return True
        known = self.known_columns()
        return name in known or name in self.nested_columns([name], known)

    def nested_columns(self, names: Iterable[str], known: Sequence[str]) -> list[str]:
        """Return the dotted names below the columns that these begin with, by their first cells."""
        roots = {name.partition(".")[0] for name in names if name not in known}.intersection(known)
        found: dict[str, list[str]] = {}
        for _, raw in self.rows() if roots and not self.is_text else ():
            there = [root for root in roots - found.keys() if not is_nothing(raw.get(root))]
            found |= {root: nested_names(root, raw[root]) for root in there}
            if len(found) == len(roots):
                break
        return [name for root in sorted(found) for name in found[root]]

    def line_of(self, number: int) -> str:
        return f"line {number}" if self.in_lines else f"row {number}"


def present_columns(
    source: RowSource,
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
    split: str,
) -> dict[str, SourceName]:
    """Return {our name: the source's name, or names} of the columns to read.

    A column named in the config must be there; only test may lack its labels, and all but train
    what is of use in learning alone. Raises DataError naming what is missing and what there is.
    """
    may_lack = {
        ours
        for ours, column in columns.items()
        if (column.target and split == "test") or (column.learning and split != "train")
    }
    chosen = {ours: theirs for ours, theirs in names.items() if theirs}
    known = source.columns
    absent = _absent(chosen, known)
    if absent:  # a later row of json lines may have them, or the cells of a column
        known = source.known_columns()
        asked = [name for theirs in chosen.values() for name in names_of(theirs)]
        known = [*known, *source.nested_columns(asked, known)]
        absent = _absent(chosen, known)
    wrong = [
        (ours, name)
        for ours, missing in absent.items()
        for name in missing
        if ours not in may_lack or did_you_mean(name, known)
    ]
    # Two columns missing in a file of one column have one reason: the separator.
    wrong = wrong[:1] if looks_split(source) or source.first_rows else wrong
    raise_all([no_column(source, name, ours, known, names) for ours, name in wrong])
    return {ours: theirs for ours, theirs in chosen.items() if ours not in absent}


def _absent(chosen: Mapping[str, SourceName], known: Sequence[str]) -> dict[str, list[str]]:
    """Return {our name: the source's names that it lacks}."""
    lacking = {
        ours: [name for name in names_of(theirs) if name not in known]
        for ours, theirs in chosen.items()
    }
    return {ours: missing for ours, missing in lacking.items() if missing}


def looks_split(source: RowSource) -> str:
    """Return the character that seems to separate a file read as one column, or ""."""
    there = source.columns
    return next((s for s in ";\t|," if len(there) == 1 and s in there[0]), "")


def no_column(
    source: RowSource,
    name: str,
    ours: str,
    known: Sequence[str],
    names: Mapping[str, SourceName | None],
) -> DataError:
    """Say that a column is missing, and the option that most likely helps."""
    if looks_split(source):
        mark = repr(looks_split(source))
        what = f"one column {source.columns[0]!r}; file looks {mark}-separated"
        return DataError("DATA-COL", source.name, what, f'set "data.sep={mark}"')  # for a shell
    what = f"no column {name!r}; columns: {', '.join(known)}"
    if source.first_rows:
        what = f"no column {name!r}, and the first row looks like data"
        return DataError("DATA-COL", source.name, what, without_header(source.first_rows, names))
    fix = did_you_mean(name, known) or f"data.{ours}=COLUMN names it"
    return DataError("DATA-COL", source.name, what, fix)


def without_header(rows: Sequence[Sequence[str]], names: Mapping[str, SourceName | None]) -> str:
    """Return the options that read a file without a header, its columns named as is likely."""
    text, label = (names_of(names.get(ours) or ours)[0] for ours in ("text", "label"))
    pair = names.get("text_pair")
    columns = suggested_names(rows, text, label, str(pair or "text_pair"))
    more = " data.text_pair=text_pair" if pair is None and "text_pair" in columns else ""
    return header_options(columns) + more
