"""Rows of several languages: whose are read, how often each is drawn, how each is scored."""

import json
from collections import Counter
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from support.commands import make_inputs, only_run, train, tunesmith, use_inputs
from support.runs import composed, lines
from support.tiny_models import sentences
from tunesmith.config import resolved
from tunesmith.data.batching.loaders import plan_epoch
from tunesmith.data.prepare.languages import balanced
from tunesmith.data.synthetic import multilingual_rows as multilingual
from tunesmith.errors import ConfigError, DataError
from tunesmith.pipeline.inputs import load_inputs, read_rows
from tunesmith.tasks.metrics.per_language import by_language

LANGUAGES = ("en", "de", "fr")


def rows_of(language, count, seed=0):
    return [
        {"text": f"{language} {text}", "label": ("neg", "pos")[i % 2]}
        for i, text in enumerate(sentences(count, seed=seed + len(language) * 7 + ord(language[0])))
    ]


@pytest.fixture
def column(tmp_path):
    """Files with a column that says the language."""
    for seed, split in enumerate(("train", "validation", "test")):
        rows = [
            {**row, "lang": language}
            for language in LANGUAGES
            for row in rows_of(language, 12, seed)
        ]
        lines(tmp_path / f"{split}.jsonl", rows)
    names = [f"data.{s}_file={tmp_path}/{s}.jsonl" for s in ("train", "validation", "test")]
    return ["data=files", *names, f"paths.runs={tmp_path}/runs", "data.language=lang"]


@pytest.fixture
def files(tmp_path):
    """A file for each language; train has English alone."""
    for seed, split in enumerate(("train", "validation", "test")):
        for language in LANGUAGES if split != "train" else ("en",):
            lines(tmp_path / f"{split}.{language}.jsonl", rows_of(language, 12, seed))
    names = [f"'data.{s}_file={tmp_path}/{s}.{{language}}.jsonl'" for s in ("train", "test")]
    names += [f"'data.validation_file={tmp_path}/validation.{{language}}.jsonl'"]
    names = [name.replace("'data", "data").replace("=/", "='/") for name in names]
    return ["data=files", *names, f"paths.runs={tmp_path}/runs", "data.languages=[en,de,fr]"]


def counted(rows):
    return {split: Counter(data["language"]) for split, data in rows.splits.items()}


def test_a_column_says_the_language(column):
    whole = Counter(dict.fromkeys(LANGUAGES, 12))
    assert counted(read_rows(resolved(composed(*column)))) == dict.fromkeys(
        ("train", "validation", "test"), whole
    )


@pytest.mark.parametrize("source", ["column", "files"])
def test_one_is_learnt_from_and_chosen_by_and_all_are_tested(source, request):
    given = [*request.getfixturevalue(source), "data.train_languages=[en]"]
    found = counted(read_rows(resolved(composed(*given))))
    assert found["train"] == found["validation"] == {"en": 12}
    assert found["test"] == Counter(dict.fromkeys(LANGUAGES, 12))
    more = counted(read_rows(resolved(composed(*given, "data.validation_languages=[de,fr]"))))
    assert more["validation"] == {"de": 12, "fr": 12}


def test_a_split_cut_from_train_has_the_languages_it_is_told(column):
    given = [word for word in column if "validation_file" not in word and "test_file" not in word]
    given += ["data.split.validation=0.2", "data.split.test=0.3", "data.train_languages=[en,de]"]
    found = counted(read_rows(resolved(composed(*given, "data.validation_languages=[fr]"))))
    assert set(found["train"]) == {"en", "de"}
    assert set(found["validation"]) == {"fr"}
    assert set(found["test"]) == set(LANGUAGES)


