"""The files of a study that one reads; of report.html each section is a module."""
