"""Mistakes of a space, each in one line, before anything is composed."""

import pytest

from support.spaces import FROZEN, LR, reading, told

WRONG = [
    (
        {"texts": ["optimizer.lr=interval(2e-4,1e-5)"]},
        "error[CONF-RANGE] optimizer.lr: low=0.0002 is above high=1e-05; swap them",
    ),
    (
        {"space": {"optimizer.weight_decay": {"low": 0, "high": 0.1, "log": True}}},
        "error[CONF-RANGE] optimizer.weight_decay: a log range starts above 0, not at low=0; "
        "raise low, or leave log out",
    ),
    (
        {"texts": ["optimizer.lr=choice()"]},
        "error[CONF-SYNTAX] optimizer.lr=choice(): empty choice is not legal",
    ),
    ({"space": {LR: {"choices": []}}}, "error[CONF-SPACE] optimizer.lr: has no choices"),
    (
        {"texts": ["data.batch_size=range(8,8)"]},
        "error[CONF-RANGE] data.batch_size=range(8,8): is an empty range",
    ),
    (
        {"texts": ["data.batch_size=range(8,16,0)"]},
        "error[CONF-RANGE] data.batch_size=range(8,16,0): a step of 0 has no end",
    ),
    (
        {"texts": ["data.batch_size=16,32,16"]},
        "error[CONF-SPACE] data.batch_size: 16 is listed twice",
    ),
    (
        {"space": {"data.batch_size": {"low": 8, "high": 16, "int": True, "step": 0}}},
        "error[CONF-RANGE] data.batch_size: step=0 must be > 0",
    ),
    (
        {"space": {"data.batch_size": {"low": 8, "high": 16, "int": True, "step": 9}}},
        "error[CONF-RANGE] data.batch_size: step=9 is wider than the range (8)",
    ),
    (
        {"space": {"data.batch_size": {"low": 8, "high": 16, "int": True, "step": 0.5}}},
        "error[CONF-TYPE] data.batch_size: step=0.5 is not a whole number",
    ),
    (
        {"texts": ["data.batch_size=tag(log,range(8,64,8))"]},
        "error[CONF-SPACE] data.batch_size: log and step do not go together; give one",
    ),
    (
        {"texts": ["optimizer.lr=tag(lgo,interval(1e-5,1e-4))"]},
        "error[CONF-SWEEP] optimizer.lr=tag(lgo,interval(1e-5,1e-4)): no such tag as 'lgo'; "
        "did you mean 'log'?",
    ),
    (
        {"texts": ["optimizer.lr=tag(log,choice(1e-5,1e-4))"]},
        "error[CONF-SWEEP] optimizer.lr=tag(log,choice(1e-5,1e-4)): choices have no log scale; "
        "tag(log, interval(low, high))",
    ),
    (
        {"texts": ["optimizer.lr=shuffle(1e-5,1e-4)"]},
        "error[CONF-SWEEP] optimizer.lr=shuffle(1e-5,1e-4): shuffle() has no seed: no two studies "
        "agree; search/sampler=random draws in random order",
    ),
    (
        {"texts": ["optimizer.lr=glob(*)"]},
        "error[CONF-SWEEP] optimizer.lr=glob(*): glob() chooses among files of a config group",
    ),
    (
        {"texts": ["adapt=glob(x*)"]},
        "error[CONF-GROUP] adapt=glob(x*): matches no choice; there are frozen, full",
    ),
    (
        {"texts": ["adapt=full,frozn"]},
        "error[CONF-GROUP] adapt=frozn: no such choice; there are frozen, full; "
        "did you mean 'frozen'?",
    ),
    (
        {"texts": ["~optimizer.lr=1,2"]},
        "error[CONF-SWEEP] ~optimizer.lr=1,2: a key is removed in all trials or in none",
    ),
    (
        {"texts": ["optimizer.lr=1,2", "optimizer.lr=3,4"]},
        "error[CONF-BOTH] optimizer.lr: has two ranges on the command line; give one",
    ),
    (
        {"texts": ["optimizer.lr=1,2", "optimizer.lr=3"]},
        "error[CONF-BOTH] optimizer.lr=3: is fixed here, and searched too; leave it out of one",
    ),
    (
        {"texts": ["optimizer.lr=3e-5"], "space": {LR: {"low": 1e-5, "high": 1e-4}}},
        "error[CONF-BOTH] optimizer.lr=3e-5: is fixed here, and searched too; "
        "to hold it: 'optimizer.lr=choice(3e-5)'",
    ),
    (
        {"choices": ["adapt=frozen"], "space": FROZEN},
        "error[CONF-BOTH] adapt=frozen: is fixed here, and searched too; "
        "to hold it: 'adapt=choice(frozen)'",
    ),
    (
        {"texts": ["optimizer.lr=0,1e-5"]},
        "error[CONF-RANGE] optimizer.lr=0: must be a number > 0",
    ),
    (
        {"texts": ["scheduler.warmup=interval(0.5,1.5)"]},
        "error[CONF-RANGE] scheduler.warmup=1.5: must be a number >= 0 and < 1",
    ),
    (
        {"texts": ["trainer.precision=32,bf16"]},
        "error[CONF-CHOICE] trainer.precision=bf16: must be one of auto, 32, bf16-mixed, 16-mixed; "
        "did you mean 'bf16-mixed'?",
    ),
    (
        {"texts": ["optimizer.lr=interval(a,2)"]},
        "error[CONF-SYNTAX] optimizer.lr=interval(a,2): mismatch type argument start: str is "
        "incompatible with Union[int, float]",
    ),
    (
        {"texts": ["seed=interval(1,3)"]},
        "error[CONF-SWEEP] seed=interval(1,3): seeds repeat a trial: list; "
        "seed=1,2,3 or seed=range(1,4)",
    ),
    (
        {"space": {"seed": [1, 2]}},
        "error[CONF-SWEEP] seed: is never searched: the best would be luck; "
        "seed=1,2,3 on the command line repeats every trial",
    ),
    ({"texts": ["seed=1,1"]}, "error[CONF-SWEEP] seed=1,1: a seed is listed twice"),
    (
        {"texts": ["seed=1,-1"]},
        "error[CONF-RANGE] seed=-1: must be an integer from 0 to 4294967295",
    ),
    (
        {"space": {LR: {"low": 1e-5, "hihg": 1e-4, "high": 1e-4}}},
        "error[CONF-SPACE] space: optimizer.lr: no such field as 'hihg'; did you mean 'high'?",
    ),
    (
        {"space": {"optimizer": {"lr": {"low": 1e-5, "high": 1e-4}}}},
        "error[CONF-SPACE] space: optimizer: names no range; keys are dotted: optimizer.lr: ...",
    ),
    (
        {"space": {LR: 1e-5}},
        "error[CONF-SPACE] space: optimizer.lr: is not a range and no list; "
        "write optimizer.lr: {choices: [...]}, or {low: ..., high: ...}",
    ),
    (
        {"space": {LR: {"low": 1e-5}}},
        "error[CONF-SPACE] space: optimizer.lr: has no high; or give choices",
    ),
    (
        {"space": {LR: {"choices": [1e-5], "low": 1e-5, "log": True}}},
        "error[CONF-SPACE] space: optimizer.lr: has choices and low, log; give one or the other",
    ),
    (
        {"space": {LR: {"low": 1e-5, "high": 1e-4, "log": "yes"}}},
        "error[CONF-SPACE] space: optimizer.lr: log must be true or false",
    ),
    (
        {"space": {LR: {"choices": 1e-5}}},
        "error[CONF-SPACE] space: optimizer.lr: choices must be a list",
    ),
    (
        {"space": {LR: {"choices": [{"a": 1}]}}},
        "error[CONF-TYPE] optimizer.lr: dict is no choice; "
        "texts, numbers, true, false, null, lists",
    ),
    (
        {"space": {LR: {"low": 1e-5, "high": 1e-4, "when": "adapt"}}},
        "error[CONF-SPACE] space: optimizer.lr: when must be a mapping: {key: value}",
    ),
    (
        {"space": {LR: {"low": True, "high": 1e-4}}},
        "error[CONF-TYPE] optimizer.lr: low=true is not a finite number",
    ),
    (
        {"space": {LR: {"low": 1e-5, "high": "large"}}},
        "error[CONF-TYPE] optimizer.lr: high=large is not a finite number",
    ),
    (
        {"space": {LR: {"low": 1e-5, "high": 1e-4, "when": {"adapt.layer": 2}}}},
        "error[CONF-KEY] optimizer.lr when adapt.layer=2: adapt.layer is not searched and no key; "
        "did you mean 'adapt.layers'?",
    ),
    (
        {"space": {**FROZEN, "adapt.layers": {"choices": [1], "when": {"adapt": "frozn"}}}},
        "error[CONF-SPACE] adapt.layers when adapt=frozn: frozn is none of its values; "
        "did you mean 'frozen'?",
    ),
    (
        {
            "space": {
                LR: {"choices": [1], "when": {"optimizer.eps": 1}},
                "optimizer.eps": {"choices": [1], "when": {"optimizer.lr": 1}},
            }
        },
        "error[CONF-SPACE] optimizer.lr: its condition depends on itself: "
        "optimizer.lr -> optimizer.eps -> optimizer.lr",
    ),
    (
        {"texts": ["adapt.layers=1,2"], "space": {"adapt.layers": FROZEN["adapt.layers"]}},
        "error[CONF-SPACE] adapt.layers: is only searched when adapt=frozen, which does not hold",
    ),
    (
        {"adaptive": True},
        "error[CONF-SPACE] space: nothing is searched; give ranges, or space=finetune",
    ),
    (
        {"texts": ["trainer.max_epochs=int(interval(2,9))"], "adaptive": True},
        "error[CONF-SWEEP] trainer.max_epochs: a longer trial nearly always wins: set it, or list "
        "the lengths; trainer.max_epochs=2,3",
    ),
    (
        {"texts": ["seed=1,2,3"], "choices": ["search.replicates=5"]},
        "error[CONF-SWEEP] search.replicates=5: and seed=1,2,3 both say over which seeds a trial "
        "is repeated; give one of them",
    ),
    (
        {"texts": ["data.split.seed=1,2"], "adaptive": True},
        "error[CONF-SWEEP] data.split.seed: cannot be searched: scores on other rows do not "
        "compare; list its values on a grid",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "line"), WRONG, ids=[line[6:60] for _, line in WRONG])
