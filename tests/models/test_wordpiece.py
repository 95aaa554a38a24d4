"""A vocabulary of one's own: the same pieces each time, and a folder that a BERT begins with."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from support.tiny_models import WORDS, sentences
from tunesmith.cli.train_tokenizer import make
from tunesmith.errors import TunesmithError
from tunesmith.models import heads, wordpiece
from tunesmith.models.encoder import load_model
from tunesmith.models.spec import resolve_model

TEXTS = [f"{a} Ünd {b}" for a, b in zip(sentences(200), sentences(200, seed=1), strict=True)]
AGAIN = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from test_wordpiece import TEXTS
from tunesmith.models import wordpiece
print(json.dumps(wordpiece.train(TEXTS, 300, True).get_vocab(), sort_keys=True))
"""


def pieces(texts, size=300, lowercase=True):
    return wordpiece.train(texts, size, lowercase).get_vocab()


def test_the_same_texts_give_the_same_pieces_in_any_order_and_in_any_process():
    first = pieces(TEXTS)
    assert len(first) == 300
    assert all(pieces(TEXTS) == first for _ in range(4))
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    assert pieces(shuffled) == first
    path = json.dumps([str(Path(__file__).parent), *sys.path])
    done = subprocess.run([sys.executable, "-c", AGAIN, path], capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == first


def test_special_tokens_and_letters_come_first_and_numbers_have_no_gap():
    found = pieces(TEXTS)
    named = sorted(found, key=found.get)
    assert sorted(found.values()) == list(range(300))
    assert tuple(named[:5]) == wordpiece.SPECIAL
    letters = sorted(
        {letter for text in TEXTS for letter in text.lower().replace("ü", "u")} - {" "}
    )
    assert named[5 : 5 + len(letters)] == letters


def test_frequent_words_are_one_piece_and_all_text_is_known():
    tokenizer = wordpiece.train(TEXTS, 400, True)
    assert sum(len(tokenizer.tokenize(word)) == 1 for word in WORDS) > len(WORDS) / 2
    for text in TEXTS[:20]:
        assert "[UNK]" not in tokenizer.tokenize(text)
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == (
            text.lower().replace("ü", "u")
        )


def test_case_and_accents_are_kept_where_asked():
    assert "Ü" in pieces(TEXTS, lowercase=False)
    assert "Ü" not in pieces(TEXTS)


def test_rare_letters_are_left_out_the_same_ones_each_time(monkeypatch):
    monkeypatch.setattr(wordpiece, "MOST_LETTERS", 10)
    monkeypatch.setattr(wordpiece, "COVERED", 0.1)
    first = pieces(TEXTS)
    assert all(pieces(TEXTS) == first for _ in range(3))
    kept = {piece for piece in first if len(piece) == 1}
    assert len(kept) == 10
    assert {letter for piece in first for letter in piece.removeprefix("##")} - set("[]") <= (
        kept | set("".join(wordpiece.SPECIAL))
    )


def test_all_but_the_rarest_characters_of_chinese_are_known():
    common = [chr(0x4E00 + i) for i in range(1500)]
    texts = ["".join(random.Random(seed).sample(common, 1500)) for seed in range(7)]
    rare = [chr(0x8000 + i) for i in range(4)]  # 4 of 10,504 letters
    tokenizer = wordpiece.train([*texts, *rare], 4000, True)
    assert all("[UNK]" not in tokenizer.tokenize(text) for text in texts)
    assert tokenizer.tokenize("".join(rare)) == ["[UNK]"] * 4
    assert tokenizer.tokenize(texts[0]) == list(texts[0])


def test_the_folder_begins_a_bert_of_any_size(tmp_path):
    (tmp_path / "corpus.txt").write_text("\n\n".join(TEXTS))
    count = make([f"{tmp_path}/corpus.txt"], tmp_path / "out", 300, True)
    assert count == 300
    plain = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert plain.get_vocab() == pieces(TEXTS)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    given = {"labels": None, "head": heads.MASKED_LM, "pretrained": False}
    source = resolve_model(
        str(tmp_path / "out"), **given, sizes=small, config={"intermediate_size": 24}
    )
    model = load_model(source)
    assert model.get_input_embeddings().weight.shape == (300, 16)
    assert model.config.intermediate_size == 24
    assert model.config.pad_token_id == plain.pad_token_id == 0


def test_texts_come_from_several_files_or_from_a_train_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1.txt").mkdir()
    Path("one.jsonl").write_text("\n".join(json.dumps({"body": text}) for text in TEXTS[:100]))
    Path("two.csv").write_text("\n".join(["body", *TEXTS[100:]]))
    make(["one.jsonl", "two.csv", "data.text=body"], tmp_path / "both", 300, True)
    assert AutoTokenizer.from_pretrained("both").get_vocab() == pieces(TEXTS)
    Path("test.csv").write_text("body\nzzzz zzzz zzzz\n")
    split = ["data=files", "data.train_file=two.csv", "data.test_file=test.csv", "data.text=body"]
    split += ["task=question_answering"]  # no task of the vocabulary's
    make(split, tmp_path / "train", 300, True)
    assert AutoTokenizer.from_pretrained("train").get_vocab() == pieces(TEXTS[100:])


@pytest.mark.parametrize(
    ("sources", "size", "code", "says"),
    [
        (["nope.txt"], 300, 3, "error[DATA-404] nope.txt: no such file"),
        (["a.txt"], 20, 2, "error[CONF-RANGE] --vocab-size 20: special tokens and letters alone"),
        (["data=nope"], 300, 2, "error[CONF-GROUP] data=nope: "),
        (["a.txt", "data.txet=body"], 300, 2, "error[CONF-KEY] data.txet: no such key"),
        (["a.csv"], 300, 3, "error[DATA-COL] a.csv: no column 'text'; columns: body"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, monkeypatch, sources, size, code, says):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("\n\n".join(TEXTS))
    Path("a.csv").write_text("body\nabc\n")
    with pytest.raises(TunesmithError) as caught:
        make(sources, tmp_path / "out", size, True)
    assert str(caught.value).startswith(says)
    assert caught.value.exit_code == code
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TunesmithError, match="is there already") as caught:
        make(["a.txt"], tmp_path, 300, True)
    assert caught.value.exit_code == 2
