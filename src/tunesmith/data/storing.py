"""Each source's rows stored once per content, and opened where they are stored already."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tunesmith.data.cache import key_of, schema_of, stored
from tunesmith.data.columns import MEDIA, Column, Named
from tunesmith.data.prepare.normalize import Source, canonical_rows
from tunesmith.data.prepare.quality import Part
from tunesmith.data.sources.resolve import Reading
from tunesmith.errors import DataError, TunesmithError, raise_all


def store_all(
    sources: Mapping[str, Source],
    columns: Mapping[str, Column],
    chosen: Mapping[str, Mapping[str, Named]],
    separator: str | None,
    media: str | None,
    reading: Reading,
    cache: Path,
) -> dict[str, Part]:
    """Store each source's rows, or open what is stored; all broken files are said at once."""
    parts: dict[str, Part] = {}
    errors: list[TunesmithError] = []
    for split, source in sources.items():
        schema = schema_of(columns, chosen[split])
        format_ = [Path(source.name).suffix, source.columns, source.classes, asdict(reading)]
        folders = media_folders({split: source}, columns, chosen[split], media)
        key = key_of(source.identity, str(schema), chosen[split], separator, format_, *folders)
        rows = canonical_rows(source, columns, chosen[split], separator, media)
        try:
            data = stored(rows, schema, key, cache)
            if not len(data):
                raise nothing_in(source)
            parts[split] = Part(source, data, np.arange(len(data)))
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return parts


def nothing_in(source: Source) -> DataError:
    headed = source.in_lines and not source.name.lower().endswith(".txt")
    return DataError("DATA-EMPTY", source.name, "header but 0 rows" if headed else "0 rows")


def media_folders(
    sources: Mapping[str, Source],
    columns: Mapping[str, Column],
    names: Mapping[str, Named | None],
    media: str | None,
) -> list[str]:
    """Return the folders that paths in cells are relative to; none where no cell is a file."""
    if not any(names.get(c) and column.kind in MEDIA for c, column in columns.items()):
        return []
    return [
        str(Path(media or source.folder).expanduser().absolute()) for source in sources.values()
    ]
