"""Suggests the correct spelling of an unknown word."""

from collections.abc import Collection


def suggestion(word: str, known: Collection[str]) -> str:
    """Return ``did you mean 'x'?``, or the list of all known words if none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415 - needed only for errors

    by_lowercase = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), by_lowercase, n=1)
    return f"did you mean '{by_lowercase[near[0]]}'?" if near else f"known: {', '.join(sorted(known))}"
