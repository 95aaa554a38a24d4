"""A config as a whole: its mistakes, its identity, what of it is written down, and read again."""

import copy
import functools

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from support.bad_inputs import of_row, row
from tunesmith import config
from tunesmith.config import monitor_of, yaml_safety
from tunesmith.errors import ConfigError, ModelError, SafetyError, TunesmithError
from tunesmith.tasks.classification import Classification

GROUPS = tuple(f"{folder.name}=" for folder in config.CONF.iterdir() if folder.is_dir())


@functools.cache
def chosen(*choices):
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", overrides=list(choices))


def composed(*overrides):
    """Compose as the program does; groups once each, for speed."""
    choices = [o for o in overrides if o.lstrip("~+").startswith(GROUPS)]
    cfg = copy.deepcopy(chosen(*choices))
    values = [o for o in overrides if o not in choices]
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides(values), cfg
    )
    return cfg


def mistakes(*overrides):
    return [str(error) for error in config.check(composed(*overrides))]


VALUES = [
    of_row(48, "trainer.max_epochs=-1", "CONF-RANGE", "must be an integer >= 1"),
    ("trainer.max_epochs=0", "CONF-RANGE", "must be an integer >= 1"),
    of_row(47, "trainer.max_epochs=1.5", "CONF-TYPE", "must be an integer >= 1"),
    ("trainer.max_epochs=true", "CONF-TYPE", "must be an integer >= 1"),
    ("trainer.max_epochs=[1]", "CONF-TYPE", "must be an integer >= 1"),
    of_row(46, "optimizer.lr=abc", "CONF-TYPE", "must be a number > 0"),
    ("optimizer.lr=0", "CONF-RANGE", "must be a number > 0"),
    of_row(48, "optimizer.lr=nan", "CONF-RANGE", "must be a number > 0"),
    ("optimizer.lr=inf", "CONF-RANGE", "must be a number > 0"),
    ("optimizer.lr=null", "CONF-TYPE", "must be a number > 0"),
    ("optimizer.betas=[0.9]", "CONF-RANGE", "must be a list of two numbers >= 0 and < 1"),
    of_row(44, "scheduler.warmup=1", "CONF-RANGE", "must be a number >= 0 and < 1"),
    ("data.split.validation=1.0", "CONF-RANGE", "must be a number >= 0 and < 1"),
    ("data.batch_size=0", "CONF-RANGE", "must be an integer from 1 to 10000000"),
    ("data.splits=null", "CONF-TYPE", "must be a mapping of keys"),
    (
        "trainer.val_check_interval=0",
        "CONF-RANGE",
        "must be a number > 0 and <= 1 (of an epoch), or",
    ),
    (
        "trainer.val_check_interval=1.5",
        "CONF-RANGE",
        "must be a number > 0 and <= 1 (of an epoch), or",
    ),
    ("seed=-1", "CONF-RANGE", "must be an integer from 0 to 4294967295"),
    (
        "name=../elsewhere",
        "CONF-RANGE",
        "must be a folder's name: relative, at most 200 bytes, no dot first",
    ),
    (
        "name=/tmp/x",
        "CONF-RANGE",
        "must be a folder's name: relative, at most 200 bytes, no dot first",
    ),
    ("ckpt_path=http://127.0.0.1/x.ckpt", "CONF-RANGE", "must be a local path, not a URL"),
    ("adapt.head_lr_multiplier=0", "CONF-RANGE", "must be a number > 0"),
    ("+optimizer.maximize=.nan", "CONF-RANGE", "must be a finite number"),
]


@pytest.mark.parametrize(("override", "code", "rule"), VALUES)
def test_a_wrong_value_is_told_with_its_rule(override, code, rule):
    override = override.replace(".nan", "nan")
    assert f"error[{code}] {override.lstrip('+')}: {rule}" in "\n".join(mistakes(override))


@pytest.mark.parametrize(
    "override",
    [
        "trainer.precision=32",
        "trainer.precision='32'",
        "trainer.val_check_interval=1",
        "trainer.val_check_interval=0.25",
        "trainer.devices=auto",
        "trainer.max_steps=5",
        "optimizer.fused=null",
        "data.label_separator='|'",
        "data.sep='\\t'",
        "data.labels=[0,1]",
        "+optimizer.amsgrad=true",
        "optimizer.lr=1",
        "trust=[my_package]",
    ],
)
def test_a_right_value_is_no_mistake(override):
    assert mistakes(override) == []


