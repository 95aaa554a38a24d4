"""A model folder from a stranger: refused by name, nothing executed, nothing read outside it."""

import builtins
import json
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from support.bad_inputs import row
from support.canary import nothing_runs, poison
from support.tiny_models import hub_cache, tiny_bert
from tunesmith.errors import ModelError, SafetyError
from tunesmith.models import heads
from tunesmith.models.spec import resolve_model
from tunesmith.models.untrusted_files import globals_of, load_pickle


def refused(path) -> SafetyError:
    with pytest.raises(SafetyError) as caught:
        resolve_model(str(path), labels=["a", "b"], head=heads.SINGLE_LABEL)
    assert caught.value.exit_code == 8
    assert len(str(caught.value)) <= 200
    return caught.value


@row(66)
@pytest.mark.parametrize("how", ["zip", "legacy", "0", "1", "2", "3", "4", "5"])
def test_a_pickle_with_code_is_refused_by_the_name_of_the_code(how, tmp_path):
    folder, canary = tiny_bert(tmp_path / "m"), tmp_path / "canary"
    (folder / "model.safetensors").unlink()
    poison(folder / "pytorch_model.bin", canary, how)
    with nothing_runs(canary):
        error = refused(folder)
    assert str(error) == (
        "error[UNSAFE-PICKLE] pytorch_model.bin: contains code objects (posix.system); refused"
    )


@pytest.mark.parametrize("how", ["zip", "legacy", "2", "4"])
def test_loading_looks_before_it_reads_and_never_advises_to_switch_it_off(how, tmp_path):
    file = poison(tmp_path / "x.ckpt", tmp_path / "canary", how)
    with nothing_runs(tmp_path / "canary"), pytest.raises(SafetyError) as caught:
        load_pickle(file)
    assert "x.ckpt: contains code objects (posix.system)" in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_the_canary_sings_where_a_pickle_is_executed(tmp_path):
    file = poison(tmp_path / "x", tmp_path / "canary", "4")
    with pytest.raises(AssertionError), nothing_runs(tmp_path / "canary"):
        pickle.loads(file.read_bytes())  # noqa: S301 (our own; else the tests above prove nothing)


def test_a_pickle_beside_safetensors_is_never_opened(tmp_path):
    folder = tiny_bert(tmp_path / "m")
    poison(folder / "pytorch_model.bin", tmp_path / "canary", "zip")
    with nothing_runs(tmp_path / "canary"):
        source = resolve_model(str(folder), labels=["a", "b"], head=heads.SINGLE_LABEL)
    assert [file.name for file in source.weights] == ["model.safetensors"]


def test_names_hidden_behind_the_memo_are_found(tmp_path):
    file = tmp_path / "x.pkl"
    memo = b"\x8c\x05posix\x94\x8c\x06system\x94NN00h\x00h\x01\x93\x8c\x04true\x85R."
    file.write_bytes(b"\x80\x04" + memo)
    assert list(globals_of(file)) == ["posix.system"]
    file.write_bytes(b"\x80\x02\x82\x01.")
    assert list(globals_of(file)) == ["extension 1"]


def test_garbage_is_no_dictionary_of_tensors(tmp_path):
    for content in (b"", b"garbage", pickle.dumps([1], protocol=2), b"PK\x03\x04"):
        (tmp_path / "x.bin").write_bytes(content)
        with pytest.raises(ModelError, match=r"MODEL-CORRUPT\] x.bin: not") as caught:
            load_pickle(tmp_path / "x.bin")
        assert "weights_only" not in str(caught.value)


def test_nothing_is_unpickled_where_the_environment_forces_it_open(tmp_path, monkeypatch):
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.bin")
    assert set(load_pickle(tmp_path / "x.bin")) == {"x"}
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(SafetyError, match="UNSAFE-ENV"):
        load_pickle(tmp_path / "x.bin")


def test_a_pickle_bomb_is_refused_by_its_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"N0" * 40_000_000 + b"N.")
    with pytest.raises(SafetyError, match="UNSAFE-SIZE"):
        load_pickle(tmp_path / "x.bin")


@row(67)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_that_ships_python_is_refused_and_asks_nothing(file, tmp_path, monkeypatch):
    folder, canary = tiny_bert(tmp_path / "m"), tmp_path / "canary"
    classes = {"AutoConfig": "conf.Config", "AutoTokenizer": ["conf.Words", None]}
    content = json.loads((folder / file).read_text()) | {"auto_map": classes}
    (folder / file).write_text(json.dumps(content))
    (folder / "conf.py").write_text(f"open({str(canary)!r}, 'w')")

    def ask(*_):
        raise AssertionError("asked on stdin")

    monkeypatch.setattr(builtins, "input", ask)
    with nothing_runs(canary):
        error = refused(folder)
    assert str(error) == f"error[UNSAFE-CODE] model '{folder}': ships its own Python; not supported"
    assert "conf" not in sys.modules


@pytest.mark.parametrize(
    "target", ["../x.safetensors", "/etc/passwd", "a/../../x.safetensors", "..\\x.safetensors"]
)
def test_an_index_that_leads_out_is_refused(target, tmp_path):
    folder = tiny_bert(tmp_path / "m")
    (folder / "model.safetensors").rename(tmp_path / "x.safetensors")
    index = {"weight_map": {"embeddings.weight": target}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    error = refused(folder)
    assert error.code == "UNSAFE-PATH"
    assert error.what == "leads out of the model's folder; refused"


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_link_that_leads_out_is_refused(file, tmp_path):
    folder = tiny_bert(tmp_path / "m")
    (folder / file).rename(tmp_path / file)
    (folder / file).symlink_to(tmp_path / file)
    assert str(refused(folder)) == (
        f"error[UNSAFE-PATH] {file}: leads out of the model's folder; refused"
    )


def test_links_of_the_hubs_cache_lead_to_its_blobs_and_no_further(tmp_path):
    commit = hub_cache(tiny_bert(tmp_path / "m"), tmp_path / "hub", "some/bert")
    snapshot = tmp_path / "hub" / "models--some--bert" / "snapshots" / commit
    source = resolve_model(str(snapshot), labels=["a", "b"], head=heads.SINGLE_LABEL)
    assert source.weights[0].is_symlink()
    (snapshot / "vocab.txt").symlink_to("../../../../m/config.json")
    assert refused(snapshot).where == "vocab.txt"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/m", "https://x.org/m", "s3://b/m", "file:///etc", "FILE:/etc", "hf://a/b"],
)
def test_a_url_is_refused_without_a_connection(url, tmp_path):
    with nothing_runs(tmp_path / "canary"):
        error = refused(url)
    assert str(error) == (
        f"error[UNSAFE-URL] {url}: models are not read from URLs; download it first"
    )


def test_a_huge_config_is_refused_unread(tmp_path):
    folder: Path = tiny_bert(tmp_path / "m")
    (folder / "config.json").write_text(" " * 4_000_001)
    assert str(refused(folder)) == (
        "error[UNSAFE-SIZE] config.json: larger than 4,000,000 bytes; refused"
    )
