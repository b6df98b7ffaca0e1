"""Any event without a module of its own: of another Azure service, or a CloudEvent of your own.

Nothing is known about its data, so conditions and placeholders can use only ``event`` and ``data``.
"""

from shared.events.event import AmlEvent, Occurrence, joined_identity
from shared.events.event_type import SAMPLE_GROUP, EventType, Names, Sample


def any_event(name: str) -> EventType:
    """Return the declaration of an event type that routes.yaml names in full."""
    return EventType(
        name,
        names={},
        identified_by="source and event id",
        meaning=_meaning,
        sample=_sample,
        sample_source=f"{SAMPLE_GROUP}/providers/Sample.Publisher/sources/sample-source",
    )


def _meaning(event: AmlEvent, names: Names) -> Occurrence:
    # The source in its own case, since the journal's key ignores the case, and the source may be any URI.
    return Occurrence(identity=joined_identity(event.source, event.id), names=names)


def _sample(number: int) -> Sample:
    return f"samples/{number}", {"number": number}