def test_a_choice_is_guessed():
    assert mistakes("trainer.precision=bf16") == [
        "error[CONF-CHOICE] trainer.precision=bf16: must be one of auto, 32, bf16-mixed, 16-mixed; "
        "did you mean 'bf16-mixed'?"
    ]


@row(50)
def test_words_that_yaml_takes_for_truth_values_are_asked_to_be_quoted():
    cfg = OmegaConf.merge(composed(), OmegaConf.create("data:\n  labels: [no, yes]\n  label: on"))
    assert [str(error) for error in config.check(cfg)] == [
        "error[CONF-TYPE] data.label=true: must be text; quote a text that yaml reads as bool",
        "error[CONF-TYPE] data.labels=[False, True]: must be a list of texts or integers; "
        "quote a text that yaml reads as bool",
    ]


def test_all_mistakes_are_reported_at_once():
    found = mistakes("optimizer.lr=abc", "trainer.max_epochs=-1", "+data.txt=a", "model=base")
    assert len(found) == 4


KEYS = [
    ("+data.txt=a", "error[CONF-KEY] data.txt: no such key; did you mean 'data.text'?"),
    ("+lr=1e-5", "error[CONF-KEY] lr: no such key; did you mean 'optimizer.lr'?"),
    ("+foo.bar.baz=1", "error[CONF-KEY] foo.bar.baz: no such key"),
    ("+data.split.valdation=0.1", "did you mean 'data.split.validation'?"),
    (
        "+optimizer.momentum=0.9",
        "error[CONF-KEY] optimizer.momentum: torch.optim.AdamW takes no 'momentum'; "
        "remove it: ~optimizer.momentum",
    ),
    ("+optimizer.amsgrd=true", "takes no 'amsgrd'; did you mean 'amsgrad'?"),
    ("+optimizer.params=[]", "torch.optim.AdamW takes no 'params'"),
    ("+task.model=x", "takes no 'model'"),
    ("+optimizer._args_=[]", "only _target_ and _partial_ are supported"),
    ("optimizer._partial_=false", "error[CONF-TARGET] optimizer._partial_: must be true"),
    ("+loss._partial_=true", "error[CONF-TARGET] loss._partial_: must not be set"),
    ("optimizer._target_=torch.optim.AdmW", "torch.optim has no 'AdmW'; did you mean 'Adam"),
    ("optimizer._target_=os.system", "error[UNSAFE-TARGET] optimizer._target_=os.system: "),
    ("+model.config._target_=os.system", "error[UNSAFE-TARGET] model.config._target_=os.system"),
    ("optimizer._target_=torch.optim.SGD", "torch.optim.SGD takes no 'betas'"),
    (
        "scheduler._target_=torch.optim.lr_scheduler.StepLR",
        "scheduler.step_size: torch.optim.lr_scheduler.StepLR needs it; +scheduler.step_size=...",
    ),
    ("~trainer.max_epochs", "error[CONF-MISSING] trainer.max_epochs: is not in the config"),
    (
        "~optimizer",
        "error[CONF-MISSING] optimizer: is not in the config; choose one: adafactor, adam",
    ),
    ("~optimizer.lr", "error[CONF-MISSING] optimizer.lr: is not in the config"),
    ("~logger", "error[CONF-MISSING] logger: is not in the config; logger=none logs nowhere"),
    ("model=base", "error[CONF-MISSING] model.path: has no value yet; give one: model.path=..."),
]


@pytest.mark.parametrize(("override", "says"), KEYS)
def test_a_wrong_key_is_told(override, says):
    assert says in "\n".join(mistakes(override))


