"""The same steps by our loop and by transformers.Trainer: the losses of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from support.own_loop import batches_of, train_with_clock
from tunesmith.config import RunConfig
from tunesmith.pipeline import components
from tunesmith.pipeline.inputs import RunInputs, load_inputs
from tunesmith.pipeline.train import choose_hardware
from tunesmith.training.hardware import torch_settings

READ = ("input_ids", "attention_mask", "token_type_ids", "labels")


class Losses(NamedTuple):
    """The loss of each step."""

    ours: list[float]
    peer: list[float]


class GivenBatches(Trainer):
    """A Trainer that sees our batches, and notes each loss before it is rounded."""

    def __init__(self, batches: list[dict[str, torch.Tensor]], **options: Any) -> None:
        super().__init__(**options, train_dataset=batches)
        self.batches, self.losses = batches, list[float]()

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        loss = super().compute_loss(*arguments, **options)
        self.losses.append((loss[0] if isinstance(loss, tuple) else loss).item())
        return loss


def losses_of_both(cfg: RunConfig, folder: Path) -> Losses:
    """Train `trainer.max_steps` steps from the same weights on the same batches."""
    machine = choose_hardware(cfg)
    with torch_settings(machine, cfg.trainer.deterministic):
        inputs = load_inputs(cfg)
        ours = train_with_clock(cfg, inputs, machine, folder / "run").losses
        return Losses(ours, peer_losses(cfg, inputs, folder / "peer"))


def peer_losses(cfg: RunConfig, inputs: RunInputs, folder: Path) -> list[float]:
    task, _ = components.build_task(cfg, inputs)
    data = components.build_data(cfg, inputs, task)
    model = AutoModelForSequenceClassification.from_config(task.model.config)
    model.load_state_dict(task.model.state_dict())
    steps = cfg.trainer.max_steps
    assert steps is not None
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=cfg.trainer.accelerator == "cpu",
        max_steps=steps,
        learning_rate=cfg.optimizer["lr"],
        weight_decay=cfg.optimizer["weight_decay"],
        adam_epsilon=cfg.optimizer["eps"],
        warmup_steps=int(cfg.scheduler["warmup"] * steps),
        max_grad_norm=cfg.trainer.gradient_clip_val,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = GivenBatches(list(read_of(data, steps)), model=model, args=arguments)
    trainer.train()
    return trainer.losses


def read_of(data: Any, steps: int) -> Iterator[dict[str, torch.Tensor]]:
    for batch in batches_of(data, steps):
        yield {name: batch[name] for name in READ if name in batch}
