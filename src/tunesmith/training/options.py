"""The groups `trainer` and `callbacks`, and the keys of optimizers and schedulers of torch."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from tunesmith.runtime.options import (
    Betas,
    Count,
    CountOrAuto,
    CountOrZero,
    Fraction,
    Inside,
    NonNegative,
    Options,
    Positive,
    Rule,
    Share,
    Text,
)

Interval = Annotated[
    Annotated[int, Ge(1)] | Annotated[float, Gt(0), Le(1)],
    Rule("a number > 0 and <= 1 (of an epoch), or an integer >= 1 (steps)"),
]
Step = Annotated[
    Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)],
    Rule("an integer >= 1 (a step), or a number > 0 and < 1 (of all steps)"),
]
Shares = Annotated[list[Share], Rule("a list of numbers > 0 and <= 1, of all steps")]


class TrainerOptions(Options):
    """Every key of `trainer`; those that Lightning has mean what they mean there."""

    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        description="auto: a GPU where there is one."
    )
    devices: CountOrAuto = Field(
        description="Devices per node; auto: all GPUs, or one CPU process."
    )
    num_nodes: Count = Field(description="The number of machines.")
    strategy: Literal["auto", "ddp", "fsdp", "deepspeed"] = Field(
        description="How several devices share a run; auto: one device, or ddp."
    )
    precision: Literal["auto", 32, "32", "bf16-mixed", "16-mixed"] = Field(
        description="auto: bf16-mixed where the hardware is fast at it, else 32."
    )
    float32_matmul_precision: Literal["highest", "high", "medium"] = Field(
        description="Of matrix products in float32, as torch has it: medium may be faster where "
        "precision is 32, and on GPUs and on CPUs with AMX rounds their inputs."
    )
    num_threads: Annotated[int, Ge(1), Le(1024)] | None = Field(
        description="Threads per process; null: all cores, or OMP_NUM_THREADS."
    )
    max_epochs: Count | None = Field(description="Epochs; with max_steps, what comes first.")
    max_steps: Count | None = Field(description="Optimizer steps; null: by max_epochs.")
    pause_at_step: Step | None = Field(
        description="The optimizer step at which the run saves and exits with 75; resume goes on."
    )
    val_check_interval: Interval = Field(
        description="How often the run validates: a fraction of an epoch, or a number of steps."
    )
    validate_at: Shares = Field(description="More validations, at these fractions of all steps.")
    micro_batches: Count = Field(
        description="Forward passes per optimizer step: a batch is divided to save memory."
    )
    gradient_clip_val: NonNegative = Field(
        description="The norm at which gradients are clipped; 0: never."
    )
    gradient_checkpointing: bool = Field(description="true: less memory for more time.")
    cuda_graphs: Literal["auto"] | bool = Field(
        description="Whether a step on a GPU is launched as one graph, not kernel by kernel; auto: "
        "where task, model, optimizer and precision allow it (train.log says why not)."
    )
    compile: bool = Field(
        description="true: torch.compile makes kernels for the model, once for all runs that share "
        "paths.cache; minutes at first, for a GPU."
    )
    deterministic: bool = Field(description="true: the same bits each time, at some cost in speed.")
    log_every_n_steps: Count = Field(description="Optimizer steps between two logged losses.")
    limit_train_batches: Count | None = Field(description="Batches per epoch, for debugging.")
    limit_val_batches: Count | None = Field(description="Batches per validation, for debugging.")
    profiler: Literal["simple", "advanced"] | None = Field(
        description="Lightning's profiler; its report goes into the run directory."
    )


class CheckpointOptions(Options):
    """When a run saves, and which score is best."""

    every_n_steps: Count | None = Field(
        description="Optimizer steps between two checkpoints, besides those after the best "
        "validation so far and at the end."
    )
    every_n_minutes: Positive | None = Field(
        description="The most minutes between two checkpoints: what a killed run has to repeat."
    )
    monitor: Text | None = Field(
        description="The score that tells the best checkpoint, such as val/loss; null: the task's."
    )
    mode: Literal["max", "min"] | None = Field(
        description="Whether more or less of the score is better; null: as the metric has it."
    )
    keep: Literal["all", "best", "none"] = Field(
        description="Which checkpoints stay when a run has ended well: all (last, the one before "
        "and best), best alone, or none. `model/` stays. Of a search: see search.max_disk."
    )
    allow_worst_as_best: bool = Field(
        description="true: the worst score is meant, as in mode=min of an accuracy."
    )


class EarlyStoppingOptions(Options):
    """When a run ends before its last step."""

    patience: Count | None = Field(
        description="Validations without improvement that end the run; null: never."
    )
    min_delta: NonNegative = Field(description="The least gain that counts as an improvement.")


class CallbackOptions(Options):
    """Every key of `callbacks`."""

    checkpoint: CheckpointOptions
    early_stopping: EarlyStoppingOptions
    progress: bool = Field(description="The progress bar; it is off where there is no terminal.")
    figures: bool = Field(description="A confusion matrix and examples in TensorBoard.")


class OptimizerOptions(Options):
    """Keys of torch's optimizers: the ranges of those that an optimizer has; it may have others."""

    lr: Positive = Field(description="The learning rate.")
    weight_decay: NonNegative = Field(description="Weight decay, not on biases and norms.")
    betas: Betas = Field(description="The decay rates of the two moments.")
    eps: Positive = Field(description="Added to the denominator of a step.")
    fused: bool | None = Field(description="One kernel for all parameters.")
    momentum: Fraction = Field(description="The momentum of SGD.")
    nesterov: bool = Field(description="Nesterov's momentum.")
    decoupled_weight_decay: bool = Field(description="Weight decay as AdamW has it.")


class SchedulerStepOptions(Options):
    """When a scheduler steps; the same keys for all of them."""

    interval: Literal["step", "epoch"] = Field(description="The unit of `frequency`.")
    frequency: Count = Field(
        description="The rate changes after so many intervals, to the rate of their middle."
    )
    monitor: Text | None = Field(
        description="The score that the scheduler reacts to (plateau), after each validation."
    )


class SchedulerOptions(SchedulerStepOptions):
    """Keys of torch's schedulers: the ranges of those that a scheduler has; it may have others."""

    mode: Literal["max", "min"] = Field(description="Whether more or less of the score is better.")
    factor: Inside = Field(description="The rate is multiplied by it when the score stalls.")
    patience: CountOrZero = Field(description="Validations without improvement before that.")
