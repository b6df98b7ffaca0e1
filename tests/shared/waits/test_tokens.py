"""Tests of TokenSeal: only a key decrypts a token, and keys can be rotated."""

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


def test_an_encrypted_token_cannot_be_read() -> None:
    assert leaks(seal(OLD).encrypt(TOKEN)) == []


@pytest.mark.parametrize(
    ("sealed", "keys", "token"),
    [
        (seal(OLD).encrypt(TOKEN), [OLD], TOKEN),
        (seal(OLD).encrypt(TOKEN), [NEW, OLD], TOKEN),
        (seal(NEW, OLD).encrypt(TOKEN), [NEW], TOKEN),
        (seal(OTHER).encrypt(TOKEN), [OLD], None),
        ("nonsense", [OLD], None),
    ],
    ids=["the same key", "an older key", "encrypted with the newest key", "no key", "nonsense"],
)
def test_which_keys_decrypt_it(sealed: str, keys: list[str], token: Secret | None) -> None:
    assert seal(*keys).decrypt(sealed) == token


def test_the_keys_are_read_again_after_a_rotation() -> None:
    keys = [OLD]
    rotating = TokenSeal(lambda: [Secret(key) for key in keys])
    assert rotating.decrypt(rotating.encrypt(TOKEN)) == TOKEN
    keys.insert(0, NEW)
    assert rotating.decrypt(seal(NEW).encrypt(TOKEN)) == TOKEN


@pytest.mark.parametrize("keys", [[], ["nonsense"], [""]])
def test_invalid_keys(keys: list[str]) -> None:
    with pytest.raises(CredentialUnavailable, match="WAIT_TOKEN_KEYS_SECRET_NAME"):
        seal(*keys).encrypt(TOKEN)
