"""Tests of TokenSeal: only a key decrypts a token, for its own wait only, and keys can be rotated."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet

from shared.credentials import Secret
from shared.errors import CredentialUnavailable, RequestRefused
from shared.waits.tokens import TokenSeal
from shared.waits.wait import Wait
from tests.support.canaries import leaks, secret
from tests.support.waits import a_task

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
TOKEN = Secret(secret("task-token"))
WAIT = Wait(a_task(), "run-1", None, datetime(2026, 11, 20, tzinfo=UTC), "", proven=True)


def seal(*keys: str) -> TokenSeal:
    return TokenSeal(lambda: [Secret(key) for key in keys])


def sealed(*keys: str) -> Wait:
    return replace(WAIT, sealed=seal(*keys).seal(WAIT, TOKEN))


def of_0_1_0(key: str, text: str = TOKEN.value) -> Wait:
    return replace(WAIT, sealed_token=Fernet(key).encrypt(text.encode()).decode())


def test_an_encrypted_token_cannot_be_read() -> None:
    assert leaks(sealed(OLD).document()) == []


@pytest.mark.parametrize(
    ("wait", "keys", "token"),
    [
        (sealed(OLD), [OLD], TOKEN),
        (sealed(OLD), [NEW, OLD], TOKEN),
        (sealed(NEW, OLD), [NEW], TOKEN),
        (sealed(OTHER), [OLD], None),
        (replace(WAIT, sealed="nonsense"), [OLD], None),
        (WAIT, [OLD], None),
        (of_0_1_0(OLD), [NEW, OLD], TOKEN),
        (of_0_1_0(OTHER), [OLD], None),
    ],
    ids=[
        "the same key",
        "an older key",
        "encrypted with the newest key",
        "no key",
        "nonsense",
        "no token",
        "an earlier version",
        "an earlier version, no key",
    ],
)
def test_which_keys_decrypt_it(wait: Wait, keys: list[str], token: Secret | None) -> None:
    assert seal(*keys).token_of(wait) == token


@pytest.mark.parametrize(
    "changed",
    [
        *(
            replace(
                sealed(OLD),
                task=a_task(**{**{name: getattr(WAIT.task, name) for name in WAIT.task.__slots__}, field: "x"}),
            )
            for field in WAIT.task.__slots__
        ),
        replace(sealed(OLD), run_id="run-2"),
        replace(sealed(OLD), workspace="ws"),
        replace(sealed(OLD), proven=False),
        replace(sealed(OLD), registered_at=datetime(2026, 11, 19, tzinfo=UTC)),
        replace(WAIT, sealed_token=sealed(OLD).sealed),
        replace(WAIT, sealed=of_0_1_0(OLD).sealed_token),
        replace(WAIT, sealed=of_0_1_0(OLD, "5").sealed_token),
        replace(WAIT, sealed=of_0_1_0(OLD, "[]").sealed_token),
        of_0_1_0(OLD, "[]"),
        of_0_1_0(OLD, ""),
    ],
)
def test_a_token_is_used_for_its_own_wait_only(changed: Wait) -> None:
    with pytest.raises(RequestRefused, match="another program has changed the record of the wait"):
        seal(OLD).token_of(changed)


def test_the_keys_are_read_again_after_a_rotation() -> None:
    keys = [OLD]
    rotating = TokenSeal(lambda: [Secret(key) for key in keys])
    assert rotating.token_of(replace(WAIT, sealed=rotating.seal(WAIT, TOKEN))) == TOKEN
    keys.insert(0, NEW)
    assert rotating.token_of(sealed(NEW)) == TOKEN


@pytest.mark.parametrize("keys", [[], ["nonsense"], [""]])
def test_invalid_keys(keys: list[str]) -> None:
    with pytest.raises(CredentialUnavailable, match="WAIT_TOKEN_KEYS_SECRET_NAME"):
        seal(*keys).seal(WAIT, TOKEN)
