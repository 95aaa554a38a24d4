"""Which tokens are hidden from the model, and what stands in their place."""

from dataclasses import dataclass

import numpy as np

from tunesmith.tasks.base import IGNORE

NO_WORD = -1  # the word of a special token


@dataclass(frozen=True)
class Masks:
    """Draws masks as BERT does: of the chosen tokens 80 % are hidden, 10 % changed, 10 % kept.

    Devlin et al. (2019), 3.1. Tokens are chosen one by one, or word by word.
    """

    rate: float
    whole_word: bool
    hidden: int  # the id of the mask token
    ordinary: np.ndarray  # (N,) ids of all tokens that are not special

    @property
    def rounds(self) -> int:
        """How many rounds hide every token once, about as many at a time as `rate` says."""
        return max(2, round(1 / self.rate))

    def draw(
        self, ids: np.ndarray, words: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what the model reads, (T,), and labels (T,): the chosen ids, else IGNORE.

        `words` (T,) tells which tokens are of one word; special ones are of none.
        """
        chosen = self.choose(words, rng)
        share = rng.random(len(ids))
        other = self.ordinary[rng.integers(len(self.ordinary), size=len(ids))]
        given = np.where(share < 0.8, self.hidden, np.where(share < 0.9, other, ids))
        return np.where(chosen, given, ids), np.where(chosen, ids, IGNORE)

    def choose(self, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Choose `rate` of the tokens (T,), at least one; the last word chosen is taken whole."""
        names, sizes = np.unique(self.units(words), return_counts=True)
        sizes = sizes[names != NO_WORD]
        names = names[names != NO_WORD]
        order = rng.permutation(len(names))
        before = np.cumsum(sizes[order]) - sizes[order]
        taken = order[before < max(1, round(self.rate * int(sizes.sum())))]
        return np.isin(self.units(words), names[taken])

    def units(self, words: np.ndarray) -> np.ndarray:
        """Number what is hidden together, (T,): words, or tokens by their place."""
        places = np.arange(words.shape[-1])
        return words if self.whole_word else np.where(words == NO_WORD, NO_WORD, places)