def test_other_languages_make_other_rows(column):
    every = read_rows(resolved(composed(*column))).fingerprint
    assert read_rows(resolved(composed(*column, "data.train_languages=[en]"))).fingerprint != every
    assert read_rows(resolved(composed(*column))).fingerprint == every


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (
            ["data.train_languages=[xx]"],
            DataError,
            "train has no row in 'xx'; languages: de, en, fr",
        ),
        (
            ["data.language=null", "data.train_languages=[en]"],
            ConfigError,
            "error[CONF-LANGUAGE] data.train_languages=[en]: no column says a row's language",
        ),
        (
            ["data.languages=[en,de]"],
            ConfigError,
            "error[CONF-LANGUAGE] data.languages=[en,de]: no {language} in data.path, data.config",
        ),
    ],
)
def test_what_is_not_there_is_refused(column, more, error, message):
    with pytest.raises(error) as caught:
        read_rows(resolved(composed(*column, *more)))
    assert message in str(caught.value)


@pytest.mark.parametrize("language", [None, " "])
def test_a_row_must_say_its_language(column, tmp_path, language):
    rows = [{**row, "lang": "en"} for row in rows_of("en", 3)]
    lines(tmp_path / "test.jsonl", [*rows, {"text": "a", "label": "pos", "lang": language}])
    with pytest.raises(DataError, match=r"test\.jsonl:4: lang is empty"):
        read_rows(resolved(composed(*column)))


def test_files_of_other_columns_do_not_go_together(files, tmp_path):
    lines(tmp_path / "test.de.jsonl", [{"text": "a", "tag": "pos"}])
    with pytest.raises(DataError, match="columns or labels are not those of"):
        read_rows(resolved(composed(*files, "data.train_languages=[en]")))


# How often each is drawn


GROUPS = np.repeat([0, 1, 2], [800, 150, 50])


@pytest.mark.parametrize(
    ("temperature", "shares"),
    [(1, (0.8, 0.15, 0.05)), (10 / 3, (0.486, 0.294, 0.211)), (1e9, (1 / 3, 1 / 3, 1 / 3))],
)
def test_a_share_is_a_power_of_the_number_of_rows(temperature, shares):
    drawn = balanced(GROUPS, temperature, 1000, np.random.default_rng(0))
    expected = np.array([800, 150, 50]) ** (1 / temperature)
    counts = np.bincount(GROUPS[drawn])
    assert counts.sum() == len(drawn) == 1000
    assert np.abs(counts - 1000 * expected / expected.sum()).max() <= 1
    assert counts / 1000 == pytest.approx(shares, abs=0.01)
    for group in range(3):
        times = np.bincount(drawn, minlength=1000)[group == GROUPS]
        assert times.max() - times.min() <= 1


def test_an_epoch_is_a_function_of_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(3, 60, size=1000)
    order = partial(balanced, GROUPS, 5.0)

    def epoch(seed, number):
        return np.concatenate(plan_epoch(lengths, 16, 4, seed, number, order)).tolist()

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1)
    assert sorted(epoch(1, 0)) != list(range(1000))  # some more than once, some not at all


# How each is scored


class Exact:
    monitor: str = "accuracy"
    metrics: ClassVar = {"accuracy": "max"}

    def score(self, answers, rows):
        return {
            "accuracy": sum(a == r["label"] for a, r in zip(answers, rows, strict=True)) / len(rows)
        }


def test_each_language_has_scores_and_the_gap_is_between_what_was_learnt_and_the_rest():
    rows = [{"label": 1, "language": language} for language in ("de", "en", "en", "fr", "fr")]
    scores = by_language(Exact(), [0, 1, 1, 1, 0], rows, ["en"])
    assert scores == {
        "accuracy/de": 0.0,
        "accuracy/en": 1.0,
        "accuracy/fr": 0.5,
        "accuracy_gap": 0.75,
    }
    assert "accuracy_gap" not in by_language(Exact(), [0] * 5, rows, [])
    assert by_language(Exact(), [0], rows[:1], ["en"]) == {}


