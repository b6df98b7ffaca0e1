"""Tokens are kept so that only the holder of a key can read them, and keys can be rotated."""

import pytest
from cryptography.fernet import Fernet

from shared.credentials import Secret
from shared.errors import CredentialUnavailable
from shared.waits.tokens import TokenSeal
from tests.support.canaries import leaks, secret

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
TOKEN = Secret(secret("task-token"))


def seal(*keys: str) -> TokenSeal:
    return TokenSeal(lambda: [Secret(key) for key in keys])


def test_what_is_sealed_can_be_opened_and_not_read() -> None:
    sealed = seal(OLD).close(TOKEN)
    assert leaks(sealed) == []
    assert seal(OLD).open(sealed) == TOKEN


def test_rotation_the_newest_key_seals_and_all_open() -> None:
    sealed = seal(OLD).close(TOKEN)
    assert seal(NEW, OLD).open(sealed) == TOKEN
    assert seal(NEW).open(seal(NEW, OLD).close(TOKEN)) == TOKEN


def test_a_key_that_was_rotated_elsewhere_is_read_anew() -> None:
    keys = [OLD]
    rotating = TokenSeal(lambda: [Secret(key) for key in keys])
    assert rotating.open(rotating.close(TOKEN)) == TOKEN
    keys.insert(0, NEW)
    assert rotating.open(seal(NEW).close(TOKEN)) == TOKEN


def test_a_token_that_no_key_opens() -> None:
    assert seal(OLD).open(seal(OTHER).close(TOKEN)) is None
    assert seal(OLD).open("nonsense") is None


@pytest.mark.parametrize("keys", [[], ["nonsense"], [""]])
def test_keys_that_are_none(keys: list[str]) -> None:
    with pytest.raises(CredentialUnavailable, match="WAIT_TOKEN_KEYS_SECRET_NAME"):
        seal(*keys).close(TOKEN)