CONTRADICTIONS = [
    (
        ["data.split.validation=0.5", "data.split.test=0.5"],
        "CONF-SPLIT",
        "validation + test = 1 leave",
    ),
    (["data.split.folds=3", "data.split.fold=3"], "CONF-RANGE", "must be < folds (3)"),
    (["data.split.validation=1.5"], "CONF-RANGE", "must be a number >= 0 and < 1"),
    (["data.split.method=random"], "CONF-CHOICE", "must be one of hash, stratified"),
    (["data.leakage=wrn"], "CONF-CHOICE", "did you mean 'warn'?"),
    (["data.shots_per_class=0"], "CONF-RANGE", "must be an integer >= 1"),
    (["data.language_temperature=3"], "CONF-LANGUAGE", "no column says a row's language"),
    (["data.language=lang", "data.train_languages=[]"], "CONF-LANGUAGE", "names no language"),
    (
        ["data.languages=[en,de]", "data.validation_languages=[en,dee]"],
        "CONF-LANGUAGE",
        "data.languages has no 'dee'; did you mean 'de'?",
    ),
    (["trainer.max_epochs=null"], "CONF-END", "max_epochs and max_steps are both null"),
    (["data=files"], "CONF-MISSING", "no rows to learn from"),
    (
        ["scheduler=wsd", "scheduler.warmup=0.6", "scheduler.decay=0.6"],
        "CONF-RANGE",
        "warmup + decay",
    ),
    (
        ["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"],
        "CONF-RANGE",
        "momentum > 0",
    ),
    of_row(
        57, ["callbacks.checkpoint.monitor=val/acc"], "CONF-MONITOR", "did you mean 'val/accuracy'?"
    ),
    (["callbacks.checkpoint.monitor=accuracy"], "CONF-MONITOR", "did you mean 'val/accuracy'?"),
    (["callbacks.checkpoint.mode=min"], "CONF-MODE", "val/accuracy is better when higher; use max"),
    (
        ["callbacks.checkpoint.monitor=val/loss", "callbacks.checkpoint.mode=max"],
        "CONF-MODE",
        "val/loss is better when lower; use min",
    ),
    (["scheduler=plateau", "scheduler.monitor=null"], "CONF-MISSING", "follows a score"),
    (["scheduler=plateau", "scheduler.monitor=val/loss"], "CONF-MODE", "use min"),
    (["scheduler=plateau", "task=regression"], "CONF-MONITOR", "the task has val/pearson"),
    (
        ["loss=mse"],
        "CONF-LOSS",
        "Classification learns by CrossEntropy",
    ),
]


@pytest.mark.parametrize(("overrides", "code", "says"), CONTRADICTIONS)
def test_values_that_contradict_each_other_are_told(overrides, code, says):
    (found,) = mistakes(*overrides)
    assert found.startswith(f"error[{code}] ")
    assert says in found


@row(58)
def test_a_wrong_direction_says_how_to_mean_it():
    assert mistakes("callbacks.checkpoint.mode=min") == [
        "error[CONF-MODE] callbacks.checkpoint.mode=min: val/accuracy is better when higher; "
        "use max, or callbacks.checkpoint.allow_worst_as_best=true if it is meant"
    ]


@row(58)
def test_a_wrong_direction_that_is_confirmed_is_meant():
    wanted = ["callbacks.checkpoint.mode=min", "callbacks.checkpoint.allow_worst_as_best=true"]
    assert mistakes(*wanted) == []
    assert monitor_of(composed(*wanted), Classification) == ("val/accuracy", "min")
    assert mistakes(*wanted, "scheduler=plateau", "scheduler.mode=min") == []


@row(52)
def test_an_unset_environment_variable_is_named(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    assert mistakes("paths.runs=${oc.env:NOWHERE}")[0] == (
        "error[CONF-ENV] paths.runs: environment variable NOWHERE is not set"
    )


def test_a_mistake_does_not_show_what_came_from_the_environment(monkeypatch):
    monkeypatch.setenv("CANARY", "hunter2hunter2")
    (found,) = mistakes("optimizer.lr=${oc.env:CANARY}")
    assert found == "error[CONF-TYPE] optimizer.lr=***: must be a number > 0"


# Identity


@pytest.mark.parametrize(
    "override",
    [
        "paths.runs=elsewhere",
        "resume=auto",
        "callbacks.progress=false",
        "trainer.pause_at_step=3",
        "callbacks.checkpoint.allow_worst_as_best=true",
        "logger=none",
        "trust=[mine]",
    ],
)
def test_what_decides_nothing_is_not_identity(override):
    assert config.config_hash(composed(override)) == config.config_hash(composed())


@pytest.mark.parametrize(
    "override", ["seed=1", "optimizer.lr=3e-5", "data.text=x", "optimizer=sgd"]
)
def test_what_decides_the_result_is_identity(override):
    assert config.config_hash(composed(override)) != config.config_hash(composed())


def test_identity_survives_being_saved():
    cfg = composed("data.labels=[a,b]")
    saved = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(config.redact_config(cfg))))
    assert config.config_hash(saved) == config.config_hash(cfg)
    assert config.config_diff(saved, cfg) == []


