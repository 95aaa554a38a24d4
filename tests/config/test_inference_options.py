"""Options of a finished run that may be set anew: plain values, each against its rule."""

import pytest

from tunesmith.config import inference_options
from tunesmith.errors import ConfigError


def test_values_are_plain_as_a_config_has_them() -> None:
    words = ["data.column_names=[a,b]", "data.sep=;", "task.num_beams=4", "data.text=body"]
    assert inference_options.parse_set_options(words) == {
        "data.column_names": ["a", "b"],
        "data.sep": ";",
        "task.num_beams": 4,
        "data.text": "body",
    }


def test_options_of_a_file_are_checked() -> None:
    words = ["data.header=none", "data.column_names=[a,b]"]
    read = inference_options.file_options(words)
    assert read == {"header": "none", "column_names": ["a", "b"]}
    for word, says in (
        ("data.header=no", "CONF-CHOICE.*must be one of auto, first, none"),
        ("data.column_names=a", "CONF-TYPE.*must be a list of columns"),
        ("data.batch_size=4", "CONF-KEY.*does not say how a file is read"),
    ):
        with pytest.raises(ConfigError, match=says):
            inference_options.file_options([word])
