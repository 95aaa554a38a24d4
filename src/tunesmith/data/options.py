"""The `data` group: which rows are read, how they are split, and how they become batches."""

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from tunesmith.runtime.options import (
    ColumnOrColumns,
    Columns,
    Count,
    CountOrZero,
    Fraction,
    Labels,
    Number,
    Options,
    PathText,
    Seed,
    Text,
)


class SplitNames(Options):
    """What the source calls its splits."""

    train: Text = Field(description="The source's name of the train split.")
    validation: Text | None = Field(
        description="The source's name of the validation split; null: it has none."
    )
    test: Text | None = Field(description="The source's name of the test split; null: it has none.")


class SplitOptions(Options):
    """How rows are split, where the source lacks a split."""

    validation: Fraction = Field(
        description="The fraction of the train rows that becomes the validation split."
    )
    test: Fraction = Field(
        description="The fraction of the train rows that becomes the test split."
    )
    method: Literal["hash", "stratified"] = Field(
        description="hash: by the text alone, so new rows move no other; stratified: equal shares "
        "per label."
    )
    group: Text | None = Field(
        description="The column whose equal values keep rows in one split; null: the context of "
        "questions, else the text itself."
    )
    seed: CountOrZero = Field(description="The seed of the split; it is not the run's.")
    folds: Annotated[int, Ge(2)] | None = Field(
        description="The number of folds of a k-fold cross-validation; null: none."
    )
    fold: CountOrZero = Field(description="Which fold validates, from 0 to folds - 1.")


