"""Prompting: templates that are never cut, words that are one token, labels by their words."""

import random

import pytest
import torch
from transformers import AutoModelForMaskedLM

from support.commands import small
from support.runs import composed, one_line, scored_again, to_the_bit, trained
from support.tiny_models import KINDS, LETTERS, TOKENIZERS, WORDS, sentences, tiny_bert, tiny_model
from tunesmith import load
from tunesmith.errors import TunesmithError
from tunesmith.models import heads
from tunesmith.models.encoder import load_model
from tunesmith.models.spec import resolve_model
from tunesmith.tasks.base import TaskContext
from tunesmith.tasks.losses import CrossEntropy
from tunesmith.tasks.prompt import Prompt, tokens_of
from tunesmith.tasks.text.prompt_template import Template, encoded, tokens_of_word

ONE = "{text} so it was {mask}."
TWO = "{text}? {mask}, {text_pair}"
LABELS = ["no", "yes"]
MEANT = {"no": "b", "yes": "d"}


def checked(template=ONE, words=MEANT, *, labels=LABELS, max_length=24, columns=("text", "label")):
    plan = {"template": template, "verbalizer": words}
    Prompt.check(
        TaskContext(plan, labels, TOKENIZERS["bert"](), max_length, max_length, frozenset(columns))
    )


def told(*arguments, **options):
    with pytest.raises(TunesmithError) as caught:
        checked(*arguments, **options)
    return str(caught.value)


# Templates


