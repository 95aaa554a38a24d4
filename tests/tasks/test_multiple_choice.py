"""Multiple choice from the command line: trained, tested, predicted, searched."""

import pytest
import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer

from support.bad_inputs import row
from support.runs import (
    composed,
    lines,
    of_files,
    one_line,
    predicted,
    scored_again,
    to_the_bit,
    trained,
)
from support.tiny_models import KINDS, TOKENIZERS, tiny_bert, tiny_model
from tunesmith import load
from tunesmith.data.synthetic import multiple_choice_rows as multiple_choice
from tunesmith.errors import DataError
from tunesmith.models import heads
from tunesmith.models.encoder import load_model
from tunesmith.models.spec import resolve_model, tokenizer
from tunesmith.tasks.losses import ChoiceCrossEntropy
from tunesmith.tasks.multiple_choice import MultipleChoice

SIZES = {"train": 40, "validation": 16, "test": 24}


def short(made, number):
    """Leave every third row with three choices, where the last one is not right."""
    fewer = number % 3 == 0 and made["label"] != 3
    return {k: v for k, v in made.items() if not (fewer and k == "ending3")}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choices")
    tiny_bert(folder / "model")
    for split, count in SIZES.items():
        rows = [
            short(made, i) for i, made in enumerate(multiple_choice.rows()[split][:count], start=1)
        ]
        lines(folder / f"{split}.jsonl", ({**r, "ending3": r.get("ending3")} for r in rows))
    columns = ["data.text=sent1", "data.text_pair=sent2"]
    columns += ["data.choices=[ending0,ending1,ending2,ending3]"]
    return folder, of_files(folder, "multiple_choice", *columns, "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def finished(inputs):
    folder, arguments = inputs
    return trained(folder, *arguments)


def test_a_stored_run_scores_as_its_training_did_to_the_bit(finished):
    directory, record = finished
    assert scored_again(directory) == to_the_bit(record["scores"])


def test_predictions_are_what_was_scored(finished, inputs, tmp_path):
    directory, record = finished
    given = predicted(directory, inputs[0] / "test.jsonl", tmp_path / "out.jsonl")
    right = [answer["index"] == answer["label"] for answer in given]
    assert sum(right) / len(right) == pytest.approx(record["scores"]["test/accuracy"])
    numbers = set()
    for answer in given:
        endings = [e for i in range(4) if (e := answer[f"ending{i}"]) is not None]
        assert answer["choice"] == endings[answer["index"]]
        assert len(answer["probabilities"]) == len(endings)
        assert max(answer["probabilities"]) == answer["probabilities"][answer["index"]]
        assert sum(answer["probabilities"]) == pytest.approx(1.0)
        numbers.add(len(endings))
    assert numbers == {3, 4}


def test_plain_transformers_gives_the_same_probabilities(finished):
    directory, _ = finished
    made = multiple_choice.rows()["test"][0]
    endings = [made[f"ending{i}"] for i in range(4)]
    asked = {"text": made["sent1"], "text_pair": made["sent2"], "choices": endings}
    [answer] = load(directory).predict([asked])
    model = AutoModelForMultipleChoice.from_pretrained(directory / "model").eval()
    words = AutoTokenizer.from_pretrained(directory / "model")
    second = [f"{made['sent2']} {ending}" for ending in endings]
    read = words([made["sent1"]] * 4, second, padding=True, return_tensors="pt")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=is_bf16(directory)):
        logits = model(**{k: v.unsqueeze(0) for k, v in read.items()}).logits[0]
    assert answer["probabilities"] == pytest.approx(logits.float().softmax(-1).tolist(), abs=0.01)


def is_bf16(directory):
    return "precision: bf16-mixed" in (directory / "config.yaml").read_text()


@row(68)
def test_a_row_without_two_choices_is_refused(finished):
    directory, _ = finished
    with pytest.raises(DataError) as caught:
        load(directory).predict([("It rains.", "He", ["goes home."])])
    assert str(caught.value).startswith(
        "error[DATA-CELL] row 1: choices has 1 of at least 2 choices"
    )
    [answer] = load(directory).predict([("It rains.", "He", ["goes home.", "sings."])])
    assert answer["choice"] in ("goes home.", "sings.")


BAD = {
    "another loss": (
        ["loss=cross_entropy"],
        "error[CONF-LOSS] loss=tunesmith.tasks.losses.CrossEntropy: ",
    ),
    "choices of no column": (
        ["data.choices=[]"],
        "error[CONF-RANGE] data.choices=[]: must be a column, or a list of columns",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(inputs, name, capsys):
    more, message = BAD[name]
    code, said = one_line(composed(*inputs[1], *more, "name=bad"), capsys)
    assert code == 2
    assert said.startswith(message)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_chooses_alike_alone_and_padded(kind, tmp_path):
    source = resolve_model(
        str(tiny_model(kind, tmp_path / "m")), labels=None, head=heads.MULTIPLE_CHOICE
    )
    task = MultipleChoice(
        model=load_model(source),
        tokenizer=tokenizer(source),
        labels=None,
        max_length=32,
        truncation="right",
        loss=ChoiceCrossEntropy(),
    ).eval()
    rows = [
        {"text": "vote", "choices": ["lo", "tivo lo"]},
        {"text": "vote lo tivo", "choices": ["a", "lo", "vote vote lo", "tivo"]},
    ]
    features = [f for r in rows for f in task.encode(r)]
    with torch.no_grad():
        alone = [task.logits(task.collate([f])) for f in features]
        both = task.logits(task.collate(features))
    assert both.shape == (2, 4) and bool((both[0, 2:] == -torch.inf).all())
    torch.testing.assert_close(both[0, :2], alone[0][0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both[1], alone[1][0], atol=1e-5, rtol=1e-4)


def test_the_loss_is_cross_entropy_over_a_rows_own_choices():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 1, 0])
    padded = torch.cat([logits, torch.full((5, 2), -torch.inf)], dim=1).requires_grad_()
    mean, weight = ChoiceCrossEntropy(label_smoothing=0.2)(padded, labels)
    wanted = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    torch.testing.assert_close(mean, wanted)
    assert weight == 5
    mean.backward()
    assert bool(padded.grad.isfinite().all())


def test_of_long_texts_it_is_said_that_they_are_cut():
    task = MultipleChoice(
        model=torch.nn.Module(),
        tokenizer=TOKENIZERS["bert"](),
        labels=None,
        max_length=8,
        truncation="right",
        loss=ChoiceCrossEntropy(),
    )
    [one] = task.encode({"text": "lo lo lo lo lo lo", "choices": ["tivo", "lo lo lo lo"]})
    assert (one["length"], one["full_length"]) == (8, 13)
    assert [len(ids) for ids in one["input_ids"]] == [8, 8]
