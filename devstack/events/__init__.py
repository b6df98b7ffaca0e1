"""Sample events: every event type in both schemas, and variants. ``make docs`` writes them.

``*.cloud.json`` are CloudEvents. ``run-status-changed-monitor-breach`` and its CloudEvents counterpart are two signals
of one monitor run, so the default routes.yaml queues one retraining for both. ``blob-created-*`` are files of
Data Lake, a mark of a directory, and a name that must not reach a pipeline. No service of Azure sends
``orders-landed``.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent


def sample_names() -> list[str]:
    """Return the sorted names of the samples: ``model-deployed``, ``model-deployed.cloud``, …"""
    return sorted(path.name.removesuffix(".json") for path in _FOLDER.glob("*.json"))


def sample_text(name: str) -> str:
    """Return one sample event as a JSON string.

    :raises FileNotFoundError: no sample has this name.
    """
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
