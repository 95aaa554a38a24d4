"""Each source's rows stored once per content, and opened where they are stored already."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tunesmith.data.cache import cached_dataset, key_of, schema_of
from tunesmith.data.columns import MEDIA, Column, SourceName
from tunesmith.data.prepare.normalize import RowSource, normalized_rows
from tunesmith.data.prepare.quality import SplitRows
from tunesmith.data.sources.resolve import FileFormat
from tunesmith.errors import DataError, TunesmithError, raise_all


def cache_splits(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    chosen: Mapping[str, Mapping[str, SourceName]],
    separator: str | None,
    media: str | None,
    reading: FileFormat,
    cache: Path,
) -> dict[str, SplitRows]:
    """Store each source's rows, or open what is stored; all broken files are said at once."""
    parts: dict[str, SplitRows] = {}
    errors: list[TunesmithError] = []
    for split, source in sources.items():
        schema = schema_of(columns, chosen[split])
        format_ = [Path(source.name).suffix, source.columns, source.classes, asdict(reading)]
        folders = media_folders({split: source}, columns, chosen[split], media)
        key = key_of(source.identity, str(schema), chosen[split], separator, format_, *folders)
        rows = normalized_rows(source, columns, chosen[split], separator, media)
        try:
            data = cached_dataset(rows, schema, key, cache)
            if not len(data):
                raise nothing_in(source)
            parts[split] = SplitRows(source, data, np.arange(len(data)))
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return parts


def nothing_in(source: RowSource) -> DataError:
    headed = source.in_lines and not source.name.lower().endswith(".txt")
    return DataError("DATA-EMPTY", source.name, "header but 0 rows" if headed else "0 rows")


def media_folders(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
    media: str | None,
) -> list[str]:
    """Return the folders that paths in cells are relative to; none where no cell is a file."""
    if not any(names.get(c) and column.kind in MEDIA for c, column in columns.items()):
        return []
    return [
        str(Path(media or source.folder).expanduser().absolute()) for source in sources.values()
    ]