def test_what_is_better_when_lower_has_a_gap_of_the_same_sign():
    class Error(Exact):
        metrics: ClassVar = {"accuracy": "min"}

    rows = [{"label": 1, "language": language} for language in ("de", "en")]
    assert by_language(Error(), [0, 1], rows, ["en"])["accuracy_gap"] == -1.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tongues")
    make_inputs(folder)
    kept = [w for w in use_inputs(folder) if not w.startswith("data")]
    words = ["experiment=cross_lingual", *kept, "trainer.max_epochs=1", "data.max_length=32"]
    words += ["data.language_temperature=2", "data.train_languages=[qaa,qab]", "data.limit=120"]
    done = train([*words, f"paths.runs={folder}/runs"])
    assert done.returncode == 0, done.stderr[-3000:]
    return only_run(folder, "cross_lingual"), done.stdout


def test_a_run_ends_with_a_row_a_language(run):
    directory, said = run
    scores = json.loads((directory / "metrics.json").read_text())["scores"]
    each = [scores[f"test/accuracy/{language}"] for language in multilingual.LANGUAGES]
    assert scores["test/accuracy_gap"] == pytest.approx((each[0] + each[1]) / 2 - each[2])
    table = said[said.index("language ") :].splitlines()
    assert [line.split()[0] for line in table[1:6] if line.strip().startswith("qa")] == [
        "qaa",
        "qab",
        "qac",
    ]
    assert f"{each[2]:.4f}" in next(line for line in table if "qac" in line)


def test_evaluate_repeats_the_scores_of_each_language(run):
    directory, _ = run
    done = tunesmith(["evaluate", directory, "--split", "test", "--json"])
    assert done.returncode == 0, done.stderr[-3000:]
    scores = json.loads((directory / "metrics.json").read_text())["scores"]
    found = json.loads(done.stdout)
    assert {k: v for k, v in scores.items() if k.startswith("test/")} == found


# Data sets


def test_the_made_tongues_are_always_the_same_and_share_the_names_of_things():
    rows = multilingual.rows()
    assert rows == multilingual.rows()
    words = {
        language: {
            word
            for row in rows["train"]
            if row["language"] == language
            for word in row["text"].lower().rstrip(".").split()
        }
        for language in multilingual.LANGUAGES
    }
    things = {word for subject in multilingual.SUBJECTS for word in subject["what"]}
    assert len(words["qaa"] & words["qab"] & things) > 0.8 * len(things)
    assert len(words["qaa"] - words["qab"] - words["qac"]) > 60


def test_xnli_is_read_from_a_folder_in_the_layout_of_the_hub(tmp_path):
    make_inputs(tmp_path)
    names = ["entailment", "neutral", "contradiction"]
    features = Features(
        {"premise": Value("string"), "hypothesis": Value("string"), "label": ClassLabel(3, names)}
    )
    configs = []
    for language in ("en", "de"):
        parts = []
        for seed, split in enumerate(("train", "validation", "test")):
            texts = sentences(6, seed=seed + 50 * (language == "de"))
            rows = [
                {"premise": t, "hypothesis": f"{language} {t}", "label": i % 3}
                for i, t in enumerate(texts)
            ]
            place = tmp_path / f"hub/{language}/{split}-00000-of-00001.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows, features=features).to_parquet(str(place))
            parts.append(f"  - split: {split}\n    path: {language}/{split}-*\n")
        configs.append(f"- config_name: {language}\n  data_files:\n{''.join(parts)}")
    (tmp_path / "hub/README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    words = ["data=xnli", f"data.path={tmp_path}/hub", "data.languages=[en,de]", "model=base"]
    words += [f"model.path={tmp_path}/model", "data.max_length=32", f"paths.runs={tmp_path}/runs"]
    rows = load_inputs(resolved(composed(*words))).rows
    assert rows.labels == names
    assert counted(rows) == {
        "train": {"en": 6},
        "validation": {"en": 6},
        "test": {"en": 6, "de": 6},
    }
    assert rows.splits["test"][11]["text_pair"].startswith("de ")
