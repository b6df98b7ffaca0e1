"""Suggests the correct spelling of an unknown word."""

from collections.abc import Collection


def suggestion(word: str, known: Collection[str]) -> str:
    """Return ``did you mean 'x'?``, or the list of all known words if none is similar."""
    near = nearest(word, known)
    return f"known: {', '.join(sorted(known))}" if near is None else f"did you mean '{near}'?"


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the known word that is most similar, whatever its case, or None if none is similar.

    A known word with dots is also found by its last part.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - needed only for errors

    by_lowercase = {part.lower(): name for name in known for part in (name.rpartition(".")[2], name)}
    near = get_close_matches(word.lower(), by_lowercase, n=1)
    return by_lowercase[near[0]] if near else None
