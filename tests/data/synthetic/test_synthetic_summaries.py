"""The made reports: always the same, no match in two splits, and all that a line needs in them."""

import re

from tunesmith.data.synthetic import summaries_rows as summaries

ROWS = summaries.rows()


def test_they_are_always_the_same():
    assert summaries.rows() == ROWS
    assert {name: len(rows) for name, rows in ROWS.items()} == summaries.SPLITS


def test_no_match_is_in_two_splits():
    lines = [row["summary"] for rows in ROWS.values() for row in rows]
    assert len(set(lines)) == len(lines)


def test_a_report_says_all_of_its_line_and_names_another_town_at_times():
    others = 0
    for row in ROWS["validation"]:
        found = re.fullmatch(r"(\w+) beat (\w+) (\w+) to (\w+) in (\w+)\.", row["summary"])
        winner, loser, more, fewer, town = found.groups()
        for word in (winner, loser, town, f"{more} to {fewer}"):
            assert len(re.findall(rf"\b{word}\b", row["text"])) == 1
        assert summaries.GOALS.index(more) > summaries.GOALS.index(fewer)
        others += sum(other in row["text"] for other in summaries.TOWNS) > 1
    assert others > len(ROWS["validation"]) / 2
