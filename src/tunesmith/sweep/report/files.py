"""The files of a study that one reads: summary.json, summary.csv, report.html."""

from pathlib import Path

from tunesmith import rundir
from tunesmith.sweep.analysis.ranking import Summary
from tunesmith.sweep.report.csv_file import csv_text
from tunesmith.sweep.report.page import page


def write(summary: Summary, folder: Path, excel_safe: bool = False) -> None:
    """Write them; with excel_safe no cell of the csv is a formula to a spreadsheet."""
    rundir.write_json(folder / "summary.json", summary)
    rundir.write_text(folder / "summary.csv", csv_text(summary, excel_safe))
    rundir.write_text(folder / "report.html", page(summary))
