"""Which columns of the sources are read: the task's, and what rows are cut by."""

from collections.abc import Mapping

from tunesmith.data.columns import Column, SourceName, names_of
from tunesmith.data.options import SplitOptions
from tunesmith.data.prepare.quality import GROUP, STRATA
from tunesmith.data.prepare.row_source import RowSource, present_columns
from tunesmith.errors import ConfigError, DataError, TunesmithError, raise_all


def choose(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
    options: SplitOptions,
) -> dict[str, dict[str, SourceName]]:
    """Return {split: {our column: the source's}}; what rows are stratified by is one of them."""
    chosen = present(sources, columns, {name: names[name] for name in [*columns, "id"]})
    group = options.group or ("context" if "context" in columns else None)
    if group is not None and "train" in sources:
        chosen["train"][GROUP] = _group_column(sources["train"], options, names)
    strata = strata_of(options, columns, names["label"], sources)
    if strata is not None:
        chosen["train"][STRATA] = strata
    return chosen


def _group_column(
    source: RowSource, options: SplitOptions, names: Mapping[str, SourceName | None]
) -> SourceName:
    """Return the column whose equal values keep rows in one split: by default the context's."""
    if options.group is None:
        return names["context"] or "context"
    if not source.has_column(options.group):
        what = f"no column {options.group!r}; columns: {', '.join(source.known_columns())}"
        raise DataError("DATA-COL", source.name, what, "data.split.group=null")
    return options.group


def present(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
) -> dict[str, dict[str, SourceName]]:
    """Return the columns that each split has; all that is missing is said at once."""
    errors: list[TunesmithError] = [
        ConfigError("CONF-MISSING", f"data.{c}=null", "the task needs this column; give its name")
        for c, column in columns.items()
        if column.required and names[c] is None
    ]
    errors += answers_that_are_read(columns, names)
    chosen = {}
    for split, source in sources.items():
        try:
            chosen[split] = present_columns(source, columns, names, split)
        except TunesmithError as error:
            errors.extend(getattr(error, "errors", [error]))
    raise_all(errors)
    return chosen


def answers_that_are_read(
    columns: Mapping[str, Column], names: Mapping[str, SourceName | None]
) -> list[TunesmithError]:
    """Find a column that the task reads and is to predict: it would learn nothing, and score 1."""
    target = next((c for c, column in columns.items() if column.target), None)
    if target is None or names[target] is None:
        return []
    what = "is what data.{} reads too: the input would be the answer"
    where = f"data.{target}={names[target]}"
    return [
        ConfigError("CONF-BOTH", where, what.format(c), "name another column")
        for c in columns
        if c != target and names[target] in (names[c], *names_of(names[c] or ()))
    ]


def strata_of(
    options: SplitOptions,
    columns: Mapping[str, Column],
    label: SourceName | None,
    sources: Mapping[str, RowSource],
) -> SourceName | None:
    """Return the label column by which rows are stratified although the task reads no label.

    So a task on texts alone cuts a source as classification does: nobody's test texts are its
    train texts.
    """
    cut_here = options.method == "stratified" and "train" in sources and "label" not in columns
    return label if cut_here and label and sources["train"].has_column(str(label)) else None
