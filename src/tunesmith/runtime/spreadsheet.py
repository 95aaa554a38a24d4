"""Cells of a csv file that a spreadsheet would run as formulas."""

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how such a cell begins


def quoted_formula(value: Any) -> Any:
    """Return a cell that a spreadsheet shows as it is; a number stays one."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
