"""From one text to another: teacher forcing, what is written, and what a saved run is good for."""

import json
import random
import sys

import pytest
import torch
from datasets import Dataset
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoTokenizer, EncoderDecoderModel

from support import runs
from support.commands import only_run, searched, train
from support.tiny_models import WORDS, tiny_bert, tiny_model
from tunesmith import load
from tunesmith.config import inference_options, resolved
from tunesmith.errors import TunesmithError
from tunesmith.inference.predict_file import predict_file
from tunesmith.models import heads
from tunesmith.models.encoder import load_model
from tunesmith.models.spec import resolve_model
from tunesmith.pipeline.components import build_data, build_task
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.base import IGNORE
from tunesmith.tasks.summarization import in_lines
from tunesmith.training import checkpoint_io

SPLITS = {"train": 40, "validation": 16, "test": 16}


def rows_of(count, seed):
    """Make texts whose first word says which two words are to be written of them."""
    dice = random.Random(seed)
    made = []
    for _ in range(count):
        kind, others = dice.randrange(4), dice.sample(WORDS[50:80], dice.randint(3, 11))
        story = " ".join([WORDS[20 + kind], *others])
        made.append({"story": story, "gist": f"{WORDS[30 + kind]} {WORDS[40 + kind]}."})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summaries")
    tiny_bert(folder / "model")
    for seed, (split, count) in enumerate(SPLITS.items()):
        lines = [json.dumps(row) for row in rows_of(count, seed)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


def arguments(folder):
    own = ["task=summarization", "data=files", "data.text=story", "data.target=gist"]
    own += [f"data.{split}_file={folder}/{split}.jsonl" for split in SPLITS]
    own += ["data.max_length=20", "data.batch_size=8", "model=base", "optimizer.lr=3e-3"]
    own += [f"model.path={folder}/model", f"paths.runs={folder}/runs", "trainer.num_threads=1"]
    return [*own, "trainer.precision=32", "callbacks.progress=false", "task.max_target_length=8"]


def composed(folder, *changes):
    return runs.composed(*arguments(folder), *changes)


def built(folder, *changes):
    cfg = composed(folder, *changes)
    parts = load_inputs(resolved(cfg))
    made, _ = build_task(resolved(cfg), parts)
    return made.eval(), build_data(resolved(cfg), parts, made), parts


@pytest.fixture(scope="module")
def finished(folder):
    how = ["task.tie_encoder_decoder=true", "task.num_beams=3", "task.no_repeat_ngram_size=2"]
    run(composed(folder, "trainer.max_epochs=6", "optimizer.lr=1e-2", "name=summaries", *how))
    return only_run(folder, "summaries")


def test_the_loss_is_that_of_transformers(folder):
    task, data, _ = built(folder)
    batch = next(iter(data.val_dataloader()))
    theirs = EncoderDecoderModel(config=task.model.config).eval()
    theirs.load_state_dict(task.model.state_dict())
    with torch.no_grad():
        ours = task(batch)
        wanted = theirs(**task.model_inputs(batch), labels=batch["labels"])
    torch.testing.assert_close(ours.loss, wanted.loss)
    torch.testing.assert_close(task.logits(batch), wanted.logits, atol=1e-5, rtol=1e-4)
    assert ours.weight == (batch["labels"] != IGNORE).sum()


def test_targets_are_cut_at_their_end_whatever_the_texts_are(folder):
    task, _, _ = built(folder, "data.truncation=left", "task.max_target_length=4")
    words = WORDS[5:11]
    ids = task.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    [features] = task.encode({"text": " ".join(words), "target": [" ".join(words)]})
    assert features["labels"] == [*ids[:3], task.tokenizer.sep_token_id]
    assert features["full_length"] - features["length"] == len(ids) - 3
    [short] = task.encode({"text": "a", "target": [""]})
    assert short["labels"] == [task.tokenizer.sep_token_id]
    assert short["full_length"] == short["length"]
    assert task.truncation_note() == "texts truncated at 20 tokens, targets at 4"


def test_the_middle_of_a_long_text_can_be_left_out(folder):
    task, _, _ = built(folder, "data.truncation=middle")
    whole = task.tokenizer(" ".join(WORDS[20:60]))["input_ids"]
    [features] = task.encode({"text": " ".join(WORDS[20:60]), "target": ["a"]})
    assert features["input_ids"] == whole[:5] + whole[-15:]


def test_plain_transformers_loads_the_run_and_writes_the_same(finished, folder, capfd):
    model = EncoderDecoderModel.from_pretrained(finished / "model").eval()
    assert "MISSING" not in capfd.readouterr().err
    words = AutoTokenizer.from_pretrained(finished / "model")
    texts = [row["story"] for row in rows_of(16, seed=2)]
    answers = load(finished).predict(texts)
    for text, answer in zip(texts, answers, strict=True):
        found = model.generate(**words([text], return_tensors="pt"))
        assert words.decode(found[0], skip_special_tokens=True).strip() == answer["summary"]
        assert answer["tokens"] <= 8 and 0 < answer["probability"] < 1
    assert len({answer["summary"] for answer in answers}) > 1


def test_scores_are_those_of_what_predict_writes(finished, folder, tmp_path):
    scores = json.loads((finished / "metrics.json").read_text())["scores"]
    output = tmp_path / "answers.jsonl"
    predict_file(load(finished), folder / "test.jsonl", output, sys.stdout)
    given = [json.loads(line) for line in output.read_text().splitlines()]
    assert [{"story": r["story"], "gist": r["gist"]} for r in given] == rows_of(16, seed=2)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    each = [scorer.score(in_lines(r["gist"]), in_lines(r["summary"])) for r in given]
    for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        mean = sum(found[kind].fmeasure for found in each) / len(each)
        assert scores[f"test/{kind}"] == pytest.approx(mean)
    lead = [scorer.score(r["gist"], " ".join(r["story"].split()[:2]))["rougeL"] for r in given]
    mean = sum(found.fmeasure for found in lead) / len(lead)
    assert scores["test/lead_rougeL"] == pytest.approx(mean)


def test_of_several_references_the_first_is_learnt_and_the_nearest_scored(finished, tmp_path):
    stored, file = load(finished), tmp_path / "several.jsonl"
    rows = [
        {"story": one["story"], "gist": [other["gist"], one["gist"]]}
        for one, other in zip(rows_of(16, seed=2), rows_of(16, seed=3), strict=True)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    written = [answer["summary"] for answer in stored.predict([row["story"] for row in rows])]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    each = [
        scorer.score_multi(row["gist"], text)["rougeL"].fmeasure
        for row, text in zip(rows, written, strict=True)
    ]
    scores = stored.evaluate(data=str(file))
    assert scores["test/rougeL"] == pytest.approx(sum(each) / len(each))
    one, several = ({"text": "a", "target": t} for t in (["b c"], ["b c", "d"]))
    assert stored.task.encode(several) == stored.task.encode(one)


def test_a_stored_run_scores_as_its_training_did_to_the_bit(finished):
    recorded = json.loads((finished / "metrics.json").read_text())["scores"]
    again = load(finished).evaluate("validation") | load(finished).evaluate("test")
    assert again == recorded


def test_what_it_writes_by_is_set_anew(finished):
    usual, other = load(finished), load(finished, options={"task.min_target_length": 7})
    text = rows_of(1, seed=7)[0]["story"]
    assert usual.predict([text])[0]["tokens"] < 7 <= other.predict([text])[0]["tokens"]
    scores = [stored.evaluate("validation") for stored in (usual, other)]
    assert scores[0]["val/loss"] == scores[1]["val/loss"]  # the same model
    assert scores[0]["val/rouge1"] > scores[1]["val/rouge1"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["task.tie_encoder_decoder=false"],
            "error[CONF-KEY] task.tie_encoder_decoder: cannot be set once a run is trained; "
            "only "
            "task.min_target_length, task.num_beams, task.length_penalty, "
            "task.no_repeat_ngram_size, task.rouge_words, data.*",
        ),
        (
            ["task.num_beam=2"],
            "error[CONF-KEY] task.num_beam: cannot be set once a run is trained; "
            "did you mean 'task.num_beams'?",
        ),
        (
            ["task.num_beams=0"],
            "error[CONF-RANGE] task.num_beams=0: must be an integer >= 1",
        ),
        (
            ["task.num_beams"],
            "error[CLI] --set task.num_beams: is not of the form task.OPTION=VALUE",
        ),
        (
            ["task.min_target_length=8"],
            "error[CONF-LENGTH] task.min_target_length=8: "
            "must be less than task.max_target_length, 8",
        ),
    ],
)
def test_what_cannot_be_set_anew_is_said(words, says, finished):
    with pytest.raises(TunesmithError) as caught:
        load(finished, options=inference_options.parse_set_options(words)).predict(["a"])
    assert str(caught.value) == says