def test_differences_name_both_values():
    assert config.config_diff(composed(), composed("seed=1", "resume=x")) == ["seed: 0 -> 1"]
    changed = config.config_diff(composed(), composed("optimizer=sgd"))
    assert "optimizer.momentum: absent -> 0.9" in changed


# Secrets


def test_secrets_are_masked(monkeypatch):
    monkeypatch.setenv("CANARY_TOKEN", "hunter2hunter2")
    node = {
        "a": {"api_key": "k", "db_password": 7, "hub_token": "t", "client_secret": ["x"]},
        "url": "postgresql://me:pw@host/db",
        "env": "${oc.env:CANARY_TOKEN}",
        "part": "x-${oc.env:CANARY_TOKEN}-y",
        "again": "${env}",
        "inside": "run-${env}",
        "copied": "hunter2hunter2!",
        "kept": {"tokens": 5, "pad_token_id": 0, "tokenizer": "t", "password": None, "seed": 0},
    }
    assert config.redact_config(OmegaConf.create(node)) == {
        "a": {"api_key": "***", "db_password": "***", "hub_token": "***", "client_secret": ["***"]},
        "url": "postgresql://me:***@host/db",
        "env": "***",
        "part": "***",
        "again": "***",
        "inside": "run-***",
        "copied": "***!",
        "kept": {"tokens": 5, "pad_token_id": 0, "tokenizer": "t", "password": None, "seed": 0},
    }


def test_what_is_no_secret_is_kept_wherever_it_comes_from(monkeypatch):
    monkeypatch.setenv("DATA_DIR", "/data/reviews")
    monkeypatch.setenv("BS", "64")
    monkeypatch.setenv("STORE_URL", "postgresql://me:hunter2@host/db")
    node = {
        "file": "${oc.env:DATA_DIR}/tr.csv",
        "near": "/data/reviews/te.csv",
        "batch_size": "${oc.decode:${oc.env:BS,16}}",
        "eval_batch_size": 64,
        "store": "${oc.env:STORE_URL}",
    }
    assert config.redact_config(OmegaConf.create(node)) == {
        "file": "/data/reviews/tr.csv",
        "near": "/data/reviews/te.csv",
        "batch_size": 64,
        "eval_batch_size": 64,
        "store": "postgresql://me:***@host/db",
    }


@pytest.mark.parametrize(
    "variable",
    ["HF_TOKEN", "DB_PASSWORD", "PGPASS_PASS", "AWS_SECRET_ACCESS_KEY", "SSH_KEY", "${x}"],
)
def test_a_variable_named_as_a_secret_is_masked_where_it_stands(monkeypatch, variable):
    monkeypatch.setenv(variable, "1234")
    monkeypatch.setenv("WHICH", variable)
    name = "${oc.env:WHICH}" if variable == "${x}" else variable
    node = {
        "a": [f"${{oc.env:{name}}}", "1234"],
        "b": 1234,
        "c": f"${{oc.decode:${{oc.env:{name}}}}}",
    }
    shown = config.redact_config(OmegaConf.create(node))
    assert shown == {"a": ["***", "1234"], "b": 1234, "c": "***"}  # too short to look for elsewhere


def test_a_learning_rate_from_the_environment_is_identity(monkeypatch):
    cfg = OmegaConf.merge(composed(), {"optimizer": {"lr": "${oc.decode:${oc.env:LR}}"}})
    seen = []
    for rate in ("0.0011", "0.0077"):
        monkeypatch.setenv("LR", rate)
        seen.append(config.config_hash(cfg))
    assert seen[0] != seen[1]


def test_another_token_makes_no_other_run(monkeypatch):
    cfg = OmegaConf.merge(composed(), {"data": {"revision": "${oc.env:HUB_TOKEN}"}})
    seen = set()
    for token in ("one-long-token", "another-long-token"):
        monkeypatch.setenv("HUB_TOKEN", token)
        seen.add(config.config_hash(cfg))
    assert len(seen) == 1


def test_a_redacted_config_is_plain():
    plain = config.redact_config(composed())
    assert type(plain) is dict
    assert type(plain["optimizer"]["betas"]) is list
    assert plain["paths"]["cache"] == "runs/.cache"
    assert "${" not in str(plain)


# Stored runs


