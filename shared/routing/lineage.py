"""Tags that show the origin of a pipeline run to people and queries in Azure DevOps. Pure."""

from typing import Final

from shared.events.event import AmlEvent, Occurrence

MAX_TAG_LENGTH: Final = 400
"""Source: Azure DevOps documentation, "Naming restrictions", tags."""
MAX_MODELS: Final = 20
"""How many models of a deployment get a tag. Azure DevOps documents no limit, but an event may name 100,000."""


def lineage_tags(event: AmlEvent, occurrence: Occurrence) -> tuple[str, ...]:
    """Return the tags for the origin of a run, as far as the event contains it.

    They are ``aml-run:<id>``, ``model:<name>:<version>`` and ``event:<id>``. Commas and semicolons separate tags in
    Azure DevOps, so they are replaced with underscores. Of more than ``MAX_MODELS`` models, the first ones get a
    tag, and ``models:<number>`` counts all.
    """
    names = occurrence.names
    models = [names["model_id"]] if "model_id" in names else names.get("model_ids", ())
    tags = [f"aml-run:{names['run_id']}"] if "run_id" in names else []
    tags += [f"model:{model}" for model in models[:MAX_MODELS]]
    if len(models) > MAX_MODELS:
        tags.append(f"models:{len(models)}")
    tags.append(f"event:{event.id}")
    cleaned = ("".join(char if char.isprintable() and char not in ",;" else "_" for char in tag) for tag in tags)
    return tuple(tag[:MAX_TAG_LENGTH] for tag in cleaned)
