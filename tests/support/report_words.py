"""The text of a report, without its markup."""

import html
import re

from support import summaries
from tunesmith.reporting.html.page import page
from tunesmith.reporting.results import StudyResults


def words(made: summaries.Summary | StudyResults) -> str:
    """Return the text of a report."""
    study = made if isinstance(made, StudyResults) else summaries.results(made)
    text = re.sub(r"<br>|</(?:p|div|td|th|dt|dd)>", " ", page(study))
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", text)))
