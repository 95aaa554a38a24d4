"""The made errands, scenes and reports: the same each time, right by their rules, in one split."""

import pytest

from tunesmith.data.synthetic import multiple_choice_rows as multiple_choice
from tunesmith.data.synthetic import retrieval_rows as retrieval
from tunesmith.data.synthetic import similarity_rows as similarity


@pytest.mark.parametrize("made", [multiple_choice, similarity, retrieval])
def test_they_are_always_the_same(made):
    assert made.rows() == made.rows()
    assert {name: len(rows) for name, rows in made.rows().items()} == made.SPLITS


def test_the_right_ending_is_of_the_place_and_new_to_each_split():
    right = {}
    for split, rows in multiple_choice.rows().items():
        for row in rows:
            [endings] = [
                theirs
                for begins, theirs in multiple_choice.PLACES
                if row["sent1"].endswith(tuple(begins))
            ]
            fits = [i for i in range(4) if row[f"ending{i}"] in endings]
            assert fits == [row["label"]]
            right.setdefault(split, set()).add(row[f"ending{row['label']}"])
        places = [row["label"] for row in rows]
        assert max(places.count(i) for i in range(4)) < 0.4 * len(places)
    assert not right["train"] & right["test"]
    assert not right["train"] & right["validation"]


def parts(text):
    """Read a scene back from what is told of it."""
    told = text.lower()
    found = {}
    for part, ways in similarity.PARTS.items():
        [found[part]] = [i for i, said in enumerate(ways) if any(w.lower() in told for w in said)]
    return found


def test_a_label_is_the_weight_of_what_agrees():
    rows = similarity.rows()["test"]
    for row in rows:
        one, other = parts(row["text"]), parts(row["text_pair"])
        same = sum(w for part, w in similarity.WEIGHTS.items() if one[part] == other[part])
        assert row["label"] == same
    assert {row["label"] for row in rows} == set(range(6))


def test_no_pair_of_scenes_is_in_two_splits():
    pairs = [
        frozenset((row["text"], row["text_pair"])) for s in similarity.rows().values() for row in s
    ]
    assert len(set(pairs)) == len(pairs)


def test_a_query_tells_its_report_in_other_words_and_negatives_differ():
    seen = []
    for rows in retrieval.rows().values():
        for row in rows:
            one = parts(row["passage"])
            assert parts(row["query"]) == one
            apart = [sum(one[p] != parts(n)[p] for p in one) for n in row["negatives"]]
            assert apart and set(apart) <= {1, 2}
            seen.append(tuple(one.values()))
    assert len(set(seen)) == len(seen)
