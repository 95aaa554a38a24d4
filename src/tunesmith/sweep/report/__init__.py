"""The report of a study: one section a file, put together by `page`."""

from tunesmith.sweep.report.page import page

__all__ = ["page"]