def test_a_mistake_is_one_line(given, line):
    given = dict(given)
    found = told(*given.pop("texts", []), **{**given, "choices": tuple(given.get("choices", []))})
    assert found == [line]


@pytest.mark.parametrize(
    "key",
    ["paths.runs", "resume", "ckpt_path", "study", "search.trials", "executor", "trust", "test",
     "name", "logger", "logger.tensorboard.name", "hydra/launcher", "hydra.verbose", "space",
     "trainer.pause_at_step", "callbacks.checkpoint.monitor"],
)  # fmt: skip
def test_some_keys_are_never_searched(key):
    (line,) = told(f"{key}=1,2")
    assert line.startswith(f"error[CONF-SWEEP] {key}: cannot be searched: ")


def test_a_grid_may_list_what_an_adaptive_search_refuses():
    listed = ["data=sst2,bbc_news", "data.split.fold=0,1", "trainer.max_epochs=range(2,5)"]
    assert told(*listed) == []
    assert [line.split()[1] for line in told(*listed, adaptive=True)] == [
        "data:", "data.split.fold:", "trainer.max_epochs:",
    ]  # fmt: skip
    assert told("trainer.max_epochs=2,3", "data.batch_size=16,32", adaptive=True) == []


def test_a_whole_number_is_asked_for_with_the_way_out():
    way_out = "int(interval(low, high)); yaml: int"
    rule = "must be an integer from 1 to 10000000"
    assert told("data.batch_size=interval(8,64)") == [
        f"error[CONF-TYPE] data.batch_size=8.0: {rule}; {way_out}",
        f"error[CONF-TYPE] data.batch_size=64.0: {rule}; {way_out}",
    ]


def test_every_mistake_is_told_at_once():
    space, mistakes = reading(
        "optimizer.eps=interval(2,1)", "seed=1,1", "name=a,b", "adapt=full,x",
        "loss.label_smoothing=0,2", "scheduler.warmup=0,0.1",
        space={LR: {"low": 0, "high": -1, "log": True}, "data.batch_size": {"lo": 1, "high": 2}},
    )  # fmt: skip
    assert [(error.code, error.where) for error in mistakes] == [
        ("CONF-SPACE", "space: data.batch_size"),
        ("CONF-SPACE", "space: data.batch_size"),
        ("CONF-SWEEP", "seed=1,1"),
        ("CONF-RANGE", LR),
        ("CONF-RANGE", LR),
        ("CONF-RANGE", "optimizer.eps"),
        ("CONF-SWEEP", "name"),
        ("CONF-GROUP", "adapt=x"),
        ("CONF-RANGE", "loss.label_smoothing=2"),
    ]
    assert [d.key for d in space.dimensions] == ["scheduler.warmup"]
    assert all(error.exit_code == 2 for error in mistakes)
