"""Windows of a text that is too long to be read at once."""


def overlap(stride: int | None, max_length: int) -> int:
    """Return how many tokens neighbouring windows share: a third of them where nothing is said."""
    return max_length // 3 if stride is None else stride
