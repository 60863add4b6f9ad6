"""Names and secrets."""

from typing import Any

import pytest

from lamplighter.support.strings import MASK, is_slip, mask_secrets


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "sasl_plain_password",
        "sasl.password",
        "PASSPHRASE",
        "pwd",
        "token",
        "client_secret",
        "key",
        "api_key",
        "api-key",
        "apikey",
        "accessKey",
        "authorization",
        "dsn",
        "options",
        "producer_options",
    ],
)
def test_a_secret_is_known_by_its_key(key: str) -> None:
    assert mask_secrets({key: "hunter2"}) == {key: MASK}


@pytest.mark.parametrize("key", ["monkey", "keyword", "username", "passing", "pwdless", "optional", "queue"])
def test_other_keys_are_shown(key: str) -> None:
    assert mask_secrets({key: "hunter2"}) == {key: "hunter2"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@host:6379/1", f"redis://{MASK}@host:6379/1"),
        ("postgresql://ann:hun/ter2@host/db", f"postgresql://{MASK}@host/db"),
        ("postgresql://ann:hun@ter2@host/db", f"postgresql://{MASK}@host/db"),
        ("redis://:hun,ter2@host", f"redis://{MASK}@host"),
        ("https://hunter2@sentry.example/7", f"https://{MASK}@sentry.example/7"),
        (
            "postgresql://host/db?user=ann&password=hunter2&sslmode=require",
            f"postgresql://host/db?user=ann&password={MASK}&sslmode=require",
        ),
        ("host=db user=ann password=hunter2 port=5432", f"host=db user=ann password={MASK} port=5432"),
        ("a://u:p@one:1, b://u:p@two:2", f"a://{MASK}@one:1, b://{MASK}@two:2"),
        ("https://host/a@b", "https://host/a@b"),
        ("ann@host", "ann@host"),
        ("localhost:9092", "localhost:9092"),
    ],
)
def test_an_address_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert mask_secrets({"url": url, "all": [url]}) == {"url": shown, "all": [shown]}


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_a_secret_that_is_not_there_is_shown_as_such(nothing: Any) -> None:
    assert mask_secrets({"password": nothing}) == {"password": nothing}


@pytest.mark.parametrize("word", ["flush", "flsh", "fluush", "flash", "fulsh", "lush", "flus", "flushh"])
def test_a_word_with_a_slip_is_still_that_word(word: str) -> None:
    assert is_slip(word, "flush")


@pytest.mark.parametrize("word", ["", "flu", "hsulf", "flashh", "pause", "listen", "flushing", "push"])
def test_another_word_is_no_slip(word: str) -> None:
    assert not is_slip(word, "flush")
