"""Seeds without state: each use of randomness has one, derived from a seed and its own name."""

from hashlib import blake2b


def derive_seed(seed: int, *names: object) -> int:
    """Return a seed for one use of randomness, independent of all others (0 <= seed < 2**32)."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")
