"""``manage.py page``: shows what happened in a browser."""

from contextlib import closing
from typing import Annotated, Final

import typer

from tools.console import Console
from tools.help_pages import epilog
from tools.options import installation_of

DEFAULT_PORT: Final = 7090

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "page": "open the page in a browser",
        "page --no-browser": "only show its address",
        "page --port 0": "on any free port",
    }
)

PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="The port; 0 for any free one.")]
NoBrowserOption = Annotated[bool, typer.Option("--no-browser", help="Only print the address of the page.")]


@app.command(epilog=EPILOG)
def page(context: typer.Context, *, port: PortOption = DEFAULT_PORT, no_browser: NoBrowserOption = False) -> None:
    """Open a page that shows what happened.

    The page runs on this machine until Ctrl-C, with the same settings and permissions as the other commands. Only this
    machine can reach it, and only a browser that opens the printed address: its token admits the browser. Keep the
    address to yourself; to share what you see, send the link of a page without the token.

    On another machine, for example over SSH, use --no-browser, and forward the port: ssh -L 7090:127.0.0.1:7090 HOST.
    Also use --no-browser on a machine that others use: they could see the address that a browser is started with.
    """
    # Flask and what the page reads are imported only for this command.
    from tools.page.application import make_app, prepare  # noqa: PLC0415
    from tools.page.page import Page  # noqa: PLC0415
    from tools.page.security import Session  # noqa: PLC0415
    from tools.page.serving import listen, open_browser, serve  # noqa: PLC0415

    installation, console = installation_of(context), Console()
    with listen(port) as listener:
        shown = Page(installation, listener.getsockname()[1], Session.new())

        def ready() -> None:
            console.line(f"the page is at {shown.url}")
            console.note("Ctrl-C ends it")
            if not no_browser:
                open_browser(shown.url)

        with closing(shown.source):
            website = make_app(shown)
            prepare(shown, website)
            serve(website, listener, ready)
