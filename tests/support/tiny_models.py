"""Small, randomly initialized model folders in hub layout, one for each architecture."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertTokenizer,
    DebertaV2Tokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from transformers.utils import logging as transformers_logging

transformers_logging.disable_progress_bar()  # a command's own lines are counted

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,  # 0.02 is for wide models; here it would drown every signal
}
HEADS = {
    None: AutoModel,
    "classification": AutoModelForSequenceClassification,
    "masked_lm": AutoModelForMaskedLM,
    "question_answering": AutoModelForQuestionAnswering,
}


def sentences(count: int, seed: int = 0) -> list[str]:
    """Make sentences of 4 to 12 words from a vocabulary of 200 made words."""
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.randint(4, 12))) for _ in range(count)]


def tiny_bert(folder: Path, **options: Any) -> Path:
    """Write a BERT into `folder` and return it; options as in `tiny_model`."""
    return tiny_model("bert", folder, **options)


def tiny_model(
    kind: str,
    folder: Path,
    *,
    head: str | None = None,
    labels: list[str] | None = None,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a model of one of `KINDS` with its tokenizer into `folder` and return it.

    `head` is None (the bare encoder), "classification" (with `labels`), "masked_lm" or
    "question_answering"; `config` changes the model's config (hidden_size=64).
    """
    small, tokenizer = KINDS[kind], TOKENIZERS[kind]()
    if labels is not None:
        small = small | {"id2label": dict(enumerate(labels))}
        small |= {"label2id": {label: i for i, label in enumerate(labels)}}
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in SPECIAL}
    settings = {"vocab_size": len(tokenizer), **special, **small, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HEADS[head].from_config(AutoConfig.for_model(**settings))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def hub_cache(folder: Path, cache: Path, name: str) -> str:
    """Put a folder into a hub cache (HF_HUB_CACHE) under `owner/name`; return its commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / f"models--{name.replace('/', '--')}"
    for part in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / part).mkdir(parents=True, exist_ok=True)
    (repository / "refs/main").write_text(commit)
    for number, file in enumerate(sorted(p for p in folder.iterdir() if p.is_file())):
        blob = repository / "blobs" / f"{number:040x}"
        blob.write_bytes(file.read_bytes())
        (repository / "snapshots" / commit / file.name).symlink_to(f"../../blobs/{blob.name}")
    return commit


def made_words(count: int = 200) -> list[str]:
    """Make pronounceable words, always the same ones."""
    dice = random.Random(0)
    words: dict[str, None] = {}
    while len(words) < count:
        syllables = [dice.choice("bdfklmnprstv") + dice.choice("aeiou") for _ in range(3)]
        words["".join(syllables[: dice.randint(1, 3)])] = None
    return list(words)


def word_pieces(**options: Any) -> PreTrainedTokenizerBase:
    # Made by hand, like the unigrams: both trainers break ties differently from run to run.
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    parts = [f"##{word}" for word in WORDS if len(word) == 2] + [f"##{c}" for c in LETTERS]
    pieces = [*special, *LETTERS, *parts, *WORDS]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    return BertTokenizer(vocab=vocabulary, model_max_length=64, **options)


def distilbert_tokens() -> PreTrainedTokenizerBase:
    return word_pieces(model_input_names=["input_ids", "attention_mask"])


def byte_pairs(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(sentences(200), trainer)
    return tokenizer


def roberta_tokens() -> PreTrainedTokenizerBase:
    trained = json.loads(byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]).to_str())["model"]
    merges: Any = [tuple(merge) for merge in trained["merges"]]
    return RobertaTokenizer(vocab=trained["vocab"], merges=merges, model_max_length=64)


def modern_tokens() -> PreTrainedTokenizerBase:
    tokenizer = byte_pairs(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def unigrams(special: list[str]) -> list[tuple[str, float]]:
    pieces = [f"▁{word}" for word in WORDS] + [word for word in WORDS if len(word) == 2]
    pieces += ["▁", *LETTERS]
    scores = [-5.0 - 5.0 / len(piece) for piece in pieces]
    return [(token, 0.0) for token in special] + list(zip(pieces, scores, strict=True))


def deberta_tokens() -> PreTrainedTokenizerBase:
    vocabulary = unigrams(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return DebertaV2Tokenizer(vocab=vocabulary, model_max_length=64)


def xlm_roberta_tokens() -> PreTrainedTokenizerBase:
    vocabulary = unigrams(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return XLMRobertaTokenizer(vocab=vocabulary, model_max_length=64)


LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789.,!?'-")
WORDS = made_words()
SPECIAL = ("pad", "bos", "eos", "cls", "sep")

DISTILBERT = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,
}
DEBERTA = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pooler_hidden_size": 32,
    "type_vocab_size": 0,
}
ROBERTA = SMALL | {"max_position_embeddings": 66, "type_vocab_size": 1}  # ids start at 2
MODERN = SMALL | {"global_attn_every_n_layers": 2, "local_attention": 16}

KINDS: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", **SMALL},
    "roberta": {"model_type": "roberta", **ROBERTA},
    "distilbert": {"model_type": "distilbert", **DISTILBERT},
    "deberta-v2": {"model_type": "deberta-v2", **SMALL, **DEBERTA},
    "electra": {"model_type": "electra", **SMALL, "embedding_size": 16},
    "modernbert": {"model_type": "modernbert", **MODERN},
    "xlm-roberta": {"model_type": "xlm-roberta", **ROBERTA},
}
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "bert": word_pieces,
    "roberta": roberta_tokens,
    "distilbert": distilbert_tokens,
    "deberta-v2": deberta_tokens,
    "electra": word_pieces,
    "modernbert": modern_tokens,
    "xlm-roberta": xlm_roberta_tokens,
}
