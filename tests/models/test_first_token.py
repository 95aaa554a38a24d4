"""The last layer computes the first token alone, and nobody can tell but by the clock."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForMultipleChoice, AutoModelForSequenceClassification
from transformers import PreTrainedModel as Model

from support.tiny_models import KINDS, tiny_bert
from tunesmith.models import heads
from tunesmith.models.encoder import encoder_layers, load_model
from tunesmith.models.first_token import LIKE_BERT, LIKE_DISTILBERT, skip_other_tokens
from tunesmith.models.spec import resolve_model

SPED_UP = (*LIKE_BERT, *LIKE_DISTILBERT)
LENGTHS = (9, 5, 2)


def model_of(kind: str, attention: str, head=AutoModelForSequenceClassification) -> Model:
    """Return a classifier without dropout, in train mode."""
    settings = KINDS.get(kind) or {**KINDS["roberta"], "model_type": kind}
    off = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")
    off += ("classifier_dropout", "seq_classif_dropout", "summary_last_dropout")
    torch.manual_seed(0)
    config = AutoConfig.for_model(**settings, vocab_size=50, pad_token_id=0)
    for name in off:
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return head.from_config(config, attn_implementation=attention).train()


def padded() -> dict[str, Tensor]:
    mask = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    for row, length in zip(mask, LENGTHS, strict=True):
        row[:length] = 1
    ids = torch.randint(5, 50, mask.shape, generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids * mask, "attention_mask": mask}


def learnt(model: Model, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits and the gradient of each parameter."""
    model.zero_grad()
    logits = model(**inputs).logits
    (logits**2).sum().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_same(whole: Model, inputs: dict[str, Tensor]) -> Model:
    """Compare with the model that computes all tokens; return the one that does not."""
    quick = deepcopy(whole)
    skip_other_tokens(quick, encoder_layers(quick)[-1])
    expected, gradients = learnt(whole, inputs)
    logits, others = learnt(quick, inputs)
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-5)
    assert others.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, atol=1e-6, rtol=1e-5, msg=name)
    return quick


def rows_of_last_block(model: Model, inputs: dict[str, Tensor]) -> int:
    """Return how many tokens of a row the last feed-forward block sees."""
    layer, seen = encoder_layers(model)[-1], []
    block = layer.ffn if hasattr(layer, "ffn") else layer.intermediate
    handle = block.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    model(**inputs)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", SPED_UP)
def test_logits_and_gradients_are_those_of_all_tokens(kind, attention):
    whole, inputs = model_of(kind, attention), padded()
    quick = assert_same(whole, inputs)
    assert rows_of_last_block(whole, inputs) == max(LENGTHS)
    assert rows_of_last_block(quick, inputs) == 1
    without_padding = {name: value[:1] for name, value in inputs.items()}
    assert_same(whole, without_padding)
    whole.gradient_checkpointing_enable({"use_reentrant": False})
    assert_same(whole, inputs)


@pytest.mark.parametrize("kind", ["bert", "electra", "distilbert", "roberta"])
def test_choices_are_scored_alike(kind):
    inputs = {name: value.unsqueeze(0) for name, value in padded().items()}
    quick = assert_same(model_of(kind, "eager", AutoModelForMultipleChoice), inputs)
    assert rows_of_last_block(quick, inputs) == 1


def test_another_pooling_or_architecture_is_left_as_it_is():
    mean = model_of("electra", "eager", AutoModelForMultipleChoice)
    mean.config.summary_type = mean.sequence_summary.summary_type = "mean"
    inputs = {name: value.unsqueeze(0) for name, value in padded().items()}
    assert rows_of_last_block(assert_same(mean, inputs), inputs) == max(LENGTHS)
    for kind in KINDS.keys() - set(SPED_UP):
        assert_same(model_of(kind, "eager"), padded())


@pytest.mark.parametrize(
    ("head", "tokens"), [(heads.SINGLE_LABEL, 1), (heads.TOKEN_CLASSIFICATION, max(LENGTHS))]
)
def test_a_loaded_model_skips_tokens_where_its_head_does_not_read_them(head, tokens, tmp_path):
    source = resolve_model(str(tiny_bert(tmp_path)), labels=["neg", "pos"], head=head)
    assert rows_of_last_block(load_model(source), padded()) == tokens