def stored(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def bomb(depth):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join(lines)


UNSAFE = [
    (bomb(4) + "\nb: [*a3, *a3]", "CONF-SIZE"),
    *[(bomb(depth), "CONF-SIZE") for depth in range(5, 10)],
    ("[" * 21 + "]" * 21, "CONF-SIZE"),
    ("[" * 100_000, "CONF-SIZE"),
    ("a: &a [*a]", "CONF-SIZE"),
    ("a: " + "x" * 300_000, "CONF-SIZE"),
    ("a: [" + "1," * 10_001 + "]", "CONF-SIZE"),
    ("a: !!python/object/apply:os.system ['touch canary']", "UNSAFE-YAML"),
    ("a: !!python/name:os.system", "UNSAFE-YAML"),
    ("a: !mine 1", "UNSAFE-YAML"),
    ("name: ${oc.env:HOME}", "UNSAFE-CONFIG"),
    ('name: "\\x24{oc.env:HOME}"', "UNSAFE-CONFIG"),
    ("${oc.env:HOME}: 1", "UNSAFE-CONFIG"),
    ('paths: {runs: "a\\0b"}', "UNSAFE-CONFIG"),
    ("optimizer: {_target_: os.system}", "UNSAFE-TARGET"),
    ("trust: [os]\noptimizer: {_target_: os.system}", "UNSAFE-TARGET"),
    ("a: [{b: [{_target_: torch.nn.Linear}]}]", "UNSAFE-TARGET"),
]


SIZES = [of_row(53, *case) for case in UNSAFE if case[1] == "CONF-SIZE"]
TAGS = [of_row(54, *case) for case in UNSAFE if case[1] == "UNSAFE-YAML"]
OTHERS = [case for case in UNSAFE if case[1] not in ("CONF-SIZE", "UNSAFE-YAML")]


@pytest.mark.parametrize(("text", "code"), [*SIZES, *TAGS, *OTHERS], ids=range(len(UNSAFE)))
def test_a_stored_config_that_asks_for_more_than_data_may_is_refused(tmp_path, text, code):
    with pytest.raises(SafetyError) as caught:
        config.read_saved_config(stored(tmp_path, text))
    assert (caught.value.code, caught.value.exit_code) == (code, 8)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("text", ["a: [1", "a: 1\na: 2", "[1]", "", "a: 1\n---\nb: 2"])
def test_a_broken_stored_config_is_no_run(tmp_path, text):
    with pytest.raises(ModelError):
        config.read_saved_config(stored(tmp_path, text))


def test_a_folder_without_a_config_is_no_run(tmp_path):
    with pytest.raises(ModelError, match=r"error\[RUN\] .*: no config.yaml"):
        config.read_saved_config(tmp_path / "config.yaml")


def test_a_link_out_of_the_run_is_refused(tmp_path):
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("a: 1")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").symlink_to(elsewhere)
    with pytest.raises(SafetyError, match="UNSAFE-PATH"):
        config.read_saved_config(run / "config.yaml")


def test_a_saved_config_is_read_as_it_was(tmp_path):
    plain = config.redact_config(composed("trust=[my_package]"))
    path = stored(tmp_path, OmegaConf.to_yaml(OmegaConf.create(plain)))
    assert config.read_saved_config(path) == plain | {"trust": []}
    assert config.read_saved_config(path, trust=["other"])["trust"] == ["other"]
    assert config.config_hash(config.read_saved_config(path)) == config.config_hash(plain)


def test_your_own_code_in_a_stored_run_is_trusted_anew(tmp_path):
    path = stored(tmp_path, "optimizer: {_target_: my_package.Lion}")
    assert (
        config.read_saved_config(path, trust=["my_package"])["optimizer"]["_target_"]
        == "my_package.Lion"
    )


# Yaml files


@row(51)
def test_a_key_that_stands_twice_is_told_with_its_lines(tmp_path):
    path = stored(tmp_path, "a:\n  lr: 1\n  b: 2\n  lr: 3\n")
    with pytest.raises(ConfigError) as caught:
        yaml_safety.scan(path)
    says = f"error[CONF-DUPLICATE] {path}:4: the key 'lr' stands twice, first in line 2"
    assert str(caught.value) == says[:200]


def test_every_shipped_yaml_passes_the_scan():
    files = sorted(config.CONF.rglob("*.yaml"))
    assert [file.name for file in files if yaml_safety.scan(file) is None] == []
    assert len(files) > 40


def test_text_that_is_no_utf8_is_told(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(TunesmithError, match="is not UTF-8"):
        yaml_safety.scan(path)
