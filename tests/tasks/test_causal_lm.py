"""Going on with texts: blocks, perplexity, what is written, and what a saved run is good for."""

import json
import math
import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from support import runs
from support.commands import only_run
from support.tiny_models import WORDS, tiny_bert, tiny_model
from tunesmith import load
from tunesmith.config import resolved
from tunesmith.errors import TunesmithError
from tunesmith.models.spec import first_position
from tunesmith.pipeline.components import build_data, build_task
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.base import IGNORE
from tunesmith.tasks.causal_lm import CausalLanguageModeling


def document(number):
    """Make a document of words in their order; now and then with a sign that no token has."""
    dice = random.Random(number)
    start = dice.randrange(30)
    text = " ".join(WORDS[start : start + dice.randint(3, 40)])
    return f"{text} § {WORDS[number]}" if number % 5 == 0 else text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("causal")
    tiny_bert(folder / "model")
    (folder / "corpus.txt").write_text("\n\n".join(document(i) for i in range(48)))
    return folder


def composed(folder, *changes):
    own = ["task=causal_lm", "data=files", f"data.train_file={folder}/corpus.txt"]
    own += ["data.split.validation=0.3", "data.max_length=24", "data.batch_size=8"]
    own += ["model=base", f"model.path={folder}/model", f"paths.runs={folder}/runs"]
    own += ["callbacks.progress=false", "trainer.precision=32", "trainer.num_threads=1"]
    return runs.composed(*own, *changes)


def built(folder, *changes):
    cfg = composed(folder, *changes)
    parts = load_inputs(resolved(cfg))
    made, _ = build_task(resolved(cfg), parts)
    return made.eval(), build_data(resolved(cfg), parts, made), parts


def test_each_token_of_a_document_and_its_end_is_in_one_block(folder):
    task, data, parts = built(folder, "data.truncation=left")
    blocks = list(data.encoded["train"].features)
    assert data.encoded["train"].lengths.max() == 24
    for i, row in enumerate(parts.rows.splits["train"]):
        own = [b for b in blocks if b["row"] == i]
        whole = task.tokenizer(row["text"])["input_ids"]
        assert [t for b in own for t in b["input_ids"][1:]] == whole[1:]
        assert {b["input_ids"][0] for b in own} == {task.tokenizer.cls_token_id}
        told = [t for b in own for t in task.next_tokens(b["input_ids"])[:-1]]
        unknown = task.tokenizer.unk_token_id
        assert told == [IGNORE if t == unknown else t for t in whole[1:]]
    assert any(len(b["before"]) for b in blocks)


