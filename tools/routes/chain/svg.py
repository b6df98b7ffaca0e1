"""Draws the chain as a self-contained SVG picture (no script, font or other file) for light and dark pages. Pure."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Final

from tools.console import printable
from tools.routes.chain.chain import Chain
from tools.routes.chain.layout import LINE_HEIGHT, MARGIN, NAME_HEIGHT, PADDING, Box, Layout, Line, Point

_LEGEND: Final = 24
_AFTER_DESCRIPTION: Final = 2
"""The position of the styles among the elements of the picture."""
STYLES: Final = """
text { font: 13px ui-sans-serif,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif }
.name { font-weight: 600 }
.line { font: 11px ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace }
.head { font-size: 12px }
path { fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linejoin: round }
polygon { fill: currentColor }
.off { stroke-dasharray: 4 3 }
.sheet { fill: #ffffff; stroke: #d1d9e0 }
.event { fill: #ddf4ff; stroke: #54aeff }
.route { fill: #f6f8fa; stroke: #818b98 }
.pipeline { fill: #dafbe1; stroke: #4ac26b }
.text { fill: #1f2328 }
.quiet { fill: #59636e }
.link { color: #6e7781 }
.caused { color: #8250df }
.loop { color: #cf222e }
@media (prefers-color-scheme: dark) {
  .sheet { fill: #0d1117; stroke: #3d444d }
  .event { fill: #12233d; stroke: #388bfd }
  .route { fill: #151b23; stroke: #7d8590 }
  .pipeline { fill: #12261e; stroke: #2ea043 }
  .text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .link { color: #8d96a0 }
  .caused { color: #b78aff }
  .loop { color: #ff6a69 }
}
"""
_LINE_KINDS: Final = ("link", "caused", "loop")


def svg(chain: Chain, title: str) -> str:
    """Return the text of the picture.

    :param title: the picture's title, for screen readers.
    """
    root = drawing(chain, title)
    style = ET.Element("style")
    style.text = STYLES
    root.insert(_AFTER_DESCRIPTION, style)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"


def drawing(chain: Chain, title: str, remarks: Mapping[str, str] | None = None) -> ET.Element:
    """Return the picture as a tree of elements. It needs ``STYLES``.

    :param title: the picture's title, for screen readers.
    :param remarks: the last line in the box of a route, by its name.
    """
    layout = Layout(chain, remarks)
    notes = list(_notes(chain, layout))
    width, height = round(layout.width), round(layout.height + (_LEGEND if notes else 0))
    root = ET.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=str(width),
        height=str(height),
        role="img",
    )
    _child(root, "title", title)
    _child(root, "desc", "; ".join(_described(chain)))
    _markers(_child(root, "defs"))
    _rectangle(root, 0.5, 0.5, width - 1, height - 1, "sheet", radius=8)
    for line in layout.lines:
        _line(root, line)
    columns = {"event": layout.events, "route": layout.routes, "pipeline": layout.pipelines}
    for kind, boxes in columns.items():
        for box in boxes[:1]:
            _text(root, box.x, MARGIN + 4, kind, "head quiet")
        for box in boxes:
            _box(root, box, kind)
    _legend(root, notes, height)
    return root


def _described(chain: Chain) -> Iterator[str]:
    """Yield a description of each route, for screen readers."""
    for route in chain.routes:
        caused = ", ".join(cause.event for cause in route.causes)
        yield f"{route.event}: {route.name} queues {route.pipeline}" + (f", which causes {caused}" if caused else "")


def _notes(chain: Chain, layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield the kinds of lines that need a legend, each with its explanation."""
    if any(line.is_caused for line in layout.lines):
        yield "caused", "the pipeline causes the event"
    if chain.loops:
        yield "loop", "a loop without a cooldown"


def _markers(defs: ET.Element) -> None:
    for kind in _LINE_KINDS:
        marker = _child(
            defs, "marker", id=f"tip-{kind}", viewBox="0 0 8 8", refX="7", refY="4", markerWidth="7", markerHeight="7"
        )
        marker.set("orient", "auto")
        _child(marker, "polygon", points="0,0 8,4 0,8", **{"class": kind})


def _box(root: ET.Element, box: Box, kind: str) -> None:
    group = _child(root, "g")
    if box.shown_name != box.name:
        _child(group, "title", box.name)
    radius = box.height / 2 if kind == "event" else 4
    _rectangle(group, box.x, box.y, box.width, box.height, f"{kind} off" if box.is_off else kind, radius)
    y = box.y + PADDING + NAME_HEIGHT - 4
    if kind == "event":
        _text(group, box.x + box.width / 2, y, box.shown_name, "name text").set("text-anchor", "middle")
    else:
        _text(group, box.x + PADDING, y, box.shown_name, "name text")
    for number, line in enumerate(box.lines, 1):
        _text(group, box.x + PADDING, y + number * LINE_HEIGHT, line, "line quiet")


def _line(root: ET.Element, line: Line) -> None:
    kind = "loop" if line.is_in_loop else "caused" if line.is_caused else "link"
    start, end = line.points[0], line.points[-1]
    middle = (start[0] + end[0]) / 2
    curve = f"M{_at(start)} C{_at((middle, start[1]))} {_at((middle, end[1]))} {_at(end)}"
    drawn = "M" + " L".join(map(_at, line.points)) if line.is_caused else curve
    path = _child(root, "path", d=drawn, **{"class": f"{kind} off" if line.is_off else kind})
    path.set("marker-end", f"url(#tip-{kind})")


def _legend(root: ET.Element, notes: list[tuple[str, str]], height: float) -> None:
    x, y = float(MARGIN), height - MARGIN + 2
    for kind, words in notes:
        path = _child(root, "path", d=f"M{_at((x, y - 4))} L{_at((x + 28, y - 4))}", **{"class": kind})
        path.set("marker-end", f"url(#tip-{kind})")
        _text(root, x + 36, y, words, "head quiet")
        x += 36 + 6.2 * len(words) + 24


def _rectangle(parent: ET.Element, x: float, y: float, width: float, height: float, kind: str, radius: float) -> None:
    sizes = {"x": x, "y": y, "width": width, "height": height, "rx": radius}
    _child(parent, "rect", **{name: f"{size:g}" for name, size in sizes.items()}, **{"class": kind})


def _text(parent: ET.Element, x: float, y: float, text: str, kind: str) -> ET.Element:
    return _child(parent, "text", text, x=f"{x:g}", y=f"{y:g}", **{"class": kind})


def _child(parent: ET.Element, name: str, text: str = "", **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, name, attributes)
    child.text = printable(text) or None
    return child


def _at(point: Point) -> str:
    return f"{point[0]:g},{point[1]:g}"
