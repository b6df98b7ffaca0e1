"""The check for leaked secrets finds them."""

import base64

import pytest

from tests.support.canaries import leaks, secret


@pytest.mark.parametrize(
    "text",
    [
        f"the PAT is {secret('pat')}",
        "Basic " + base64.b64encode(f":{secret('pat')}".encode()).decode(),
        "Basic " + base64.b64encode(f"user:{secret('pat')}".encode()).decode(),
        "Basic " + base64.b64encode(secret("pat").encode()).decode(),
    ],
)
def test_a_leak_is_found_in_any_encoding(text: str) -> None:
    assert leaks(text)


def test_ordinary_text_is_not_a_leak() -> None:
    assert leaks("Basic authentication was refused with 203; run 42 queued") == []
