"""What all tests share: the order in which they are begun."""

import pytest

LONG = (
    "tests/training",
    "tests/search",
    "tests/cli",
    "tests/test_notebooks.py",
    "tests/test_wheel.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that start real processes, so that none is left alone at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
