"""The files of a study that one reads: summary.json, summary.csv, report.html."""

from pathlib import Path

from tunesmith import runs
from tunesmith.reporting.html.page import page
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.summary_csv import csv_text


def write(study: StudyResults, folder: Path, excel_safe: bool = False) -> None:
    """Write them; with excel_safe no cell of the csv is a formula to a spreadsheet."""
    runs.write_json(folder / "summary.json", study.model_dump())
    runs.write_text(folder / "summary.csv", csv_text(study, excel_safe))
    runs.write_text(folder / "report.html", page(study))
