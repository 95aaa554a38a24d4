"""What each key of a config may be: one rule a leaf, in the order of the yaml files."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.errors import ConfigError, TunesmithError, did_you_mean


@dataclass(frozen=True)
class Rule:
    """What a value must be: its type (`is_of_kind`) and, of that type, its range (`holds`)."""

    says: str  # ends the sentence "must be ..."
    is_of_kind: Callable[[Any], bool]
    holds: Callable[[Any], bool] = lambda value: True
    may_be_null: bool = False
    choices: tuple[Any, ...] = ()

    def check(self, path: str, value: Any, shown: str) -> TunesmithError | None:
        """Return the mistake, or None."""
        if value is None and self.may_be_null:
            return None
        if self.choices and not self.is_of_kind(value):
            near = nearest(str(value), list(map(str, self.choices)))
            return ConfigError("CONF-CHOICE", f"{path}={shown}", f"must be {self.says}", near)
        if not self.is_of_kind(value):
            return ConfigError(
                "CONF-TYPE", f"{path}={shown}", f"must be {self.says}", self.hint(value)
            )
        if not self.holds(value):
            return ConfigError("CONF-RANGE", f"{path}={shown}", f"must be {self.says}")
        return None

    def hint(self, value: Any) -> str:
        """Say what to do where yaml took a word for something else."""
        takes_text = self.is_of_kind("text") or self.is_of_kind(["text"])
        given = value if isinstance(value, list) else [value]
        odd = [type(v).__name__ for v in given if isinstance(v, bool | int | float)]
        return f"quote a text that yaml reads as {odd[0]}" if takes_text and odd else ""


def nearest(word: str, known: Sequence[str]) -> str:
    """Return "did you mean 'x'?" for what begins so, else for what is spelt nearly so, else ""."""
    begun = [name for name in known if word and name.startswith(word)]
    return f"did you mean {begun[0]!r}?" if begun else did_you_mean(word, known)


def integer(low: int, high: int | None = None) -> Rule:
    says = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    return Rule(says, _is_integer, lambda x: x >= low and (high is None or x <= high))


def number(says: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(f"a number {says}", _is_number, lambda x: math.isfinite(x) and holds(x))


def one_of(*choices: Any) -> Rule:
    """Choose by value and type: 1 is not True."""
    same = {(type(choice), choice) for choice in choices}
    shown = ", ".join(str(choice) for choice in dict.fromkeys(map(str, choices)))
    return Rule(f"one of {shown}", lambda x: _hashable(x) and (type(x), x) in same, choices=choices)


def optional(rule: Rule) -> Rule:
    return replace(rule, may_be_null=True)


def pattern(says: str, expression: str) -> Rule:
    compiled = re.compile(expression)
    return Rule(says, _is_text, lambda x: compiled.fullmatch(x) is not None)


def list_of(rule: Rule, says: str, length: int | None = None) -> Rule:
    return Rule(
        says,
        lambda x: isinstance(x, list) and all(rule.is_of_kind(v) for v in x),
        lambda x: length in (None, len(x)) and all(rule.holds(v) for v in x),
    )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _hashable(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _is_points(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(point, Mapping) for point in value)


AMOUNT = Rule("an amount like 30min or 20GB", lambda x: _is_text(x) or _is_number(x))
FLAG = Rule("true or false", lambda x: isinstance(x, bool))
TEXT = Rule("text", _is_text, lambda x: x != "" and (x == "\t" or x.isprintable()))
PATH = Rule("a path", _is_text, lambda x: x != "" and x.isprintable())
# What a checkpoint holds is trusted with the weights: it is not fetched from elsewhere.
LOCAL = Rule("a local path, not a URL", _is_text, lambda x: PATH.holds(x) and "://" not in x)
NAME = Rule(
    "a folder's name, relative and without ..",
    _is_text,
    lambda x: PATH.holds(x) and not x.startswith(("/", "~")) and ".." not in re.split(r"[/\\]", x),
)
FRACTION = number(">= 0 and < 1", lambda x: 0 <= x < 1)
POSITIVE = number("> 0", lambda x: x > 0)
NOT_NEGATIVE = number(">= 0", lambda x: x >= 0)
UNIT = number(">= 0 and <= 1", lambda x: 0 <= x <= 1)
BETAS = list_of(FRACTION, "a list of two numbers >= 0 and < 1", length=2)
WORD = Rule("text or an integer", lambda x: _is_text(x) or _is_integer(x))
NAMES = list_of(TEXT, "a list of columns", length=None)
COLUMNS = Rule(
    "a column, or a list of columns",
    lambda x: _is_text(x) or (isinstance(x, list) and all(map(_is_text, x))),
    lambda x: bool(x) and all(TEXT.holds(name) for name in ([x] if _is_text(x) else x)),
)
LABELS = list_of(WORD, "a list of texts or integers", length=None)
WORDS = Rule(
    "a mapping of labels to words",
    lambda x: isinstance(x, Mapping),
    lambda x: all(_is_text(word) and TEXT.holds(word) for word in x.values()),
)
MAPPING = Rule("a mapping", lambda x: isinstance(x, Mapping))
INTERVAL = Rule(
    "a number > 0 and <= 1 (of an epoch), or an integer >= 1 (steps)",
    _is_number,
    lambda x: x >= 1 if _is_integer(x) else 0 < x <= 1,
)
STOP = Rule(
    "an integer >= 1 (a step), or a number > 0 and < 1 (of all steps)",
    _is_number,
    lambda x: x >= 1 if _is_integer(x) else 0 < x < 1,
)
SHARE = number("> 0 and <= 1", lambda x: 0 < x <= 1)
LAYERS = Rule(
    "all, or an integer >= 0",
    lambda x: x == "all" or _is_integer(x),
    lambda x: x == "all" or x >= 0,
)
DEVICES = Rule(
    "an integer >= 1, or auto",
    lambda x: x == "auto" or _is_integer(x),
    lambda x: x == "auto" or x >= 1,
)
PACKAGES = list_of(
    pattern("a package", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"), "a list of Python packages"
)
WEIGHTS = one_of("none", "inverse", "inverse_sqrt")
HOW_LOUD = ("warn", "error", "ignore")

RULES: dict[str, Rule] = {
    "name": NAME,
    "study": optional(NAME),
    "seed": integer(0, 2**32 - 1),
    "test": FLAG,
    "resume": optional(LOCAL),
    "ckpt_path": optional(LOCAL),
    "trust": PACKAGES,
    "space": MAPPING,
    "paths.runs": PATH,
    "paths.cache": PATH,
    "data.train_file": optional(PATH),
    "data.validation_file": optional(PATH),
    "data.test_file": optional(PATH),
    "data.path": optional(PATH),
    "data.config": optional(TEXT),
    "data.revision": optional(TEXT),
    "data.splits.train": TEXT,
    "data.splits.validation": optional(TEXT),
    "data.splits.test": optional(TEXT),
    "data.text": TEXT,
    "data.text_pair": optional(TEXT),
    "data.label": TEXT,
    "data.words": TEXT,
    "data.tags": TEXT,
    "data.question": optional(TEXT),
    "data.context": TEXT,
    "data.answers": TEXT,
    "data.target": TEXT,
    "data.image": optional(TEXT),
    "data.audio": optional(TEXT),
    "data.numeric": optional(NAMES),
    "data.categorical": optional(NAMES),
    "data.media": optional(PATH),
    "data.choices": COLUMNS,
    "data.negatives": optional(COLUMNS),
    "data.id": optional(TEXT),
    "data.language": optional(TEXT),
    "data.languages": optional(LABELS),
    "data.train_languages": optional(LABELS),
    "data.validation_languages": optional(LABELS),
    "data.language_temperature": number(">= 1", lambda x: x >= 1),
    "data.labels": optional(LABELS),
    "data.label_separator": optional(TEXT),
    "data.sep": optional(TEXT),
    "data.quoting": one_of("csv", "none"),
    "data.encoding": TEXT,
    "data.encoding_errors": one_of("strict", "replace"),
    "data.shots": optional(integer(1)),
    "data.validation_shots": optional(integer(1)),
    "data.draw": optional(integer(0, 2**32 - 1)),
    "data.limit": optional(integer(1)),
    "data.on_missing_label": one_of("error", "drop"),
    "data.on_empty_text": one_of("keep", "drop", "error"),
    "data.on_long": one_of("truncate", "error"),
    "data.leakage": one_of(*HOW_LOUD),
    "data.split.validation": FRACTION,
    "data.split.test": FRACTION,
    "data.split.method": one_of("hash", "stratified"),
    "data.split.seed": integer(0),
    "data.split.folds": optional(integer(2)),
    "data.split.fold": integer(0),
    "data.max_length": optional(integer(3)),  # two special tokens and one of the text
    "data.truncation": one_of("right", "left", "middle", "windows"),
    "data.batch_size": integer(1),
    "data.eval_batch_size": integer(1),
    "data.bucket_window": integer(0),
    "data.workers": integer(0),
    "task.threshold": number("> 0 and < 1", lambda x: 0 < x < 1),
    "task.standardise": FLAG,
    "task.stride": optional(integer(0)),
    "task.max_question_length": optional(integer(1)),
    "task.max_answer_length": integer(1),
    "task.n_best": integer(1),
    "task.entities": FLAG,
    "task.mask_rate": number("> 0 and < 1", lambda x: 0 < x < 1),
    "task.whole_word": FLAG,
    "task.top_k": integer(1),
    "task.pairs": integer(1),
    "task.penalty": POSITIVE,
    "task.template": TEXT,
    "task.words": optional(WORDS),
    "task.objective": one_of("nsp", "sop"),
    "task.tie": FLAG,
    "task.max_target_length": optional(integer(2)),
    "task.min_target_length": integer(0),
    "task.length_penalty": number("", lambda x: True),
    "task.no_repeat_ngram_size": integer(0),
    "task.rouge_words": one_of("english", "any"),
    "task.max_new_tokens": optional(integer(1)),
    "task.num_beams": integer(1),
    "task.sample": FLAG,
    "task.temperature": POSITIVE,
    "task.top_p": SHARE,
    "task.fusion": one_of("concat", "gate", "cross_attention"),
    "task.dropout": FRACTION,
    "task.image.path": optional(PATH),
    "task.image.revision": optional(TEXT),
    "task.image.pretrained": FLAG,
    "task.image.config": MAPPING,
    "task.audio.path": optional(PATH),
    "task.audio.revision": optional(TEXT),
    "task.audio.pretrained": FLAG,
    "task.audio.config": MAPPING,
    "task.audio.seconds": POSITIVE,
    "task.encoder": one_of("bi", "cross"),
    "task.pooling": one_of("mean", "first"),
    "task.negatives_from": one_of("batch", "part"),
    "loss.label_smoothing": FRACTION,
    "loss.class_weights": WEIGHTS,
    "loss.temperature": POSITIVE,
    "model.path": PATH,
    "model.revision": optional(TEXT),
    "model.sha256": optional(pattern("64 hexadecimal digits", r"[0-9a-f]{64}")),
    "model.pretrained": FLAG,
    "model.new_head": FLAG,
    "model.hidden_dropout": optional(FRACTION),
    "model.attention_dropout": optional(FRACTION),
    "model.classifier_dropout": optional(FRACTION),
    "model.sizes": MAPPING,
    "model.config": MAPPING,
    "model.attention": one_of("sdpa", "eager"),
    "adapt.layers": LAYERS,
    "adapt.head_lr_multiplier": POSITIVE,
    "optimizer.lr": POSITIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.betas": BETAS,
    "optimizer.eps": POSITIVE,
    "optimizer.fused": optional(FLAG),
    "optimizer.momentum": FRACTION,
    "optimizer.nesterov": FLAG,
    "optimizer.decoupled_weight_decay": FLAG,
    "scheduler.interval": one_of("step", "epoch"),
    "scheduler.frequency": integer(1),
    "scheduler.monitor": optional(TEXT),
    "scheduler.warmup": FRACTION,
    "scheduler.decay": UNIT,
    "scheduler.initial": UNIT,
    "scheduler.final": UNIT,
    "scheduler.power": POSITIVE,
    "scheduler.mode": one_of("max", "min"),
    "scheduler.factor": number("> 0 and < 1", lambda x: 0 < x < 1),
    "scheduler.patience": integer(0),
    "trainer.accelerator": one_of("auto", "cpu", "gpu"),
    "trainer.devices": DEVICES,
    "trainer.num_nodes": integer(1),
    "trainer.strategy": one_of("auto", "ddp", "fsdp", "deepspeed"),
    "trainer.precision": one_of("auto", 32, "32", "bf16-mixed", "16-mixed"),
    "trainer.threads": optional(integer(1)),
    "trainer.max_epochs": optional(integer(1)),
    "trainer.max_steps": optional(integer(1)),
    "trainer.stop_at_step": optional(STOP),
    "trainer.val_check_interval": INTERVAL,
    "trainer.validate_at": list_of(SHARE, "a list of numbers > 0 and <= 1, of all steps"),
    "trainer.accumulate": integer(1),
    "trainer.gradient_clip_val": NOT_NEGATIVE,
    "trainer.gradient_checkpointing": FLAG,
    "trainer.deterministic": FLAG,
    "trainer.log_every_n_steps": integer(1),
    "trainer.limit_train_batches": optional(integer(1)),
    "trainer.limit_val_batches": optional(integer(1)),
    "trainer.profiler": optional(one_of("simple", "advanced")),
    "callbacks.checkpoint.every_n_steps": optional(integer(1)),
    "callbacks.checkpoint.every_n_minutes": optional(POSITIVE),
    "callbacks.checkpoint.monitor": optional(TEXT),
    "callbacks.checkpoint.mode": optional(one_of("max", "min")),
    "callbacks.checkpoint.confirm_mode": FLAG,
    "callbacks.early_stopping.patience": optional(integer(1)),
    "callbacks.early_stopping.min_delta": NOT_NEGATIVE,
    "callbacks.progress": FLAG,
    "callbacks.figures": FLAG,
}

RULES |= {
    "search.sampler": one_of("grid", "random", "qmc", "tpe", "gp", "cmaes"),
    "search.policy": one_of("full", "asha", "hyperband", "median"),
    "search.trials": optional(integer(1)),
    "search.replicates": integer(1),
    "search.seed": integer(0),
    "search.points": Rule("a list of mappings", _is_points),
    "search.rungs": Rule("a list of fractions like 1/9", lambda x: isinstance(x, list) and bool(x)),
    "search.reduction_factor": integer(2),
    "search.startup": integer(1),
    "search.budget": optional(AMOUNT),
    "search.timeout": optional(AMOUNT),
    "search.max_disk": optional(AMOUNT),
    "search.max_failures": optional(integer(0)),
    "search.retries": integer(0),
    "search.confirm.top": integer(0),
    "search.confirm.seeds": integer(1),
    "executor.workers": Rule(
        "an integer >= 1, or auto",
        lambda x: x == "auto" or _is_integer(x),
        lambda x: x == "auto" or x >= 1,
    ),
    "executor.max_growth_gb": POSITIVE,
    "executor.address": optional(TEXT),
    "executor.threads": integer(1),
    "executor.host": TEXT,
    "executor.partition": optional(TEXT),
    "executor.account": optional(TEXT),
    "executor.time": AMOUNT,
    "executor.cpus": integer(1),
    "executor.gpus": integer(0),
    "executor.memory": optional(AMOUNT),
    "executor.poll": POSITIVE,
    "executor.options": MAPPING,
}

# Groups that hold a target: beside these keys they take what the target takes.
TARGET_GROUPS = ("task", "loss", "adapt", "optimizer", "scheduler", "executor")
NEEDED_BESIDE_TARGET = (
    "optimizer.lr",
    "scheduler.interval",
    "scheduler.frequency",
    "scheduler.monitor",
)
BESIDE_TARGET = ("scheduler.interval", "scheduler.frequency", "scheduler.monitor")
LOGGERS = "logger"  # holds any number of nodes with a target


def branches() -> set[str]:
    """Return the dotted paths that hold others: data, data.split, ..."""
    return {
        ".".join(path.split(".")[:depth])
        for path in RULES
        for depth in range(1, path.count(".") + 1)
    }


def needed() -> list[str]:
    """Return the keys that every config has: all of the groups without a target, some of others."""
    free = [path for path in RULES if path.partition(".")[0] not in TARGET_GROUPS]
    return [*free, *NEEDED_BESIDE_TARGET]
