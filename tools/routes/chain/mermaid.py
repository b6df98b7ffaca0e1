"""Draws the chain as a Mermaid flowchart, which GitHub, Azure DevOps wikis and many editors render. Pure.

Source of the syntax: https://mermaid.js.org/syntax/flowchart.html. Azure DevOps wikis support only ``graph``, an older
name of ``flowchart``.
"""

from collections.abc import Iterator
from typing import Final

from tools.routes.chain.chain import Chain, pipeline_label, pipeline_of
from tools.routes.chain.labels import route_lines

_LINE_WIDTH: Final = 44
# In Mermaid, a quotation mark ends a quoted string, #…; is a character, and the rest is passed on as HTML.
_ESCAPED: Final = {character: f"#{ord(character)};" for character in "#&\"'<>`\\{}[]|"}


def mermaid(chain: Chain) -> str:
    """Return the text of the flowchart."""
    return "\n".join(["graph LR", *(f"    {line}" for line in _lines(chain))]) + "\n"


def _lines(chain: Chain) -> Iterator[str]:
    events = {event: f"event{number}" for number, event in enumerate(chain.events)}
    pipelines = {pipeline: f"pipeline{number}" for number, pipeline in enumerate(chain.pipelines)}
    for event, node in events.items():
        yield f'{node}(["{_escaped(event)}"])'
    for number, route in enumerate(chain.routes):
        lines = "<br/>".join(_escaped(line) for line in (route.name, *route_lines(route, _LINE_WIDTH)))
        yield f'route{number}["{lines}"]'
    for pipeline, node in pipelines.items():
        yield f'{node}[["{_escaped(pipeline_label(pipeline, chain))}"]]'
    links = list(_links(chain, events, pipelines))
    for link, _ in links:
        yield link
    if in_loops := [str(number) for number, (_, is_in_loop) in enumerate(links) if is_in_loop]:
        yield f"linkStyle {','.join(in_loops)} stroke:#cf222e,stroke-width:3px"
    if off := [f"route{number}" for number, route in enumerate(chain.routes) if not route.enabled]:
        yield "classDef off stroke-dasharray:4 4"
        yield f"class {','.join(off)} off"


def _links(
    chain: Chain, events: dict[str, str], pipelines: dict[tuple[str, str, str], str]
) -> Iterator[tuple[str, bool]]:
    """Yield each arrow, and whether it is a step of a loop without a cooldown."""
    for number, route in enumerate(chain.routes):
        yield f"{events[route.event]} --> route{number}", False
        yield f"route{number} --> {pipelines[pipeline_of(route)]}", False
    for (pipeline, event), is_in_loop in chain.causes().items():
        yield f"{pipelines[pipeline]} -. causes .-> {events[event]}", is_in_loop


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in text)
