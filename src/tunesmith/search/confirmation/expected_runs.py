"""How many trainings a confirmation takes, as far as that is known before it."""


def expected_blocks(candidates: int, seeds: int) -> list[int]:
    """Return the trainings of each block that is expected to run, one block after another.

    All of a block are handed out at once; together they are at most (candidates + 1) * seeds.
    """
    return [(candidates + 1) * seeds]