@pytest.mark.parametrize("truncation", ["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_cut_and_the_template_never(kind, truncation):
    words, dice = TOKENIZERS[kind](), random.Random(kind)
    for template in (Template(ONE), Template(TWO), Template("{mask}: {text}")):
        bare = len(
            words(template.filled(dict.fromkeys((*template.texts, "mask"), "")).text).input_ids
        )
        for _ in range(12):
            texts = {
                name: " ".join(sentences(dice.randint(1, 3), dice.randrange(99)))
                for name in template.texts
            }
            most = bare + dice.randint(4, 30)
            encoding, place, full = encoded(template, texts, words, most, truncation)
            assert len(encoding) <= most
            assert full == len(
                words(template.filled({**texts, "mask": words.mask_token}).text).input_ids
            )
            assert (full <= most) == (len(encoding) == full)
            assert encoding.ids[place] == words.mask_token_id
            shown = words.decode(encoding.ids, skip_special_tokens=True)
            literal = "".join(part for part, _ in template.parts).split()
            assert all(word.strip("?:,.") in shown for word in literal)
            if full > most:
                assert len(encoding) >= most - 3  # no more is cut than must be


def test_the_longest_text_is_cut_first_and_from_its_end():
    words = TOKENIZERS["bert"]()
    texts = {"text": "b d f g h i j k l m", "text_pair": "n o p"}
    encoding, _, full = encoded(Template("{text} {mask} {text_pair}"), texts, words, 10, "right")
    assert full == 10 + 3 + 3
    assert words.decode(encoding.ids) == "[CLS] b d f g [MASK] n o p [SEP]"
    encoding, _, _ = encoded(Template("{text} {mask} {text_pair}"), texts, words, 9, "left")
    assert words.decode(encoding.ids) == "[CLS] k l m [MASK] n o p [SEP]"


def test_a_mask_in_a_text_is_not_the_templates():
    words = TOKENIZERS["bert"]()
    texts = {"text": "b [MASK] d", "text_pair": "[MASK] f"}
    encoding, place, _ = encoded(Template("{text} {mask} {text_pair}"), texts, words, 24, "right")
    assert [i for i, t in enumerate(encoding.ids) if t == words.mask_token_id] == [2, 4, 5]
    assert place == 4


def test_braces_that_are_meant_stand_twice():
    filled = Template("{{{text}}} {mask}").filled({"text": "b", "mask": "[MASK]"})
    assert filled.text == "{b} [MASK]"
    assert filled.text[slice(*filled.spans["mask"])] == "[MASK]"


WRONG = {
    "no mask": ("{text} so", "has no {mask}"),
    "no text": ("so {mask}", "has no {text}"),
    "two masks": ("{text} {mask} {mask}", "has {mask} 2 times"),
    "a text twice": ("{text} {text} {mask}", "has {text} 2 times"),
    "another place": (
        "{text} {txt} {mask}",
        "has {txt}; it takes {text}, {text_pair} and {mask}",
    ),
    "a number": ("{text} {} {mask}", "has {}; it takes {text}, {text_pair} and {mask}"),
    "a format": ("{text:>9} {mask}", "has {text>9}; it takes {text}, {text_pair} and {mask}"),
    "a pair that rows lack": (
        "{text} {mask} {text_pair}",
        "has {text_pair}, and data.text_pair=null names no such column",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_template_that_cannot_be_is_named(name):
    template, what = WRONG[name]
    assert (
        told(template).splitlines()[0] == f"error[CONF-TEMPLATE] task.template={template!r}: {what}"
    )


def test_odd_braces_and_a_pair_that_is_not_shown_are_refused():
    assert "its braces cannot be read: " in told("{text {mask}")
    both = ("text", "text_pair", "label")
    assert (
        told(ONE, columns=both)
        == f"error[CONF-TEMPLATE] task.template={ONE!r}: has no {{text_pair}}"
    )
    checked(TWO, columns=both)


def test_a_template_must_leave_room_for_text():
    assert told(max_length=9) == (
        "error[CONF-LENGTH] data.max_length=9: the template alone is 10 tokens long; raise it, or "
        "shorten task.template"
    )


# Words


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_the_token_that_it_is_in_its_place(kind):
    tokenizer = TOKENIZERS[kind]()
    found = []
    for word in [*WORDS, *LETTERS[:26]]:
        whole = tokenizer(f"a so it was {word}.")
        at = len(tokenizer("a so it was").input_ids) - 1  # before the closing token
        pieces = tokens_of_word(Template(ONE), word, tokenizer)
        assert [token for token, _ in pieces] == whole.input_ids[at : at + len(pieces)]
        found += [word] if len(pieces) == 1 else []
    assert len(found) > 20
    labels = {f"label {i}": word for i, word in enumerate(found)}
    tokens = tokens_of(Template(ONE), labels, list(labels), tokenizer)
    assert len(set(tokens)) == len(labels)


def test_labels_are_their_own_words():
    tokenizer = TOKENIZERS["bert"]()
    tokens = tokens_of(Template(ONE), None, ["d", "b"], tokenizer)
    assert tokenizer.convert_ids_to_tokens(tokens) == ["d", "b"]
    by_number = tokens_of(Template(ONE), {0: "b", 1: "d"}, ["1", "0"], tokenizer)
    assert tokenizer.convert_ids_to_tokens(by_number) == ["d", "b"]


def test_words_that_cannot_be_are_named():
    assert told(words=MEANT | {"yes": "qzq"}) == (
        "error[CONF-WORDS] task.verbalizer.yes=qzq: is 3 tokens (q, ##z, ##q), not one; another "
        "word"
    )
    assert told(words=None, labels=["b", "qzq"]) == (
        "error[CONF-WORDS] task.verbalizer.qzq=qzq: is 3 tokens (q, ##z, ##q), not one; give each "
        "label "
        "a word: 'task.verbalizer={label: word, ...}'"
    )
    assert told(words=MEANT | {"yes": "ж"}) == (
        "error[CONF-WORDS] task.verbalizer.yes=ж: is no word of the model's vocabulary; another "
        "word"
    )
    assert told(words={"no": "b", "yes": "B"}) == (
        "error[CONF-WORDS] task.verbalizer: 'no' and 'yes' have the same word, 'B'; give each its "
        "own"
    )
    assert told(words={"no": "b"}) == "error[CONF-WORDS] task.verbalizer: no word for label 'yes'"
    assert told(words=MEANT | {"yess": "f"}) == (
        "error[CONF-WORDS] task.verbalizer: 'yess' is no label of the data; did you mean 'yes'?"
    )


# What is learnt


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_logits_are_those_of_the_words_at_the_mask(kind, tmp_path):
    folder = tiny_model(kind, tmp_path / kind, head="masked_lm")
    source = resolve_model(str(folder), labels=LABELS, head=heads.MASKED_LM)
    assert source.own_head
    task = Prompt(
        template=ONE,
        verbalizer=MEANT,
        model=load_model(source),
        tokenizer=source.words,
        labels=LABELS,
        max_length=60,
        truncation="right",
        loss=CrossEntropy(),
    ).eval()
    rows = [{"text": text, "label": LABELS[i % 2]} for i, text in enumerate(sentences(6))]
    batch = task.collate([f for row in rows for f in task.encode(row)])
    plain = AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        found = task(batch)
        for i, row in enumerate(rows):
            ids = source.words(
                f"{row['text']} so it was {source.words.mask_token}.", return_tensors="pt"
            )
            place = ids["input_ids"][0].tolist().index(source.words.mask_token_id)
            wanted = plain(**ids).logits[0, place, task.words]
            torch.testing.assert_close(found.logits[i], wanted, atol=1e-5, rtol=1e-4)
    labels = torch.tensor([0, 1] * 3)
    torch.testing.assert_close(found.loss, torch.nn.functional.cross_entropy(found.logits, labels))


# Runs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt")
    arguments = [word for word in small(folder) if not word.startswith("model.path")]
    tiny_bert(folder / "mlm", head="masked_lm")
    words = [
        "task=prompt",
        "task.verbalizer={neg: b, pos: d}",
        "data.shots_per_class=12",
        "data.batch_size=4",
    ]
    words += [
        "trainer.max_epochs=15",
        "trainer.val_check_interval=15",
        "logger=none",
        f"model.path={folder}/mlm",
    ]
    return folder, [*arguments, *words, "optimizer.lr=3e-3", "trainer.precision=32"]


@pytest.fixture(scope="module")
def finished(inputs):
    folder, arguments = inputs
    return trained(folder, *arguments, name="whole")


def test_it_learns_from_a_few_rows(finished):
    _, record = finished
    assert record["scores"]["test/accuracy"] >= record["baseline"]["test/accuracy"] + 0.25


def test_a_stored_run_scores_and_predicts_as_its_training_did(finished, inputs):
    directory, record = finished
    assert scored_again(directory) == to_the_bit(record["scores"])
    lines = (inputs[0] / "test.csv").read_text().splitlines()[1:]
    pairs = [line.rsplit(",", 1) for line in lines]
    answers = load(directory).predict([text for text, _ in pairs])
    right = [a["label"] == label for a, (_, label) in zip(answers, pairs, strict=True)]
    assert sum(right) / len(right) == pytest.approx(record["scores"]["test/accuracy"])
    assert load(directory).task.words.tolist() == [
        load(directory).task.tokenizer.convert_tokens_to_ids(word) for word in "bd"
    ]


BAD = {
    "a word of several tokens": (
        ["task.verbalizer={neg: b, pos: qzq}"],
        "error[CONF-WORDS] task.verbalizer.pos=qzq: is 3 tokens (q, ##z, ##q), not one; another "
        "word",
    ),
    "a word that yaml reads as something else": (
        ["task.verbalizer={neg: b, pos: true}"],
        "error[CONF-TYPE] task.verbalizer={'neg': 'b', 'pos': True}: must be a mapping of labels "
        "to ",
    ),
    "a pair that the template does not show": (
        ["data.text_pair=text"],
        "error[CONF-TEMPLATE] task.template='{text} It was {mask}.': has no {text_pair}",
    ),
    "too few rows": (
        ["data.shots_per_class=30"],
        "error[DATA-SHOTS] ",  # test_shots.py pins the rest
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(inputs, name, capsys):
    more, message = BAD[name]
    code, said = one_line(composed(*inputs[1], *more, "name=bad"), capsys)
    assert code in (2, 3)
    assert said.startswith(message)