class DataOptions(Options):
    """Every key of `data`; any data set can set any of them."""

    train_file: PathText | None = Field(
        description="A file of train rows: csv, tsv, jsonl, parquet, txt, conll or SQuAD's json; "
        "it wins over `path`."
    )
    validation_file: PathText | None = Field(description="A file of validation rows.")
    test_file: PathText | None = Field(description="A file of test rows.")
    path: PathText | None = Field(
        description="A hub id, a folder in hub layout, a folder of text files, "
        "package:NAME/folder, or synthetic:NAME."
    )
    config: Text | None = Field(
        description="The hub data set's configuration, for example sst2 of glue."
    )
    revision: Text | None = Field(description="The hub data set's commit, tag or branch.")
    splits: SplitNames

    text: ColumnOrColumns = Field(
        description="The column of texts, or several, joined by a space: [title, body]. A dotted "
        "name, here and below, is a path into json or parquet: meta.title."
    )
    text_pair: ColumnOrColumns | None = Field(
        description="The column of second texts, for pairs; or several, as for text."
    )
    label: Text = Field(description="The column of labels.")
    words: Text = Field(
        description="NER: the column of words, a list, or a text split at white space."
    )
    tags: Text = Field(description="NER: the column of tags, one per word.")
    question: Text | None = Field(description="Extractive QA: the column of questions.")
    context: Text = Field(description="Extractive QA: the column of contexts.")
    answers: Text = Field(description="Extractive QA: the column of answers, as in SQuAD.")
    target: Text = Field(
        description="Summarization: the column of texts to write; of a list (JSON in csv) the "
        "first is learnt, and the nearest scored."
    )
    image: Text | None = Field(
        description="Multimodal: the column of images, paths or the bytes of files."
    )
    audio: Text | None = Field(
        description="Multimodal: the column of sounds, paths of wav files or their bytes."
    )
    numeric: Columns | None = Field(description="Multimodal: the columns of numbers.")
    categorical: Columns | None = Field(description="Multimodal: the columns of categories.")
    media: PathText | None = Field(
        description="The folder that relative paths in cells begin in; null: that of the file."
    )
    choices: ColumnOrColumns = Field(
        description="Multiple choice: one column of lists, or one column per choice."
    )
    negatives: ColumnOrColumns | None = Field(
        description="Retrieval: texts that look right for the query but are not, as for choices."
    )
    language: Text | None = Field(description="The column that says a row's language.")
    id: Text | None = Field(description="The column of ids; they must be unique.")

    languages: Labels | None = Field(
        description="Several languages: {language} in path, config and files stands for each."
    )
    train_languages: Labels | None = Field(
        description="The languages of the rows to learn from; null: all."
    )
    validation_languages: Labels | None = Field(
        description="The languages of the rows that choose the checkpoint; null: those of train."
    )
    language_temperature: Annotated[Number, Ge(1)] = Field(
        description="n^(1/temperature) is the share of an epoch of a language with n rows; high: "
        "equal shares."
    )

    labels: Labels | None = Field(
        description="Class names in order; null: read, sorted, from the train split."
    )
    label_from: Literal[0, 1] | None = Field(
        description="Multiple choice: the number of the first choice; null: 1 where the train "
        "split has 1 to n and never 0, else 0."
    )
    label_separator: Text | None = Field(
        description="The character between several labels, or tags, in one cell; null: white space "
        "between tags, no other."
    )
    format: (
        Literal[
            "csv", "jsonl", "json", "parquet", "conll", "conllu", "text", "squad", "labeled_lines"
        ]
        | None
    ) = Field(
        description="The format of files; null: by the extension, else by the content. "
        "labeled_lines: a label, white space, a text (also fastText's)."
    )
    sep: Text | None = Field(
        description="The separator of csv files; null: by the header, else by the extension "
        "(.tsv: tab). Of CoNLL files; null: blanks and tabs."
    )
    quoting: Literal["auto", "csv", "none"] = Field(
        description="csv: a cell that begins with a quote ends with the next; none: quotes are "
        "text (GLUE's tsv); auto: none where a file breaks the rules of csv by its quotes."
    )
    header: Literal["auto", "first", "none"] = Field(
        description="Whether the first row of csv files names the columns; auto: it does unless "
        "`column_names` are given."
    )
    column_names: Columns | None = Field(
        description="The columns of csv files without a header, in order; those beyond are not "
        "read."
    )
    encoding: Text = Field(description="The character encoding of text files.")
    encoding_errors: Literal["strict", "replace"] = Field(
        description="What to do with bytes that are not of the encoding."
    )
    shots_per_class: Count | None = Field(
        description="Few-shot: the number of different texts of each class to train on; null: all."
    )
    validation_shots_per_class: Count | None = Field(
        description="The same for the validation split."
    )
    shot_seed: Seed | None = Field(
        description="The seed that draws the shots; null: the run's `seed`."
    )
    limit: Count | None = Field(
        description="Rows per split, a seeded sample, for debugging; null: all."
    )

    on_missing_label: Literal["error", "drop"] = Field(
        description="What to do with a row without a label; an answer that its context does not "
        "have at its position is missing too."
    )
    on_empty_text: Literal["keep", "drop", "error"] = Field(
        description="What to do with a row without text."
    )
    on_truncation: Literal["truncate", "error"] = Field(
        description="What to do with a text that is longer than `max_length`."
    )
    leakage: Literal["warn", "error", "ignore"] = Field(
        description="What to do where two splits have the same text."
    )
    split: SplitOptions

    max_length: Annotated[int, Ge(3)] | None = Field(  # two special tokens and one of the text
        description="Tokens per text, special ones included; null: as many as the model takes."
    )
    truncation: Literal["right", "left", "middle", "windows"] = Field(
        description="What a long text loses: its right or left end, or its middle (a quarter of "
        "the head stays); windows: nothing, the logits of its windows are averaged."
    )
    batch_size: Annotated[int, Ge(1), Le(10_000_000)] = Field(
        description="Rows per optimizer step, over all devices and micro-batches."
    )
    eval_batch_size: Annotated[int, Ge(1), Le(10_000_000)] = Field(
        description="Rows per device in an evaluation."
    )
    bucket_window: CountOrZero = Field(
        description="Shuffled rows are sorted by length within so many batches; 0: not sorted."
    )
    workers: CountOrZero = Field(description="Loader processes per device.")
