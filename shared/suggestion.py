"""Suggests the known word that an unknown one was probably meant to be."""

from collections.abc import Collection


def suggestion(word: str, known: Collection[str]) -> str:
    """``did you mean 'x'?``, or all that is known where nothing is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only where something is wrong

    by_lowercase = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), by_lowercase, n=1)
    return f"did you mean '{by_lowercase[near[0]]}'?" if near else f"known: {', '.join(sorted(known))}"
