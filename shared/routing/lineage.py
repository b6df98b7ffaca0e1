"""Where a pipeline run comes from, as tags that people and queries find it by in Azure DevOps. Pure."""

from typing import Final

from shared.events.event import AmlEvent, Occurrence

MAX_TAG_LENGTH: Final = 400
"""Source: Azure DevOps docs, naming restrictions, tags."""


def lineage_tags(event: AmlEvent, occurrence: Occurrence) -> tuple[str, ...]:
    """``aml-run:<id>``, ``model:<name>:<version>`` and ``event:<id>``, as far as the event knows them.

    Azure DevOps separates tags with commas and semicolons, so these become underscores.
    """
    names = occurrence.names
    models = [names["model_id"]] if "model_id" in names else names.get("model_ids", ())
    tags = [f"aml-run:{names['run_id']}"] if "run_id" in names else []
    tags += [f"model:{model}" for model in models]
    tags.append(f"event:{event.id}")
    return tuple(_clean(tag)[:MAX_TAG_LENGTH] for tag in tags)


def _clean(tag: str) -> str:
    return "".join("_" if character in ",;" or not character.isprintable() else character for character in tag)
