"""One checkpoint as an encoder, as a decoder, and as both."""

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, EncoderDecoderModel

from support.tiny_models import KINDS, WORDS, tiny_bert, tiny_model
from tunesmith.errors import ModelError
from tunesmith.models import heads
from tunesmith.models.encoder import (
    embeddings,
    encoder_layers,
    head_parameters,
    load_model,
    save,
)
from tunesmith.models.encoder_decoder import tie_weights
from tunesmith.models.spec import max_tokens, resolve_model, tokenizer
from tunesmith.training.adapt.frozen_layers import frozen

PAIR, DECODER, CLASSES = heads.ENCODER_DECODER, heads.CAUSAL_LM, heads.SINGLE_LABEL
MASKS = heads.MASKED_LM
WRITERS = ["bert", "electra", "roberta", "xlm-roberta"]


def found(folder, head, **options):
    labels = ["a", "b"] if head == CLASSES else None
    return resolve_model(str(folder), labels=labels, head=head, **options)


def same(state, other, names):
    return all(torch.equal(state[name], other[name]) for name in names)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder of a model of each kind, with a head for masks."""
    folder = tmp_path_factory.mktemp("roles")
    for kind in WRITERS:
        tiny_model(kind, folder / kind, head="masked_lm")
    return folder


@pytest.mark.parametrize("kind", WRITERS)
def test_both_parts_of_a_pair_begin_as_the_checkpoint(kind, made):
    model = load_model(found(made / kind, PAIR))
    theirs = AutoModelForMaskedLM.from_pretrained(made / kind).state_dict()
    writer = model.decoder.state_dict()
    assert same(writer, theirs, theirs)  # the head for masks, too
    cross = [name for name in writer if ".crossattention." in name]
    assert set(writer) == set(theirs) | set(cross)
    assert len({name.split(".crossattention.")[0] for name in cross}) == 2
    base = AutoModel.from_pretrained(
        made / kind, **({} if kind == "electra" else {"add_pooling_layer": False})
    ).state_dict()
    assert same(model.encoder.state_dict(), base, base)
    assert (
        model.decoder.get_output_embeddings().weight is model.decoder.get_input_embeddings().weight
    )
    fresh = {name.removeprefix("decoder.") for name in head_parameters(model)}
    assert set(cross) <= fresh
    assert not any("embeddings" in name or "encoder.layer" in name for name in fresh - set(cross))


def test_a_bare_encoder_becomes_a_pair_as_well(tmp_path):
    model = load_model(found(tiny_bert(tmp_path / "model"), PAIR))
    theirs = AutoModel.from_pretrained(tmp_path / "model").state_dict()
    assert same(model.encoder.state_dict(), theirs, theirs)
    inner = model.decoder.base_model.state_dict()
    assert same(inner, theirs, [name for name in theirs if "pooler" not in name])


@pytest.mark.parametrize(("kind", "tied"), [(kind, kind != "bert") for kind in WRITERS])
def test_a_saved_pair_is_plain_and_whole(kind, tied, made, tmp_path, capfd):
    source = found(made / kind, PAIR)
    model = load_model(source).eval()
    if tied:
        tie_weights(model)
    save(model, tokenizer(source), tmp_path / "saved")
    capfd.readouterr()
    theirs = EncoderDecoderModel.from_pretrained(tmp_path / "saved").eval()
    assert "MISSING" not in capfd.readouterr().err
    state = model.state_dict()
    assert same(state, theirs.state_dict(), state)
    again = load_model(found(tmp_path / "saved", PAIR)).eval()
    assert same(state, again.state_dict(), state)
    batch = tokenizer(source)([" ".join(WORDS[:9])], return_tensors="pt")
    with torch.no_grad():
        ours = model(**batch, decoder_input_ids=batch["input_ids"]).logits
        assert torch.equal(ours, theirs(**batch, decoder_input_ids=batch["input_ids"]).logits)


@pytest.mark.parametrize("kind", WRITERS)
def test_weights_that_are_shared_learn_together(kind, made):
    apart, together = (load_model(found(made / kind, PAIR)) for _ in range(2))
    tie_weights(together)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (apart, together)]
    inner = sum(
        p.numel() for n, p in apart.decoder.base_model.named_parameters() if "crossatt" not in n
    )
    assert sizes[0] - sizes[1] == inner
    assert (
        together.decoder.get_output_embeddings().weight
        is together.encoder.get_input_embeddings().weight
    )
    given = [n for n in apart.state_dict() if "crossattention" not in n and "pooler" not in n]
    assert same(apart.state_dict(), together.state_dict(), given)
    assert head_parameters(apart) == head_parameters(together)


def test_a_pair_gives_back_its_parts(made, tmp_path):
    source = found(made / "bert", PAIR)
    model = load_model(source)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.add_(1.0)  # so that it is not the encoder
    save(model, tokenizer(source), tmp_path / "saved")
    classes = load_model(found(tmp_path / "saved", CLASSES))
    encoder = {f"bert.{n}": t for n, t in model.encoder.state_dict().items() if "pooler" not in n}
    assert same(classes.state_dict(), encoder, encoder)
    assert not classes.config.is_decoder
    assert classes.fresh_pooler == {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    writer = load_model(found(tmp_path / "saved", DECODER))
    own = writer.state_dict()
    assert same(own, model.decoder.state_dict(), own)
    assert not any("crossattention" in name for name in own)
    bare = load_model(found(tmp_path / "saved", heads.NO_HEAD)).state_dict()
    assert same(bare, model.encoder.state_dict(), bare)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_decoder_sees_only_what_comes_before_and_becomes_an_encoder_again(kind, made, tmp_path):
    source = found(made / kind, DECODER)
    model = load_model(source).eval()
    batch = tokenizer(source)([" ".join(WORDS[:9])], return_tensors="pt")
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][0, 5] = batch["input_ids"][0, 1]
    with torch.no_grad():
        differ = (model(**batch).logits - model(**other).logits).abs().amax(-1)[0] > 1e-4
    assert not differ[:5].any() and differ[5:].all()
    save(model, tokenizer(source), tmp_path / "saved")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "saved").config.is_decoder
    masks = load_model(found(tmp_path / "saved", MASKS)).eval()
    theirs = AutoModelForMaskedLM.from_pretrained(made / kind).eval()
    with torch.no_grad():
        assert torch.equal(masks(**batch).logits, theirs(**batch).logits)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(WRITERS)))
@pytest.mark.parametrize(("head", "does"), [(PAIR, "write texts too"), (DECODER, "continue texts")])
def test_a_model_without_such_code_is_refused(kind, head, does, tmp_path):
    folder = tiny_model(kind, tmp_path / "model")
    with pytest.raises(ModelError) as caught:
        found(folder, head)
    says = f"error[MODEL-CONFIG] {folder}: {kind} models are not encoders that can {does}; "
    assert str(caught.value) == says + "BERT, RoBERTa, ELECTRA and XLM-R can"


def test_dropout_is_set_in_both_parts(made, tmp_path):
    source = found(made / "bert", PAIR, hidden_dropout=0.3)
    assert [p.hidden_dropout_prob for p in (source.config.encoder, source.config.decoder)] == [
        0.3,
        0.3,
    ]
    save(load_model(source), tokenizer(source), tmp_path / "saved")
    again = found(tmp_path / "saved", PAIR, hidden_dropout=0.2)
    assert [p.hidden_dropout_prob for p in (again.config.encoder, again.config.decoder)] == [
        0.2,
        0.2,
    ]
    assert max_tokens(again) == 64


def test_of_a_pair_the_encoders_layers_are_frozen(made):
    class Holder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = load_model(found(made / "bert", PAIR))

    task = Holder()
    frozen(task, layers=1)
    fixed = {name for name, p in task.model.named_parameters() if not p.requires_grad}
    assert {name.rsplit(".", 2)[0] for name in fixed if "layer.0" in name} and not any(
        name.startswith("decoder.") or "layer.1" in name for name in fixed
    )
    assert len(encoder_layers(task.model)) == 2
    assert embeddings(task.model) is task.model.encoder.embeddings
    frozen(task, layers="all")
    learning = {name for name, p in task.model.named_parameters() if p.requires_grad}
    assert learning == head_parameters(task.model)
