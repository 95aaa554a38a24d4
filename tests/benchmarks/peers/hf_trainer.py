"""The peer: fine-tune and test a classifier with transformers.Trainer, as a program of its own.

    python hf_trainer.py '{"form": "tuned", "model": DIR, "data": DIR, "output": DIR, ...}'

It reads train.csv, validation.csv and test.csv (columns text, label), trains, validates and saves
each epoch, tests the best, saves the model, and writes its times and scores to output/result.json.
Form "default" is what run_glue does: float32, all texts padded to max_length, the defaults of
TrainingArguments. Form "tuned" is what its documentation recommends for speed. With "max_steps" it
takes so many steps with random weights, and no more: nothing is validated, saved or tested.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

SPLITS = ("train", "validation", "test")


class StepEnds(TrainerCallback):
    """Notes when each optimizer step ended."""

    def __init__(self):
        self.ends = {}

    def on_step_end(self, args, state, control, **others):
        self.ends[state.global_step] = time.time()


def main():
    asked = json.loads(sys.argv[1])
    output = Path(asked["output"])
    rows, names, tokenizer = encoded_rows(asked, output / "cache")
    steps = StepEnds()
    trainer = trainer_of(asked, output, rows, names, tokenizer, [steps])
    trainer.train()
    result = {"step_ends": steps.ends}
    if "max_steps" not in asked:
        scores = trainer.predict(rows["test"], metric_key_prefix="test").metrics
        trainer.save_model(str(output / "model"))
        result["accuracy"] = scores["test_accuracy"]
    (output / "result.json").write_text(json.dumps(result))


def encoded_rows(asked, cache):
    """Return the rows of all splits, the names of the classes and the tokenizer."""
    files = {split: f"{asked['data']}/{split}.csv" for split in SPLITS}
    rows = load_dataset("csv", data_files=files, cache_dir=str(cache))
    names = sorted(set(rows["train"]["label"]))
    tokenizer = AutoTokenizer.from_pretrained(asked["model"])
    padding = False if asked["form"] == "tuned" else "max_length"

    def encoded(batch):
        found = tokenizer(
            batch["text"], padding=padding, truncation=True, max_length=asked["max_length"]
        )
        return {**found, "labels": [names.index(label) for label in batch["label"]]}

    return rows.map(encoded, batched=True, remove_columns=["text", "label"]), names, tokenizer


def trainer_of(asked, output, rows, names, tokenizer, callbacks):
    tuned = asked["form"] == "tuned"
    return Trainer(
        model=model_of(asked, len(names)),
        args=arguments(asked, tuned, output),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        data_collator=DataCollatorWithPadding(tokenizer) if tuned else default_data_collator,
        compute_metrics=lambda p: {
            "accuracy": float((np.argmax(p.predictions, axis=-1) == p.label_ids).mean())
        },
        callbacks=callbacks,
    )


def model_of(asked, labels):
    if "max_steps" in asked:
        config = AutoConfig.from_pretrained(asked["model"], num_labels=labels)
        return AutoModelForSequenceClassification.from_config(config)
    return AutoModelForSequenceClassification.from_pretrained(asked["model"], num_labels=labels)


def arguments(asked, tuned, output):
    faster = {
        "bf16": asked["bf16"],
        "train_sampling_strategy": "group_by_length",
        "optim": "adamw_torch_fused",
        "per_device_eval_batch_size": 128,
        "dataloader_num_workers": asked["workers"],
        "dataloader_pin_memory": not asked["cpu"],
    }
    if not asked["cpu"]:
        faster["tf32"] = True
    each_epoch = {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "save_total_limit": 2,
    }
    only_steps = {"save_strategy": "no", "max_steps": asked.get("max_steps", -1)}
    return TrainingArguments(
        output_dir=str(output),
        seed=asked["seed"],
        use_cpu=asked["cpu"],
        learning_rate=asked["learning_rate"],
        weight_decay=asked.get("weight_decay", 0.0),
        num_train_epochs=asked["epochs"],
        per_device_train_batch_size=asked["batch_size"],
        report_to=[],
        disable_tqdm=True,
        **(only_steps if "max_steps" in asked else each_epoch),
        **(faster if tuned else {}),
    )


if __name__ == "__main__":
    main()
