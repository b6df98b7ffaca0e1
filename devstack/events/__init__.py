"""Sample events: every type in both schemas (``*.cloud.json`` are CloudEvents), and variants.

``make docs`` writes them. ``run-status-changed-monitor-breach`` and its CloudEvents twin are two signals of one monitor
run, so the default table queues one retraining for both.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent


def sample_names() -> list[str]:
    """The samples' names, sorted: ``model-deployed``, ``model-deployed.cloud``, …"""
    return sorted(path.name.removesuffix(".json") for path in _FOLDER.glob("*.json"))


def sample_text(name: str) -> str:
    """One event as JSON text.

    :raises FileNotFoundError: there is no such sample.
    """
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