def test_the_probability_is_that_of_the_tokens(finished):
    stored = load(finished)
    text = rows_of(1, seed=7)[0]["story"]
    [answer] = stored.predict([text])
    task = stored.task
    [features] = task.encode({"text": text})
    batch = task.collate([features])
    with torch.no_grad():
        found = task.model.generate(**task.model_inputs(batch))
        logits = task.model(**task.model_inputs(batch), decoder_input_ids=found).logits
    shares = logits[0, :-1].softmax(-1).gather(1, found[0, 1:, None])[:, 0]
    assert answer["probability"] == pytest.approx(float(shares.log().mean().exp()), rel=1e-4)
    assert answer["tokens"] == len(shares)


def test_the_trivial_answer_is_the_commonest_target_of_the_train_split(folder):
    task, _, parts = built(folder)
    train = Dataset.from_dict({"target": [["a b"], ["c", "a b"], ["a b", "c"]]})
    answers = task.baseline(train, parts.rows.splits["validation"].to_list())
    assert [a["summary"] for a in answers] == ["a b"] * 16
    assert answers[0]["probability"] == pytest.approx(2 / 3)


def test_limits_of_what_is_written_are_kept(folder):
    task, data, _ = built(folder, "task.min_target_length=5", "task.max_target_length=6")
    batch = next(iter(data.val_dataloader()))
    for written in task.predict(batch):
        assert written.tokens in (5, 6)
        assert task.end not in written.ids[:-1]
    repeating, _, _ = built(folder, "task.max_target_length=8")
    sparing, _, _ = built(folder, "task.max_target_length=8", "task.no_repeat_ngram_size=1")
    assert any(len(set(w.ids)) < len(w.ids) for w in repeating.predict(batch))
    assert all(len(set(w.ids)) == len(w.ids) for w in sparing.predict(batch))


