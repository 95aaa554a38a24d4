"""Values of some places put back among all of them."""

from torch import Tensor


def scatter_rows(values: Tensor, chosen: Tensor, empty: float = 0.0) -> Tensor:
    """Return values (N, ...) at the N places of `chosen` (...) that are true, `empty` elsewhere."""
    whole = values.new_full((*chosen.shape, *values.shape[1:]), empty)
    whole[chosen] = values
    return whole
