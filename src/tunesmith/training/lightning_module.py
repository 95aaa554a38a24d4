"""The one LightningModule: runs any Task under any optimizer and schedule."""

import logging
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from datasets import Dataset
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from tunesmith.errors import ConfigError, TrainingError
from tunesmith.tasks.base import Batch, Output, Task
from tunesmith.tasks.capabilities import FitsHead
from tunesmith.training import checkpoint_state
from tunesmith.training.clipping import clip_gradients
from tunesmith.training.cuda_graphs import CapturedStep, CudaCapture, Learnt, StepGraphs
from tunesmith.training.evaluation import Evaluation, ScoredBatch, score_batch, score_split
from tunesmith.training.param_groups import parameter_groups

log = logging.getLogger(__name__)

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]
MakeScheduler = Callable[[Optimizer, int], LRScheduler | ReduceLROnPlateau]


class TaskModule(L.LightningModule):
    """Trains a task on whole batches, however they were cut.

    A batch may come in `accumulate` pieces on several ranks. Each piece's loss is a mean and
    a weight; gradients are put together as if the batch had been one piece: the sum of
    weight times gradient, over the sum of weights.
    """

    def __init__(
        self,
        task: Task,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler,
        *,
        lr: float,
        factors: Mapping[str, float],
        rows: Mapping[str, Dataset],
        learnt_languages: Collection[str] = (),
        total_steps: int,
        scheduler_every: int = 1,
        scheduler_monitor: str | None = None,
        micro_batches: int = 1,
        log_every_n_steps: int = 10,
        graph_shapes: Collection[tuple[int, int]] = (),
    ) -> None:
        super().__init__()
        self.task = task
        self.make_optimizer, self.make_scheduler = make_optimizer, make_scheduler
        self.lr, self.factors, self.rows = lr, factors, rows
        self.learnt_languages = learnt_languages  # where rows are of several; else empty
        self.total_steps = total_steps
        self.scheduler_every, self.scheduler_monitor = scheduler_every, scheduler_monitor
        self.micro_batches, self.log_every_n_steps = micro_batches, log_every_n_steps
        self.graph_shapes = graph_shapes  # (B, T) of batches whose step is a CUDA graph
        self.graphs: StepGraphs | None = None
        self.captured: CapturedStep | None = None  # of the step under way
        self.plateau: ReduceLROnPlateau | None = None
        self.plateau_state: dict[str, Any] | None = None
        self.takes_own_settings = False  # rates and decay are of its config, not of its checkpoint
        self.window: list[Tensor] = []  # (2,) each: weight, weight x loss of a piece
        self.batch_loss: Tensor | None = None  # of the last whole batch, over all ranks
        self.batch_weight: Tensor | None = None
        self.last_loss: float | None = None  # as logged
        self.stop_requested = False  # on this rank, by a signal
        self.stop_agreed = False  # on all ranks
        self.evaluation = Evaluation({}, [], [])  # the last validation
        self.scores: dict[str, float] = {}  # its scores by full name

    # Training

    def training_step(self, batch: Batch, index: int) -> Tensor:
        if self.captured is not None:
            assert self.graphs is not None
            learnt = self.graphs.run(self.captured, batch)
            self.batch_loss, self.batch_weight = learnt.batch_loss, learnt.batch_weight
            self._end_of_batch(index)
            return learnt.loss
        loss, weight = self._forward(batch)
        if self.micro_batches == 1:
            total = self._reduce_loss()
            self._end_of_batch(index)
            return loss * (weight * self._ranks / total)
        if len(self.window) == self.micro_batches:
            self._reduce_loss()
            self._end_of_batch(index)
        return loss * weight  # divided by the batch's weight before the step

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a piece, and its weight."""
        output: Output = self.task(batch)
        weight = output.weight.detach() * (~batch["blank"])
        self.window.append(torch.stack([weight, weight * output.loss.detach()]).float())
        return output.loss, weight

    def _learn(self, batch: Batch) -> Learnt:
        """Compute the gradients of a whole batch as `training_step` and Lightning do."""
        self.zero_grad(set_to_none=True)
        with self.trainer.precision_plugin.train_step_context():
            mean, weight = self._forward(batch)
            loss = mean * (weight / self._reduce_loss())
        loss.backward()
        assert self.batch_loss is not None and self.batch_weight is not None
        self.configure_gradient_clipping(None, self.trainer.gradient_clip_val)
        return Learnt(loss.detach(), self.batch_loss, self.batch_weight)

    # A captured step is taken whole by `training_step`: what Lightning does after it is done.

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        self.captured = self.graphs.step_for(batch) if self.graphs is not None else None

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.captured is None:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        if self.captured is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        if self.captured is None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        else:
            optimizer_closure()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.micro_batches == 1:
            return
        assert self.batch_weight is not None
        # Lightning has divided by the pieces and DDP by the ranks: undo both.
        factor = self.micro_batches * self._ranks / self.batch_weight
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        torch._foreach_mul_(grads, factor.to(grads[0].device))

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip by norm; Lightning's own way refuses fused optimizers under bf16 needlessly."""
        if not gradient_clip_val:
            return
        whole: Any = self.trainer.strategy.model
        if hasattr(whole, "clip_grad_norm_"):  # sharded: the norm is over all shards
            whole.clip_grad_norm_(gradient_clip_val)
        else:
            clip_gradients(list(self.parameters()), gradient_clip_val)

    @property
    def rate(self) -> float:
        """The highest learning rate of any parameter group, for the next step."""
        return max(group["lr"] for group in self.trainer.optimizers[0].param_groups)

    def _reduce_loss(self) -> Tensor:
        """Add up the batch's pieces over the ranks; return its weight. Agree whether to stop."""
        weight, loss = torch.stack(self.window).sum(0)
        self.window = []
        if self._ranks > 1:
            totals = torch.stack([weight, loss, loss.new_tensor(float(self.stop_requested))])
            dist.all_reduce(totals)
            weight, loss, stop = totals
            self.stop_agreed = bool(stop > 0)
        self.batch_weight = weight.clamp(min=1e-12)
        self.batch_loss = loss / self.batch_weight
        return self.batch_weight

    def _end_of_batch(self, index: int) -> None:
        """Look at the loss of a whole batch, now and then on a GPU: it would have to wait."""
        if self._ranks == 1:
            self.stop_agreed = self.stop_requested
        self.rate_used = self.rate
        if self.device.type == "cpu" or self.trainer.global_step % self.log_every_n_steps == 0:
            self._refuse_nan(index)
        self._log_step(self.trainer.global_step + 1)

    def _log_step(self, step: int) -> None:
        """Log here, before the step: at a batch's end a run may already have been stopped."""
        if step % self.log_every_n_steps == 0 or step == self.total_steps:
            assert self.batch_loss is not None
            self.last_loss = float(self.batch_loss)
            self.write({"train/loss": self.last_loss, "lr": self.rate_used}, step)

    def _refuse_nan(self, index: int) -> None:
        assert self.batch_loss is not None
        loss = float(self.batch_loss)
        if not math.isfinite(loss):
            step = self.trainer.global_step + 1
            raise TrainingError(
                "TRAIN-NAN",
                f"step {step}",
                f"the loss is {loss} (learning rate {self.rate_used:.3g}, batch {index} of epoch "
                f"{self.current_epoch})",
                "lower optimizer.lr, or set trainer.precision=32",
            )

    @property
    def _ranks(self) -> int:
        return self.trainer.world_size

    # Optimizer and schedule

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(parameter_groups(self.task, self.factors, self.lr))
        self.settings = [_settings(group) for group in optimizer.param_groups]
        # A fused optimizer offers to unscale fp16 gradients itself; nothing could clip them then.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        scheduler = self.make_scheduler(optimizer, self.total_steps)
        if isinstance(scheduler, ReduceLROnPlateau):  # stepped here, so that its step is saved
            self.plateau = scheduler
            if self.plateau_state is not None:
                scheduler.load_state_dict(self.plateau_state)
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if self.trainer.global_step % self.scheduler_every == 0:
            scheduler.step()

    def check_optimizer(self, state: Mapping[str, Any], location: str) -> None:
        """Raise ConfigError unless the optimizer of a checkpoint is the one of this run.

        Raises ModelError where its state, or its schedule's, is not what such ones keep.
        """
        optimizer = self.make_optimizer(parameter_groups(self.task, self.factors, self.lr))
        ours = [len(group["params"]) for group in optimizer.param_groups]
        theirs = checkpoint_state.sizes_of_groups(state.get("optimizer_states"), location)
        name = type(optimizer).__name__
        was = state.get("optimizer", name)
        if (name, ours) != (was, theirs):
            what = f"has {was} over {theirs} parameters, this run {name} over {ours}"
            fix = "set model.path=RUN in place of ckpt_path: it takes the weights alone"
            raise ConfigError("CKPT-OPTIMIZER", location, what, fix)
        checkpoint_state.check_optimizer_state(state["optimizer_states"], optimizer, location)
        if not self.takes_own_settings:
            self._check_schedule(state, optimizer, location)

    def _check_schedule(self, state: Mapping[str, Any], optimizer: Any, location: str) -> None:
        scheduler = self.make_scheduler(optimizer, self.total_steps)
        plateau = isinstance(scheduler, ReduceLROnPlateau)
        theirs = state.get("plateau") if plateau else state.get("lr_schedulers")
        ours = scheduler.state_dict() if plateau else [scheduler.state_dict()]
        checkpoint_state.check_kinds(ours, theirs, "learning rate schedule", location)

    def on_train_start(self) -> None:
        if self.takes_own_settings:
            self._take_own_settings()
        if self.graph_shapes:
            self.graphs = StepGraphs(
                CudaCapture(),
                self._learn,
                self.trainer.optimizers[0],
                self.device,
                self.graph_shapes,
            )

    def on_train_end(self) -> None:
        self.graphs = self.captured = None  # and with them the memory of what they compute

    def _take_own_settings(self) -> None:
        """Keep the moments that the checkpoint had; rates, decay and schedule are this run's."""
        optimizer = self.trainer.optimizers[0]
        for group, settings in zip(optimizer.param_groups, self.settings, strict=True):
            group.pop("initial_lr", None)
            group.update(settings)
        made = self.make_scheduler(optimizer, self.total_steps)
        if isinstance(made, ReduceLROnPlateau):
            self.plateau = made
            return
        with warnings.catch_warnings():  # torch misses the steps that the other run took
            warnings.simplefilter("ignore")
            for _ in range(self.trainer.global_step // self.scheduler_every):
                made.step()
        self.trainer.strategy.lr_scheduler_configs[0].scheduler = made

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["rows"] = self.trainer.datamodule.train_rows  # type: ignore[attr-defined]
        checkpoint["optimizer"] = type(self.trainer.optimizers[0]).__name__
        if self.plateau is not None:
            checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.takes_own_settings:
            checkpoint["lr_schedulers"] = []  # this run's own: see `_take_own_settings`
            return
        self.plateau_state = checkpoint.get("plateau")
        if self.plateau is not None and self.plateau_state is not None:
            self.plateau.load_state_dict(self.plateau_state)

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        self._scored: list[ScoredBatch] = []
        if self.trainer.state.fn == "fit" and isinstance(self.task, FitsHead):
            with self.trainer.precision_plugin.val_step_context():
                self.task.fit_head(self._train_batches())

    def _train_batches(self) -> Iterator[Batch]:
        """Yield the train split, every row once."""
        for batch in self.trainer.datamodule.whole("train"):  # type: ignore[attr-defined]
            yield self.trainer.strategy.batch_to_device(batch)

    def validation_step(self, batch: Batch, index: int) -> None:
        features = self.trainer.val_dataloaders.batch_sampler[index]  # type: ignore[union-attr]
        self._scored.append(score_batch(self.task, batch, features))

    def on_validation_epoch_end(self) -> None:
        """Score the split as a whole, on every rank alike."""
        self.evaluation = score_split(
            self.task,
            self._of_all_ranks(self._scored),
            self.trainer.datamodule.encoded["validation"],  # type: ignore[attr-defined]
            self.rows["validation"],
            self.learnt_languages,
            calibrates=self.trainer.state.fn == "fit",  # later, it is as it was saved
        )
        self.scores = self.evaluation.scores_of("val")
        if self.plateau is not None and self.trainer.state.fn == "fit":
            self.plateau.step(self.scores[self.scheduler_monitor or ""])

    def _of_all_ranks(self, batches: list[ScoredBatch]) -> list[ScoredBatch]:
        if self._ranks == 1:
            return batches
        gathered: list[Any] = [None] * self._ranks
        dist.all_gather_object(gathered, batches)
        return [batch for rank in gathered for batch in rank]

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        """Hand scalars to every logger of the trainer."""
        log_scalars(self.trainer.loggers, metrics, step)


def log_scalars(loggers: list[Logger], metrics: Mapping[str, float], step: int) -> None:
    """Hand scalars to every logger; one that fails leaves the list, and training goes on."""
    for logger in list(loggers):
        try:
            logger.log_metrics(dict(metrics), step)
        except OSError as error:
            log.warning("%s stopped logging: %s", type(logger).__name__, error)
            loggers.remove(logger)


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}