def test_length_penalty_is_one_of_beams(folder):
    def mean_length(penalty):
        how = ["task.num_beams=4", f"task.length_penalty={penalty}", "task.max_target_length=8"]
        task, data, _ = built(folder, *how)
        with torch.no_grad():  # so that ends are likely everywhere
            task.model.decoder.cls.predictions.bias[task.end] += 4.0
        batch = next(iter(data.val_dataloader()))
        return sum(written.tokens for written in task.predict(batch))

    assert mean_length(-5.0) < mean_length(5.0)


def test_tensorboard_shows_the_first_texts_at_each_validation(folder, finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(finished / "tensorboard"), {"tensors": 0})
    board.Reload()
    events = board.Tensors("val/samples/text_summary")
    assert len(events) == 6
    tables = [e.tensor_proto.string_val[0].decode().split("\n") for e in events]
    for table in tables:
        shown = [line.strip("| ").split(" | ")[:2] for line in table[2:]]
        assert shown == [[r["story"], r["gist"]] for r in rows_of(16, seed=1)[:4]]
    written = [[line.strip("| ").split(" | ")[2:] for line in table[2:]] for table in tables]
    assert written[0] != written[-1]


def test_a_run_is_the_base_of_another_and_of_any_other_task(finished, folder):
    trained = load(finished).task.model.state_dict()
    task, _, parts = built(folder, f"model.path={finished}")
    assert parts.model.own_head
    state = task.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.items())
    tied = task.model.encoder.embeddings is task.model.decoder.bert.embeddings
    assert not tied
    classes = load_model(resolve_model(str(finished), labels=["a", "b"], head=heads.SINGLE_LABEL))
    for name, tensor in classes.bert.state_dict().items():
        assert name.startswith("pooler.") or torch.equal(tensor, trained[f"encoder.{name}"])


@pytest.mark.parametrize("kind", ["electra", "roberta"])
def test_padding_changes_nothing_of_what_other_encoders_write(kind, folder, tmp_path):
    tiny_model(kind, tmp_path / "model")
    task, _, parts = built(folder, f"model.path={tmp_path}/model", "task.num_beams=2")
    rows = parts.rows.splits["validation"].to_list()
    features = [task.encode(row)[0] for row in rows]
    together = task.predict(task.collate(features))
    alone = [task.predict(task.collate([f]))[0] for f in features]
    assert [w.ids for w in together] == [w.ids for w in alone]
    task(task.collate(features)).loss.backward()
    assert all(p.grad is not None for p in task.parameters() if p.requires_grad)


