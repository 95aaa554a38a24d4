"""What is a secret by its name, and how a text is shown without it."""

import pytest

from tunesmith.errors import ConfigError
from tunesmith.runtime.mask_secrets import (
    mask_plain_secrets,
    mask_text,
    names_secret,
    names_secret_variable,
)

SECRETS = [
    *("token", "hub_token", "hf-token", "accessToken", "x-api-key", "X-Api-Key", "api_key"),
    *("apiKey", "apikey", "WANDB_API_KEY", "authorization", "Authorization", "password"),
    *("db_password", "passwd", "passphrase", "client_secret", "secret", "credentials"),
    *("aws_secret_access_key", "private_key", "ssh_key", "logger.mlflow.headers.x-api-key"),
]
OTHERS = [
    *("tokens", "tokens_per_batch", "max_tokens", "tokenizer", "token_classification"),
    *("token_type_ids", "pad_token_id", "mask_token", "pad_token", "num_tokens", "mask_rate"),
    *("key", "monitor_key", "keyboard", "authority", "revision", "model.path"),
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_name_tells_a_secret(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_sounds_like_a_secret_is_none(name: str) -> None:
    assert not names_secret(name)


def test_variables_have_more_endings() -> None:
    assert all(map(names_secret_variable, ("SSH_KEY", "PGPASS_PASS", "MY_AUTH", "HF_TOKEN")))
    assert not any(map(names_secret_variable, ("DATA_DIR", "KEY", "OMP_NUM_THREADS")))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x=password=hunter2 y=1", "x=password=*** y=1"),
        (
            "{'x-api-key': 'a b', 'tokens_per_batch': 4096}",
            "{'x-api-key': ***, 'tokens_per_batch': 4096}",
        ),
        ("Authorization: Basic dXNlcg== sent", "Authorization: *** sent"),
        ("sent Bearer abcdef123456", "sent Bearer ***"),
        (
            "https://ghp_abc@host/x and postgresql://me:pw@h/db",
            "https://***@host/x and postgresql://***@h/db",
        ),
        ("data.max_tokens=512, tokenizer: wordpiece", "data.max_tokens=512, tokenizer: wordpiece"),
    ],
)
def test_a_text_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert mask_text(text) == shown


HF = "hf_" + "aB3" * 11  # put together here: no scanner takes it for a real one


HONEST = [
    *("hf_models/bert-tiny", "sk-learn", "ghp_x", "a?token=b"),
    *("/data/sk-learn-newsgroups-2024/train.csv", "sk-learn-bert-base-uncased-v1"),
    *("runs/sk-biert-finetuned-epoch-3", "sk-slovak-ud-treebank-v2.12", "ghs_abcdefghijklmnopq"),
    *("models/hf_sentencetransformersmini", "models/hf_bertbaseuncasedfinetunedonmytexts/x"),
    *("gho_storybooktrainingset/a.csv", "0123456789abcdef0123456789abcdef01234567"),
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sk-ant-api03-" + "aB3_" * 8 + "-x", "***"),
        (f"model.revision={HF}", "model.revision=***"),
        ("sk-proj-" + "aB3" * 10 + " x", "*** x"),
        ("a ghp_" + "x1" * 18 + ", b", "a ***, b"),
        ("glpat-" + "x1" * 10, "***"),
        ("AKIA" + "A1" * 8, "***"),
        ("eyJ" + "a" * 12 + "." + "b" * 12 + ".c", "***"),
        ("https://h/x?token=hunter2&page=2#a", "https://h/x?token=***&page=2#a"),
        ("s3://b/x?X-Amz-Signature=abc&size=3", "s3://b/x?X-Amz-Signature=***&size=3"),
        ("https://u:pw@h/x", "https://u:***@h/x"),
        *((word, word) for word in HONEST),
    ],
)
def test_a_secret_by_itself_is_masked_under_any_key(text: str, shown: str) -> None:
    assert mask_plain_secrets(text) == shown


def test_an_error_shows_no_secret_of_what_it_is_about() -> None:
    error = ConfigError("CONF-SYNTAX", f"logger.api_key=hunter2 [{HF}", f"near {HF}", f"not {HF}")
    assert str(error) == "error[CONF-SYNTAX] logger.api_key=*** [***: near ***; not ***"