def reference(folder, texts, train):
    """Sum nats, hits and unigram nats by whole logits, block by block, with transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder)
    counts = np.ones(len(words))
    counts[words.all_special_ids] = 0
    for text in train:
        np.add.at(counts, words(text, add_special_tokens=False)["input_ids"], 1)
    counts[words.all_special_ids] = 0
    counts[words.sep_token_id] = len(train)
    nats, right, unigram, total = 0.0, 0, 0.0, 0
    for text in texts:
        ids = words(text)["input_ids"][1:]
        for at in range(0, len(ids), 23):
            block = torch.tensor([[words.cls_token_id, *ids[at : at + 23]]])
            with torch.no_grad():
                shares = model(input_ids=block).logits[0, :-1].double().log_softmax(-1)
            for line, token in zip(shares, block[0, 1:].tolist(), strict=True):
                if token != words.unk_token_id:
                    nats -= float(line[token])
                    right += int(line.argmax()) == token
                    unigram -= math.log(counts[token] / counts.sum())
                    total += 1
    return nats / total, right / total, unigram / total


@pytest.fixture(scope="module")
def finished(folder):
    run(composed(folder, "trainer.max_epochs=6", "optimizer.lr=1e-2", "name=causal"))
    return only_run(folder, "causal")


def test_perplexity_is_that_of_whole_logits(finished, folder):
    recorded = json.loads((finished / "metrics.json").read_text())
    scores = recorded["scores"]
    splits = load_inputs(resolved(composed(folder))).rows.splits
    texts = [splits[name]["text"][:] for name in ("validation", "train")]
    loss, accuracy, unigram = reference(finished / "model", *texts)
    assert [scores["val/lm_loss"], scores["val/loss"]] == pytest.approx([loss, loss], rel=1e-5)
    assert scores["val/perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert scores["val/lm_accuracy"] == pytest.approx(accuracy)
    assert scores["val/unigram_loss"] == pytest.approx(unigram, rel=1e-5)
    assert recorded["best"] == scores["val/lm_loss"] < scores["val/unigram_loss"] - 0.5
    baseline = recorded["baseline"]["val/perplexity"]
    _, _, expected = reference(finished / "model", texts[1], texts[1])
    assert baseline == pytest.approx(math.exp(expected), rel=1e-5)


def test_evaluate_repeats_what_validation_scored_and_predict_adds_up_to_it(finished, folder):
    recorded = json.loads((finished / "metrics.json").read_text())["scores"]
    stored = load(finished)
    again = stored.evaluate("validation")
    assert again == {name: recorded[name] for name in again}
    texts = load_inputs(resolved(composed(folder))).rows.splits["validation"]["text"][:]
    answers = stored.predict(texts)
    total = sum(a["tokens"] for a in answers)
    mean = sum(a["loss"] * a["tokens"] for a in answers) / total
    assert mean == pytest.approx(recorded["val/lm_loss"], rel=1e-6)
    assert set(answers[0]) == {"continuation", "loss", "accuracy", "unigram_loss", "tokens"}


def greedy(model, ids, new, end, suppressed):
    """Take the likeliest token each time, by whole passes without a cache."""
    written = []
    for _ in range(new):
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([[*ids, *written]])).logits[0, -1]
        scores[suppressed] = -math.inf
        written.append(int(scores.argmax()))
        if written[-1] == end:
            break
    return written


@pytest.mark.parametrize("kind", ["bert", "electra", "roberta"])
def test_texts_go_on_as_whole_passes_would(kind, folder, tmp_path):
    tiny_model(kind, tmp_path / "model")
    task, _, _ = built(folder, f"model.path={tmp_path}/model", "task.max_new_tokens=9")
    texts = [document(i) for i in range(6)] + [""]
    features = [task.encode({"text": text}) for text in texts]
    batch = task.collate([blocks[-1] for blocks in features])
    with torch.no_grad():
        tallies = task.predict(batch)
    special = sorted(task.special - {task.end})
    lengths = set()
    for text, tally in zip(texts, tallies, strict=True):
        ids = task.tokenizer(text, add_special_tokens=False)["input_ids"][-14:]
        lengths.add(len(ids))
        found = greedy(task.model, [task.start, *ids], 9, task.end, special)
        assert tally.written == (task.text(found),)
    assert len(lengths) > 2 and first_position(task.model.config) == (2 if "robe" in kind else 0)


def test_beams_find_the_likeliest_text(folder):
    task, _, _ = built(folder, "task.num_beams=339", "task.max_new_tokens=2")
    prompt = [task.start, *range(60, 66)]
    assert len(task.tokenizer) == 339
    with torch.no_grad():
        first = task.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
        pairs = torch.tensor([[*prompt, token] for token in range(339)])
        second = task.model(pairs).logits[:, -1].log_softmax(-1)  # (339, 339)
    sums = first[:, None] + second
    special = sorted(task.special)
    sums[special] = sums[:, special] = -math.inf
    best = divmod(int(sums.argmax()), 339)
    assert task.written([prompt], torch.device("cpu")) == [task.text(best)]
    assert best[0] != int(first.argmax())


def test_draws_are_a_texts_own_and_follow_the_shares(folder):
    task, _, _ = built(folder, "task.do_sample=true", "task.max_new_tokens=6", "task.temperature=3")
    cpu, prompts = torch.device("cpu"), [[task.start, *range(50, 52 + i % 5)] for i in range(9)]
    together = task.written(prompts, cpu)
    assert [task.written([prompt], cpu)[0] for prompt in prompts] == together
    greedily, _, _ = built(folder, "task.max_new_tokens=6")
    assert greedily.written(prompts, cpu) != together
    from tunesmith.tasks.text.generation import GumbelSampling

    shares = torch.tensor([0.5, 0.3, 0.15, 0.05])
    source = GumbelSampling([[7]])
    drawn = [int(source(torch.zeros(1, 1), shares.log()[None]).argmax()) for _ in range(4000)]
    times = torch.bincount(torch.tensor(drawn), minlength=4)
    assert ((times - 4000 * shares).abs() < 4 * (4000 * shares * (1 - shares)).sqrt()).all()


def test_few_of_the_likeliest_are_drawn_with_a_small_top_p(folder):
    narrow, _, _ = built(folder, "task.do_sample=true", "task.top_p=0.000001")
    greedily, _, _ = built(folder)
    prompts = [[narrow.start, *range(50, 55 + i)] for i in range(3)]
    cpu = torch.device("cpu")
    assert narrow.written(prompts, cpu) == greedily.written(prompts, cpu)


def test_tensorboard_shows_how_the_first_texts_go_on_at_each_validation(finished, folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(finished / "tensorboard"), {"tensors": 0})
    board.Reload()
    events = board.Tensors("val/samples/text_summary")
    assert len(events) == 6
    tables = [e.tensor_proto.string_val[0].decode().split("\n") for e in events]
    task = load(finished).task
    [row] = load_inputs(resolved(composed(folder))).rows.splits["validation"].select([0]).to_list()
    [block, *_] = task.encode(row)
    half = block["length"] // 2
    for table in tables:
        assert table[0] == "| text | wanted | written |"
        assert 2 < len(table) <= 6
        text, wanted, _ = table[2].strip("| ").split(" | ")
        assert text == task.text(block["input_ids"][: min(half, task.room)])
        assert wanted == task.text(block["input_ids"][min(half, task.room) :])
    assert tables[0] != tables[-1]
    assert "samples" not in load(finished).predict([row["text"]])[0]


def test_a_run_goes_on_with_its_own_head_and_plain_transformers_writes_the_same(finished):
    stored = load(finished)
    model = AutoModelForCausalLM.from_pretrained(finished / "model").eval()
    assert model.config.is_decoder
    state = stored.task.model.state_dict()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    text = " ".join(WORDS[:5])
    ids = stored.task.tokenizer(text, return_tensors="pt")["input_ids"][:, :-1]
    found = model.generate(ids)[0, ids.shape[1] :]
    written = stored.task.tokenizer.decode(found, skip_special_tokens=True).strip()
    assert stored.predict([text])[0]["continuation"] == written


def test_the_loss_of_a_batch_weighs_its_tokens(folder):
    task, data, _ = built(folder, "loss.label_smoothing=0.1")
    batch = next(iter(data.val_dataloader()))
    labels = batch["labels"]
    with torch.no_grad():
        output, logits = task(batch), task.logits(batch)
    smooth = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, label_smoothing=0.1, ignore_index=IGNORE
    )
    torch.testing.assert_close(output.loss, smooth)
    assert output.weight == (labels != IGNORE).sum()


WRONG_INPUTS = {
    "draws by beams": (
        ["task.do_sample=true", "task.num_beams=2"],
        "error[CONF-VALUE] task.do_sample=true: beams search for the likeliest text, so nothing is "
        "drawn; set task.num_beams=1",
    ),
    "no room for a text": (
        ["task.max_new_tokens=23"],
        "error[CONF-LENGTH] task.max_new_tokens=23: texts have 24 tokens: a start, one of the "
        "text, and what is new; at most 22, or raise data.max_length",
    ),
    "weights for classes": (
        ["loss.class_weights=inverse"],
        "error[CONF-LOSS] loss.class_weights=inverse: "
        "a vocabulary's tokens are no classes to weigh",
    ),
    "no new tokens": (
        ["task.max_new_tokens=0"],
        "error[CONF-RANGE] task.max_new_tokens=0: must be an integer >= 1",
    ),
    "a temperature of nothing": (
        ["task.temperature=0"],
        "error[CONF-RANGE] task.temperature=0: must be a number > 0",
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG_INPUTS))
def test_what_is_wrong_is_said_in_one_line(folder, case):
    changes, says = WRONG_INPUTS[case]
    assert str(runs.refused(composed(folder, *changes))) == says


def test_a_tokenizer_without_ends_is_refused(folder, tmp_path):
    tiny_bert(tmp_path / "model")
    tokens = json.loads((tmp_path / "model/tokenizer_config.json").read_text())
    tokens["sep_token"] = None
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps(tokens))
    parts = load_inputs(resolved(composed(folder, "task=mlm", f"model.path={tmp_path}/model")))
    parts.tokenizer.sep_token = None
    from tunesmith.tasks.base import TaskContext

    options = composed(folder).task
    with pytest.raises(TunesmithError, match=r"MODEL-TOKENIZER\] its tokenizer has no sep token"):
        CausalLanguageModeling.check(TaskContext(options, None, parts.tokenizer, 24, 64))
