"""The commands on files of rows, before there is a run: inspect, tokenizer."""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add them to the parser of `tunesmith`."""
    inspect = commands.add_parser(
        "inspect",
        help="what files hold, as they would be read, and the command to train on them",
        description="Print what would be read of files: formats, columns, labels, guesses.",
    )
    inspect.add_argument(
        "words",
        nargs="+",
        metavar="FILE",
        help="files of one data set, and options of how they are read: data.sep=;",
    )
    inspect.set_defaults(run_command=_inspect)

    tokenizer = commands.add_parser(
        "tokenizer",
        help="train a WordPiece vocabulary on texts",
        description="Train a WordPiece vocabulary; model.path=DIR begins a BERT with it.",
    )
    tokenizer.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a file with texts, or overrides whose train split is read: data=bbc_news",
    )
    tokenizer.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    tokenizer.add_argument("--vocab-size", type=_vocabulary_size, default=8000, metavar="N")
    case = tokenizer.add_mutually_exclusive_group()
    case.add_argument("--lowercase", action="store_true", help="without case and accents (default)")
    case.add_argument("--cased", action="store_true", help="with case and accents")
    tokenizer.set_defaults(run_command=_tokenizer)


def _vocabulary_size(text: str) -> int:
    """Read a number of pieces that a vocabulary can have."""
    size = int(text)
    if not 10 <= size <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{size} is not between 10 and 10,000,000")
    return size


def _tokenizer(options: argparse.Namespace) -> None:
    from tunesmith.cli.train_tokenizer import make

    pieces = make(options.sources, options.output, options.vocab_size, not options.cased)
    print(f"{pieces} pieces -> {options.output}")


def _inspect(options: argparse.Namespace) -> None:
    from omegaconf import OmegaConf
    from rich.console import Console

    from tunesmith.config import CONF, inference_options
    from tunesmith.data.inspect_files import command, summarize
    from tunesmith.data.sources.file_layout import FileFormat
    from tunesmith.errors import ConfigError
    from tunesmith.reporting.terminal.file_tables import file_tables

    overrides = [word for word in options.words if word.startswith("data.") and "=" in word]
    paths = [Path(word) for word in options.words if word not in overrides]
    if not paths:
        raise ConfigError("CLI", "tunesmith inspect", "needs a file", "name files to look at")
    form = FileFormat(**inference_options.file_options(overrides))
    files = [summarize(path, form) for path in paths]
    Console().print(file_tables(files))
    defaults = OmegaConf.load(CONF / "data/files.yaml")
    print(command(files, defaults, overrides))  # type: ignore[arg-type]