@pytest.mark.torture
def test_two_ranks_and_pieces_take_the_steps_of_one(folder, tmp_path):
    how = ["model.hidden_dropout=0", "model.attention_dropout=0"]
    how += ["trainer.max_steps=4", "optimizer.lr=1e-3", "data.eval_batch_size=5"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.micro_batches=2"]
    found, scores = [], []
    for name, more in {"one": [], "two": [*ddp, "trainer.precision=32"]}.items():
        own = [*arguments(folder), *how, f"paths.runs={tmp_path}/runs", f"name={name}"]
        done = train([*own, *more])
        assert done.returncode == 0, done.stderr[-3000:]
        directory = only_run(tmp_path, name)
        found.append(checkpoint_io.read(directory / "checkpoints/last.ckpt"))
        scores.append(json.loads((directory / "metrics.json").read_text())["scores"])
    assert found[0]["global_step"] == found[1]["global_step"] == 4
    for name, tensor in found[0]["state_dict"].items():
        torch.testing.assert_close(found[1]["state_dict"][name], tensor, atol=1e-5, rtol=0)
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.torture
def test_learning_rates_are_searched(folder, tmp_path):
    _, summary = searched(tmp_path, [*arguments(folder), "trainer.max_epochs=2"])
    assert summary["metric"] == "val/rougeL"


def test_cnn_dailymail_is_read_from_a_folder_in_hub_layout(folder, tmp_path):
    (tmp_path / "hub/3.0.0").mkdir(parents=True)
    for seed, (split, count) in enumerate(SPLITS.items()):
        made = [
            {"article": r["story"], "highlights": f"{r['gist']}\n{r['gist']}", "id": f"{seed}{i}"}
            for i, r in enumerate(rows_of(count, seed))
        ]
        Dataset.from_list(made).to_parquet(f"{tmp_path}/hub/3.0.0/{split}-00000-of-00001.parquet")
    named = "".join(f"  - split: {split}\n    path: 3.0.0/{split}-*\n" for split in SPLITS)
    card = f"---\nconfigs:\n- config_name: 3.0.0\n  data_files:\n{named}---\n"
    (tmp_path / "hub/README.md").write_text(card)
    named = ["task=summarization", "data=cnn_dailymail", "model=base", "data.max_length=32"]
    named += [f"model.path={folder}/model", f"data.path={tmp_path}/hub", f"paths.runs={tmp_path}"]
    splits = load_inputs(resolved(runs.composed(*named))).rows.splits
    assert {split: len(rows) for split, rows in splits.items()} == SPLITS
    gist = rows_of(40, 0)[0]["gist"]
    assert splits["train"][0]["target"] == [f"{gist}\n{gist}"]


WRONG_INPUTS = {
    "a target longer than the model": (
        ["task.max_target_length=65"],
        "error[CONF-LENGTH] task.max_target_length=65: the model takes at most 64 tokens",
    ),
    "nothing between the limits": (
        ["task.min_target_length=8"],
        "error[CONF-LENGTH] task.min_target_length=8: must be less than task.max_target_length, 8",
    ),
    "an unknown kind of words": (
        ["task.rouge_words=german"],
        "error[CONF-CHOICE] task.rouge_words=german: must be one of english, any",
    ),
    "weights for classes": (
        ["loss.class_weights=inverse"],
        "error[CONF-LOSS] loss.class_weights=inverse: "
        "a vocabulary's tokens are no classes to weigh",
    ),
    "another loss": (
        ["loss=binary_cross_entropy"],
        "error[CONF-LOSS] loss=tunesmith.tasks.losses.BinaryCrossEntropy: "
        "Summarization learns by CrossEntropy",
    ),
    "no target column": (
        ["data.target=summary"],
        "error[DATA-COL] {folder}/train.jsonl: no column 'summary'; columns: story, gist; "
        "data.target=COLUMN names it",
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG_INPUTS))
def test_what_is_wrong_is_said_in_one_line(folder, case):
    changes, says = WRONG_INPUTS[case]
    assert str(runs.refused(composed(folder, *changes))) == says.format(folder=folder)


def test_sentences_stand_on_lines_of_their_own():
    assert in_lines("A cat sat. It slept!  Then: no.") == "A cat sat.\nIt slept!\nThen: no."
    assert in_lines("one\ntwo") == "one\ntwo"
    assert in_lines("") == ""
