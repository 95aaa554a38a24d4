"""The limits of a model are met before training, and the message says what to set."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    LiltConfig,
    LiltModel,
    RobertaConfig,
    RobertaModel,
    XLNetConfig,
    XLNetModel,
    XLNetTokenizer,
)

from support.commands import only_run
from support.runs import composed, lines
from support.tiny_models import WORDS, tiny_bert, word_pieces
from tunesmith.errors import TunesmithError
from tunesmith.pipeline.train import train as run

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 64, "pad_token_id": 0}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    rows = [
        {"text": " ".join(WORDS[i : i + 3 + i % 9]), "pair": WORDS[i], "label": "ab"[i % 2]}
        for i in range(24)
    ]
    rows[5]["text"] = " ".join(WORDS[:60])
    for split in ("train", "validation"):
        lines(tmp_path / f"{split}.jsonl", rows)
    return tmp_path


def saved(folder: Path, model: Any, tokenizer: Any = None) -> str:
    model.save_pretrained(folder / "model")
    (tokenizer or word_pieces()).save_pretrained(folder / "model")
    return str(folder / "model")


def attempt(folder: Path, *own: str) -> str:
    """Train for a step; return the line that refuses it, or nothing."""
    files = [f"data.{split}_file={folder}/{split}.jsonl" for split in ("train", "validation")]
    words = [
        *("data=files", *files, "data.leakage=ignore", "model=base", f"model.path={folder}/model"),
        *("data.max_length=null", "data.batch_size=8", "trainer.max_steps=1", "logger=none"),
        *("trainer.num_threads=1", f"paths.runs={folder}/runs", *own),
    ]
    try:
        run(composed(*words))
    except TunesmithError as error:
        return str(error)
    return ""


def roberta(positions: int, **config: Any) -> RobertaModel:
    size = len(word_pieces())
    return RobertaModel(
        RobertaConfig(vocab_size=size, max_position_embeddings=positions, **SMALL | config)
    )


def test_kinds_of_tokens_that_the_model_does_not_know(folder: Path) -> None:
    saved(folder, roberta(66, type_vocab_size=1))
    assert attempt(folder, "data.text_pair=pair", "data.max_length=32") == (
        "error[MODEL-LIMIT] roberta: knows 1 kinds of tokens, and its tokenizer marks 2; "
        "a tokenizer of this model does not; or set data.text_pair=null"
    )
    assert attempt(folder, "data.max_length=32") == ""


def test_positions_that_the_model_does_not_have(folder: Path) -> None:
    """LiLT counts positions as RoBERTa does, and no list of ours says so."""
    config = LiltConfig(
        vocab_size=len(word_pieces()), max_position_embeddings=50, **SMALL | {"hidden_size": 48}
    )
    saved(folder, LiltModel(config))
    said = attempt(folder)
    assert said.startswith("error[MODEL-LIMIT] lilt: cannot read ")
    length = int(said.rpartition("data.max_length=")[2])
    assert length >= 40
    assert attempt(folder, f"data.max_length={length}") == ""


def test_gradient_checkpointing_that_the_model_cannot(folder: Path, monkeypatch: Any) -> None:
    size = len(word_pieces())
    saved(folder, AlbertModel(AlbertConfig(vocab_size=size, embedding_size=16, **SMALL)))
    monkeypatch.setattr(
        "transformers.models.albert.modeling_albert.AlbertPreTrainedModel"
        ".supports_gradient_checkpointing",
        False,
    )
    said = attempt(folder, "trainer.gradient_checkpointing=true")
    assert said == (
        "error[CONF-MODEL] trainer.gradient_checkpointing=true: albert models cannot; "
        "set it to false"
    )


def test_a_head_alone_learns_on_a_model_without_a_list_of_layers(folder: Path) -> None:
    size = len(word_pieces())
    saved(folder, AlbertModel(AlbertConfig(vocab_size=size, embedding_size=16, **SMALL)))
    assert attempt(folder, "adapt=frozen") == ""


def test_answers_that_change_with_the_padding_are_refused(folder: Path) -> None:
    special = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    pieces = [(piece, 0.0) for piece in special] + [(f"▁{word}", -5.0) for word in WORDS]
    torch.manual_seed(0)
    size = {"d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128}
    config = XLNetConfig(vocab_size=len(pieces), initializer_range=0.1, pad_token_id=5, **size)
    saved(folder, XLNetModel(config), XLNetTokenizer(vocab=pieces, model_max_length=64))
    said = attempt(folder, "data.max_length=32")
    assert said.startswith("error[MODEL-LIMIT] xlnet: its answers change with the padding beside")


def test_the_look_at_the_limits_changes_nothing(folder: Path, monkeypatch: Any) -> None:
    """The same run with and without it, to the bit."""
    tiny_bert(folder / "model")

    def weights(name: str) -> tuple[float, dict[str, Any]]:
        assert attempt(folder, f"name={name}", "data.max_length=32", "optimizer.lr=1e-3") == ""
        directory = only_run(folder, name)
        metrics = json.loads((directory / "metrics.json").read_text())
        return metrics["best"], metrics["scores"]

    with_look = weights("one")
    monkeypatch.setattr("tunesmith.pipeline.components.check_limits", lambda *_: None)
    assert weights("two") == with_look
