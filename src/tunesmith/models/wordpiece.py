"""A WordPiece vocabulary of one's own, and the folder from which a BERT begins with it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertConfig, BertTokenizer

from tunesmith.errors import ConfigError
from tunesmith.models.hf_logging import quiet

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MOST_LETTERS = 1000  # rarer ones are unknown, except that
COVERED = 0.9995  # of a text is known at least: Chinese has more (Kudo & Richardson, 2018)
PART = "##"  # what a piece inside a word begins with
LONGEST = 512  # tokens: BERT's positions
BATCH = 1000  # occurrences of a word that the trainer is given at once


def train(texts: Iterable[str], size: int, lowercase: bool) -> BertTokenizer:
    """Learn at most `size` pieces from texts; the same texts in any order give the same pieces.

    Raises ConfigError where the letters alone are more than that.
    """
    words = _count_words(texts, lowercase)
    letters, parts = _letters(words)
    fixed = [*SPECIAL, *letters, *(PART + letter for letter in parts)]
    if len(fixed) > size:
        what = f"special tokens and letters alone are {len(fixed)}"
        raise ConfigError("CONF-RANGE", f"--vocab-size {size}", what, "set it higher")
    # The trainer breaks ties by number, and numbers the pieces of one letter in the order of a
    # hash table, another one in each run. Told in advance, all of them have their number.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=fixed,
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        min_frequency=2,
        continuing_subword_prefix=PART,
        show_progress=False,
    )
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(_repeated(words), trainer)
    numbers = learner.get_vocab()
    pieces = {piece: numbers[piece] for piece in sorted(numbers, key=numbers.__getitem__)}
    return _tokenizer(pieces, lowercase)


def write(tokenizer: BertTokenizer, folder: Path) -> None:
    """Write the tokenizer, and the config of a BERT without weights, in hub layout."""
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=LONGEST)
    config.architectures = ["BertModel"]
    with quiet():
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _tokenizer(tokens: dict[str, int], lowercase: bool) -> BertTokenizer:
    return BertTokenizer(vocab=tokens, do_lower_case=lowercase, model_max_length=LONGEST)


def _count_words(texts: Iterable[str], lowercase: bool) -> Counter[str]:
    """Count words as BERT cuts them, before it looks into them."""
    backend = _tokenizer({piece: i for i, piece in enumerate(SPECIAL)}, lowercase).backend_tokenizer
    words: Counter[str] = Counter()
    for text in texts:
        plain = backend.normalizer.normalize_str(text)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(plain))
    return words


def _letters(words: Counter[str]) -> tuple[list[str], list[str]]:
    """Return the letters to know, sorted, and those of them that stand inside words."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    ranked = sorted(counts, key=lambda letter: (-counts[letter], letter))
    seen = list(accumulate(counts[letter] for letter in ranked))
    needed = bisect_left(seen, COVERED * seen[-1]) + 1 if seen else 0
    kept = set(ranked[: max(MOST_LETTERS, needed)])
    return sorted(kept), sorted({letter for word in words for letter in word[1:]} & kept)


def _repeated(words: Counter[str]) -> Iterator[str]:
    """Yield each word as often as it was counted, many at a time."""
    for word, count in words.items():
        for start in range(0, count, BATCH):
            yield " ".join([word] * min(BATCH, count - start))
