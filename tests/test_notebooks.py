"""Each notebook runs from top to bottom on a small setting, and is stored without its outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SAYS = {
    "01_quickstart.ipynb": ["val/accuracy", "metrics.json", "scored twice"],
    "02_search.ipynb": ["val/accuracy", "report.html", "default", "python train.py "],
}
TINY = "data.limit=64 data.max_length=16 trainer.max_epochs=1 test=false callbacks.figures=false"


def execute(path: Path, folder: Path) -> str:
    """Run a notebook in a folder of its own and return all that it printed."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(folder))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS] == list(SAYS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs_and_shows_scores(path, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_NOTEBOOK", TINY)
    monkeypatch.setenv("TUNESMITH_NOTEBOOK_TRIALS", "3")
    printed = execute(path, tmp_path)
    for words in SAYS[path.name]:
        assert words in printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert [cell.execution_count for cell in code] == [None] * len(code)
