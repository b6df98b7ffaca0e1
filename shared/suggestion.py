"""Suggests the correct spelling of an unknown word."""

from collections.abc import Collection


def suggestion(word: str, known: Collection[str]) -> str:
    """Return ``did you mean 'x'?``, or the list of all known words if none is similar.

    A known word with dots is also found by its last part.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - needed only for errors

    by_lowercase = {part.lower(): name for name in known for part in (name.rpartition(".")[2], name)}
    near = get_close_matches(word.lower(), by_lowercase, n=1)
    return f"did you mean '{by_lowercase[near[0]]}'?" if near else f"known: {', '.join(sorted(known))}"
