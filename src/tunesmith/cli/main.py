"""The `tunesmith` command: train, tools on a run, tools on a study."""

import argparse
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

from tunesmith import __version__
from tunesmith.cli import doctor, file_commands, study_commands
from tunesmith.cli.entry import run_cli, train_from_config
from tunesmith.config import CONF
from tunesmith.runtime.fast_import import fast_import


def main() -> None:
    """Run the command that the arguments name; end with its exit code."""
    if sys.argv[1:2] == ["train"]:
        sys.argv = [sys.argv[0], *sys.argv[2:]]
        run_cli(_hydra_main())
    run_cli(lambda: _command(sys.argv[1:]))


def _hydra_main() -> Any:
    import hydra

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
    def train(cfg: Any) -> float | None:
        return train_from_config(cfg)

    return train


def _command(arguments: list[str]) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    options.run_command(options)


class _Parser(argparse.ArgumentParser):
    """Refuses a command line in one line, as all errors are."""

    def error(self, message: str) -> NoReturn:
        from tunesmith.errors import ConfigError

        raise ConfigError("CLI", self.prog, message, f"{self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tunesmith", description="Train one encoder well, and use what was trained."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser("train", help="train, as `python train.py` does: tunesmith train --help")

    evaluate = _on_a_run(commands, "evaluate", "score a split, or a labelled file", _evaluate)
    evaluate.add_argument("--split", choices=["train", "validation", "test"], help="default: test")
    evaluate.add_argument("--data", metavar="FILE", help="a labelled file instead of a split")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    _with_options(evaluate)

    predict = _on_a_run(commands, "predict", "label new texts", _predict)
    predict.add_argument("file", nargs="?", type=Path, help="csv, tsv, json lines or CoNLL")
    predict.add_argument("--text", action="append", help="a text; may be given several times")
    predict.add_argument("--output", type=Path, metavar="FILE", help=".csv, .tsv or .jsonl")
    predict.add_argument(
        "--excel-safe", action="store_true", help="quote cells that start a formula"
    )
    _with_options(predict)

    _on_a_run(commands, "show", "what a run was and what came of it", _show)
    keys = commands.add_parser("keys", help="what a key of the config may be, and what it means")
    keys.add_argument("word", help="part of a key's name or of its meaning: lr, dropout, rungs")
    keys.set_defaults(run_command=_keys)
    runs = commands.add_parser("runs", help="a table of runs and scores")
    runs.add_argument("folder", nargs="?", type=Path, default=Path("runs"))
    runs.set_defaults(run_command=_runs)
    doctor.add_commands(commands)
    file_commands.add_commands(commands)
    study_commands.add_commands(commands)
    return parser


def _on_a_run(commands: Any, name: str, text: str, command: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument(
        "run", metavar="RUN", help="the directory of a run, or of a study: its winner"
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="your package that the run names",
    )
    parser.set_defaults(run_command=command)
    return parser


def _with_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="what the task writes (task.num_beams=4), or how the file is read (data.sep=;)",
    )


def _opened(options: argparse.Namespace) -> Any:
    from tunesmith.config import inference_options

    with fast_import():
        from tunesmith.inference.finished_run import load

    return load(
        options.run, trust=options.trust, options=inference_options.parse_set_options(options.set)
    )


def _evaluate(options: argparse.Namespace) -> None:
    import json

    scores = _opened(options).evaluate(options.split, options.data)
    if options.json:
        numbers = {name: v if math.isfinite(v) else None for name, v in scores.items()}
        print(json.dumps(numbers, sort_keys=True))
        return
    for name, value in sorted(scores.items()):
        if math.isfinite(value):
            print(f"{name:<20} {value:z.6g}")


def _predict(options: argparse.Namespace) -> None:
    from tunesmith.errors import ConfigError

    if (options.file is None) == (options.text is None):
        raise ConfigError("CLI", "tunesmith predict", "needs a file or --text, one of them")
    import json

    from tunesmith.data.sources.files import readable
    from tunesmith.inference.predict_file import check_output, predict_file

    check_output(options.output)
    if options.file is not None:
        readable(options.file)  # before a model is loaded
    stored = _opened(options)
    if options.text is not None:
        for answer in stored.predict(options.text):
            print(json.dumps(answer, ensure_ascii=False))
        return
    rows = predict_file(stored, options.file, options.output, sys.stdout, options.excel_safe)
    if options.output is not None:
        print(f"{rows} rows -> {options.output}")


def _show(options: argparse.Namespace) -> None:
    from rich.console import Console

    from tunesmith import config, runs
    from tunesmith.reporting.terminal import run_tables

    run = runs.resolve(Path(options.run))
    config.read_saved_config(
        run / "config.yaml", options.trust
    )  # what must not be used is not shown
    Console().print(run_tables.show(run))


def _keys(options: argparse.Namespace) -> None:
    from tunesmith.config import reference
    from tunesmith.errors import ConfigError

    lines = reference.search(options.word)
    if not lines:
        fix = "docs/reference.md lists all"
        raise ConfigError("CLI", f"tunesmith keys {options.word}", "no key has this word", fix)
    print("\n".join(lines))


def _runs(options: argparse.Namespace) -> None:
    from rich.console import Console

    from tunesmith.reporting.terminal import run_tables

    Console().print(run_tables.listing(options.folder))


if __name__ == "__main__":
    main()
