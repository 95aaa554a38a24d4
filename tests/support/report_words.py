"""The text of a report, without its markup."""

import html
import re

from support import summaries
from tunesmith.reporting.html.page import page


def words(made: summaries.Summary) -> str:
    """Return the text of a report."""
    text = re.sub(r"<br>|</(?:p|div|td|th|dt|dd)>", " ", page(made))
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", text)))
