"""TensorBoard: scalars, figures, texts, and one HPARAMS row that shows the true best."""

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure

# TensorBoard reads only files called *tfevents*, so it does not see this one.
MARKER = ".hparams"
log = logging.getLogger(__name__)


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Writes into run_dir/tensorboard, and never stops a training: one warning, then silence.

    `purge_step` is the first step that a resumed run will log again: TensorBoard forgets what a
    killed process logged at it and after it.
    """

    def __init__(self, run_dir: str | Path, purge_step: int | None = None) -> None:
        # The base class takes its folder for a URL and expands $ and ~ in it; ours is a name.
        super().__init__(".", name="", version="", default_hp_metric=False)
        del self.hparams  # the base class's attribute, which would hide the method
        self._folder = Path(run_dir).absolute() / "tensorboard"
        self._broken = False
        # TensorBoard purges from the second session on only: the first has to say that it is one.
        is_first = not any(self._folder.glob("*tfevents*"))
        self._kwargs["purge_step"] = 0 if is_first else purge_step
        if is_first or purge_step == 0:
            self._quietly(self._remove_row)

    @property
    def root_dir(self) -> str:
        return str(self._folder)

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    @property
    def log_dir(self) -> str:
        return str(self._folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:  # type: ignore[override]
        # NaN is a fact about a run; anything that is no number is not a scalar.
        self._quietly(lambda: super(TensorBoardLogger, self).log_metrics(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Do nothing: Lightning would write the module's own, unredacted; see `hparams`."""

    @rank_zero_only
    def hparams(  # type: ignore[override]
        self, flat: Mapping[str, Any], metric: str, value: float, step: int, group: str = ""
    ) -> None:
        """Show `flat` as the run's row, and `value` as the best so far of `metric`.

        Call it at the first validation and at each improvement: the row is written once in the
        life of a run, its score each time. Runs of one `group` share a row: the mean of them.
        """
        tag = f"hp/{metric.replace('/', '_')}"
        self._quietly(lambda: self._score(flat, tag, value, step, group))

    @rank_zero_only
    def figure(self, tag: str, figure: Figure, step: int) -> None:
        self._quietly(lambda: self._draw(tag, figure, step))

    @rank_zero_only
    def text(self, tag: str, markdown: str, step: int) -> None:
        """Show markdown; whoever builds it escapes what comes from data."""
        self._quietly(lambda: self.experiment.add_text(tag, markdown, step))
        self.save()

    @rank_zero_only
    def save(self) -> None:
        # Not the base class's, which would write an hparams.yaml.
        self._quietly(lambda: self.experiment.flush())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._experiment is not None:
            self._quietly(self._close)

    def _remove_row(self) -> None:
        (self._folder / MARKER).unlink(missing_ok=True)  # purged, or never there

    def _score(
        self, flat: Mapping[str, Any], tag: str, value: float, step: int, group: str
    ) -> None:
        marker = self._folder / MARKER
        if not marker.exists():
            self._write_row({key: plain(item) for key, item in flat.items()}, tag, group)
            self.experiment.flush()  # the marker must not outlive a row that was never written
            marker.touch(mode=0o600)
        self.experiment.add_scalar(tag, value, step)
        self.experiment.flush()

    def _write_row(self, flat: dict[str, Any], tag: str, group: str) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from torch.utils.tensorboard.summary import hparams

        writer = self.experiment._get_file_writer()
        # At step 0 (no step given), where no purge of a later step reaches it. The third part,
        # "the session has ended", is left out: TensorBoard needs no status to show the row.
        experiment, session, _ = hparams(flat, {tag: 0.0})
        writer.add_summary(experiment)
        writer.add_summary(hparams_pb(flat, trial_id=group) if group else session)

    def _draw(self, tag: str, figure: Figure, step: int) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a label in another script
            self.experiment.add_figure(tag, figure, step)
        self.experiment.flush()

    def _close(self) -> None:
        # Closing the writer for good would lose the test scores, logged after fit; the next use
        # opens another file, which must not purge what this one wrote.
        self.experiment.flush()
        self.experiment.close()
        self._experiment = None
        self._kwargs["purge_step"] = None

    def _quietly(self, write: Callable[[], Any]) -> None:
        if self._broken:
            return
        try:
            write()
        except Exception as error:
            # Anything: TensorBoard and matplotlib raise what they like for a disk, a tag, a glyph,
            # and a picture of a training is not worth the training. No fault is hidden: the
            # screen has its line, train.log the traceback.
            self._broken = True
            log.warning("TensorBoard is not written any more: %s", error)
            log.info("what stopped TensorBoard", exc_info=error)


def plain(value: Any) -> bool | int | float | str:
    """Return a value that an HPARAMS cell can hold: None as "null", a list as its text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (bool, int, float, str)):
        return value
    return "null" if value is None else str(value)
