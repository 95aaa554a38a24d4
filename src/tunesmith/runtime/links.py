"""Where links lead: what a stranger's directory names must lie in it."""

from pathlib import Path


def is_inside(path: Path, *roots: Path) -> bool:
    """Tell whether a path, its links followed, lies in one of these folders; a loop does not."""
    try:
        target = path.resolve()
        return any(target.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError):  # a loop of links
        return False
