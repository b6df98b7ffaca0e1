"""``python -m bench.screenshots``: take the screenshots of the operator's page in docs/, in headless Chromium.

They show the same week each time, seen at the same moment. The fonts are those of this machine.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from devstack.browser.chromium import Chromium, installation_problem
from devstack.browser.tab import Tab
from devstack.demo.week import Week, week
from devstack.events import sample_text
from devstack.http_server import serving
from tools.installation import Installation
from tools.page.application import make_app
from tools.page.page import Page
from tools.page.security import Session

DOCS: Final = Path(__file__).parent.parent / "docs"
FOLDER: Final = Path(tempfile.gettempdir()) / "nextstage"
"""Is shown on the page, so it has the same name each time."""
NOW: Final = datetime(2026, 11, 27, 15, 12, tzinfo=UTC)
EMULATOR_PORT, PAGE_PORT = 7080, 7090
DESKTOP, PHONE = 1440, 360
_COLORS: Final = 255


class Shot(NamedTuple):
    """One page.

    :param name: of the files in docs/; see ``files``.
    :param page: one of ``_PAGES``.
    :param schemes: the first one has no suffix.
    """

    name: str
    page: str
    width: int = DESKTOP
    height: int = 900
    schemes: tuple[str, ...] = ("light",)

    @property
    def files(self) -> dict[str, Path]:
        """The file for each color scheme."""
        suffixes = ["", *(f"-{scheme}" for scheme in self.schemes[1:])]
        return {
            scheme: DOCS / f"page-{self.name}{suffix}.png"
            for scheme, suffix in zip(self.schemes, suffixes, strict=True)
        }


SHOTS: Final = (
    Shot("overview", "overview", height=1080, schemes=("light", "dark")),
    Shot("overview-phone", "overview", PHONE, 780),
    Shot("record", "record", schemes=("light", "dark")),
    Shot("record-phone", "record", PHONE, 780, ("dark",)),
    Shot("routes", "routes", height=1340),
    Shot("try", "try"),
)


def main() -> int:
    """Take all screenshots, and return the exit code."""
    if (problem := installation_problem()) is not None:
        print(f"screenshots: {problem}", file=sys.stderr)
        return 1
    FOLDER.mkdir()
    try:
        with (
            week(FOLDER, NOW, port=EMULATOR_PORT) as lived,
            _page(lived) as url,
            Chromium() as chromium,
            chromium.tab() as tab,
        ):
            tab.open(url)
            _take(tab, url)
    finally:
        shutil.rmtree(FOLDER)
    return 0


@contextmanager
def _page(lived: Week) -> Iterator[str]:
    """Serve the page, and yield its first URL."""
    page = Page(Installation(FOLDER, lived.settings, lambda: NOW), PAGE_PORT, Session.new())
    with serving(make_app(page), PAGE_PORT):
        yield page.url


def _take(tab: Tab, url: str) -> None:
    base = url.partition("/?")[0]
    for shot in SHOTS:
        tab.resize(shot.width, shot.height)
        _PAGES[shot.page](tab, base)
        for scheme, file in shot.files.items():
            tab.prefer(scheme)
            tab.screenshot(file)
            _shrink(file)
            print(f"{file.relative_to(DOCS.parent)}: {file.stat().st_size:,} bytes")


def _open_record(tab: Tab, base: str) -> None:
    """Open a parked record that can be redriven."""
    tab.open(f"{base}/?state=parked&text=could+not+be+found")
    with tab.loading():
        tab.run("document.querySelector('main a[href^=\"/record/\"]').click()")


def _try_an_event(tab: Tab, base: str) -> None:
    tab.open(f"{base}/try")
    tab.fill("textbox", "Event, or an array of events, as JSON", sample_text("model-registered-experiment"))
    tab.follow("button", "Evaluate")


_PAGES: Final[Mapping[str, Callable[[Tab, str], None]]] = {
    "overview": lambda tab, base: tab.open(f"{base}/"),
    "record": _open_record,
    "routes": lambda tab, base: tab.open(f"{base}/routes"),
    "try": _try_an_event,
}


def _shrink(file: Path) -> None:
    """Replace a picture by one with a palette, which is a third of the size."""
    with Image.open(file) as image:
        small = image.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
