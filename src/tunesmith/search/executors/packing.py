"""How many trials a machine, or each of its GPUs, trains at a time: as many as fit."""

from dataclasses import dataclass

RESERVE = 0.1  # share of the memory that stays free


def workers_that_fit(
    cores: int, threads: int, memory: int, peak: int, reserve: float = RESERVE
) -> int:
    """Return how many trials fit side by side, 1 at least.

    Each takes `threads` of the `cores` and `peak` bytes of `memory`, of which the share `reserve`
    stays free. A memory or a peak of 0 is not known, and limits nothing.
    """
    by_cores = max(1, cores // threads)
    if not memory or not peak:
        return by_cores
    return max(1, min(by_cores, int(memory * (1 - reserve)) // peak))


@dataclass
class Packing:
    """How many trials fit into one machine or GPU, by what those that ran have taken.

    On a GPU the first trial runs alone: it shows what one takes. The number of cores limits how
    many follow, as each trial keeps about one busy telling the GPU what to do.
    """

    cores: int
    threads: int
    memory: int  # bytes; 0: not known yet
    is_gpu: bool
    peak: int = 0  # bytes of the largest trial so far
    is_alone: bool = False  # one ran out of memory among others: until one ended well by itself
    most: int = 0  # that may be tried again after that; 0: as many as seem to fit

    @property
    def count(self) -> int:
        if self.is_alone or (self.is_gpu and not self.peak):
            return 1
        fit = workers_that_fit(self.cores, self.threads, self.memory, self.peak)
        return min(fit, self.most) if self.most else fit

    def take(self, peak: int, memory: int = 0, is_shared: bool = False) -> None:
        """Learn what a trial took that ended well, and how much memory there is for all.

        `is_shared`: others ran beside it, so it says nothing of one that runs alone.
        """
        self.peak, self.is_alone = max(self.peak, peak), self.is_alone and is_shared
        self.memory = self.memory or memory

    def run_out(self) -> None:
        """Let trials run alone, and then fewer side by side: one ran out of memory among others."""
        if not self.is_alone:
            self.most = max(1, self.count - 1)
        self.is_alone = True
