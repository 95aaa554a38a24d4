"""Pictures of a validation: a confusion matrix, right and wrong examples, texts it wrote."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tunesmith.errors import printable
from tunesmith.tasks.base import Answer, Row
from tunesmith.tasks.capabilities import (
    GeneratedExample,
    Generates,
    LabeledExample,
    ShowsConfusion,
    ShowsExamples,
)

LONGEST_LABEL = 24  # characters on an axis
LONGEST_TEXT = 160  # characters of an example
LONGEST_SAMPLE = 600  # characters of a text that was written, or to be
READ_AT_ONCE = 1000  # rows whose texts are in memory together
SHARES_UP_TO = 20  # labels; with more, a cell has room for its count only
MARKUP = frozenset("\\`*_[]{}<>|&~$\"'#!")  # what markdown or HTML would read as its own


class ValidationFigures(Callback):
    """Shows the best validation so far to every logger that takes figures and texts.

    Of each validation it shows what was written for the same few texts. `checkpoints` knows the
    `best_step`; the module holds the last validation as `evaluation`, and its task `counts` it.
    """

    def __init__(self, checkpoints: Any) -> None:
        self.checkpoints = checkpoints
        self._drawn_step: int | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = trainer.global_step
        if trainer.sanity_checking or self._drawn_step == step:
            return
        self._drawn_step = step
        boards = [x for x in trainer.loggers if hasattr(x, "figure") and hasattr(x, "text")]
        if boards and trainer.is_global_zero:
            self._show(boards, pl_module, step)
            if self.checkpoints.best_step == step:
                self._draw(boards, pl_module, step)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if not isinstance(exception, (Exception, KeyboardInterrupt)):  # stopped at a validation
            self.on_validation_end(trainer, pl_module)

    def _show(self, boards: list[Any], module: Any, step: int) -> None:
        _, answers, rows = module.evaluation
        task = module.task
        samples = task.generated_examples(answers, rows) if isinstance(task, Generates) else []
        for board in boards if samples else ():
            board.text("val/samples", samples_markdown(samples), step)

    def _draw(self, boards: list[Any], module: Any, step: int) -> None:
        _, answers, rows = module.evaluation
        task = module.task
        has_counts = bool(answers) and isinstance(task, ShowsConfusion)
        counts = task.confusion(answers, rows) if has_counts else None
        examples = telling_examples(task, answers, rows) if isinstance(task, ShowsExamples) else []
        for board in boards:
            if counts is not None:
                board.figure("val/confusion", confusion_matrix(counts, module.task.labels), step)
            if examples:
                board.text("val/examples", examples_markdown(examples), step)


def confusion_matrix(counts: Any, labels: Sequence[str]) -> Figure:
    """Draw counts (C, C), rows the labels and columns the predictions, coloured by row share.

    Raises ValueError if there is not one label a row.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(labels), len(labels)):
        raise ValueError(f"counts is (C, C) for C labels, but got {counts.shape}, {len(labels)}")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (C, C)
    inches = min(2.5 + 0.55 * len(labels), 18.0)
    figure = Figure(figsize=(inches + 1.0, inches), layout="constrained")  # no pyplot state
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the label", shrink=0.8)
    _name_axes(axes, [_short(label, LONGEST_LABEL) for label in labels])
    _write_cells(axes, counts, shares)
    return figure


def telling_examples(
    task: ShowsExamples, answers: Sequence[Answer], rows: Sequence[Row], most: int = 16
) -> list[LabeledExample]:
    """Return the wrong and the right examples that may be shown; few texts are read at once."""
    wrong: list[LabeledExample] = []
    right: list[LabeledExample] = []
    for start in range(0, len(rows), READ_AT_ONCE):
        part = slice(start, start + READ_AT_ONCE)
        wrong, right = _ranked([*wrong, *right, *task.examples(answers[part], rows[part])])
        wrong, right = wrong[:most], right[:most]
    return [*wrong, *right]


def _ranked(
    examples: Iterable[LabeledExample],
) -> tuple[list[LabeledExample], list[LabeledExample]]:
    """Return those that are wrong and those that are right, the surest first."""
    ranked = sorted(examples, key=lambda example: (-example[3], example[0]))
    wrong = [example for example in ranked if example[1] != example[2]]
    return wrong, [example for example in ranked if example[1] == example[2]]


def examples_markdown(examples: Iterable[LabeledExample], most: int = 16) -> str:
    """Return a markdown table of wrong examples, the surest first, and as many right ones.

    At most `most` rows. All cells are escaped: a text cannot add a cell, markup or HTML.
    """
    wrong, right = _ranked(examples)
    share = max(most // 2, most - len(right))
    chosen = wrong[:share]
    chosen += right[: most - len(chosen)]
    head = ["| | label | predicted | probability | text |", "|---|---|---|---|---|"]
    return "\n".join(head + [_row(*example) for example in chosen])


def samples_markdown(samples: Iterable[GeneratedExample]) -> str:
    """Return a markdown table of the reference texts and the written ones, side by side."""
    head = ["| text | wanted | written |", "|---|---|---|"]
    rows = [" | ".join(escape_markdown(cell, LONGEST_SAMPLE) for cell in s) for s in samples]
    return "\n".join(head + [f"| {row} |" for row in rows])


def escape_markdown(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return text that a markdown table shows as it is, on one line, shortened."""
    return "".join(f"&#{ord(c)};" if c in MARKUP else c for c in _short(text, longest))


def _row(text: str, label: str, predicted: str, probability: float) -> str:
    verdict = "right" if label == predicted else "wrong"
    cells = [escape_markdown(label), escape_markdown(predicted), f"{probability:.3f}"]
    return f"| {verdict} | {' | '.join(cells)} | {escape_markdown(text)} |"


def _name_axes(axes: Any, labels: list[str]) -> None:
    size = _font_size(len(labels))
    places = range(len(labels))
    # Without parse_math a `$` in a label is a `$`.
    axes.set_xticks(places, labels, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(places, labels, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")


def _write_cells(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    size = _font_size(len(counts))
    for (row, column), count in np.ndenumerate(counts):
        if not count and len(counts) > SHARES_UP_TO:
            continue
        share = f"\n{shares[row, column]:.0%}" if len(counts) <= SHARES_UP_TO else ""
        colour = "white" if shares[row, column] > 0.5 else "black"
        place = {"ha": "center", "va": "center", "color": colour, "fontsize": size}
        axes.text(column, row, f"{count}{share}", **place)


def _font_size(labels: int) -> float:
    return 9.0 if labels <= SHARES_UP_TO else 6.0


def _short(text: str, longest: int) -> str:
    text = printable(str(text)[: longest + 1])
    return text if len(text) <= longest else text[: longest - 1] + "…"
