"""One tab of the browser, used as people use it: by the names that a screen reader says, by mouse and by keyboard."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

_POLL_SECONDS: Final = 0.05
_SECONDS: Final = 60.0
# Source: the key codes of the specification of UI events, and the text that a key inserts.
_KEYS: Final = {"Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), " ": (32, " "), "ArrowDown": (40, "")}
_SHIFT: Final = 8


class Call(Protocol):
    """Calls a method of the protocol in the tab."""

    def __call__(self, method: str, /, **values: object) -> Mapping[str, Any]: ...


class BrowserFailed(Exception):
    """The browser has ended, refuses a command, or what was waited for does not happen."""


class NotOnThePage(BrowserFailed):
    """The page does not have an element with this role and name. The message lists the names that it has."""


class Tab:
    """One tab. :meth:`Chromium.tab` opens it."""

    def __init__(self, call: Call, wait_until: Callable[[Callable[[], bool], str], None]) -> None:
        self._call = call
        self._wait_until = wait_until
        self._loads = 0
        self.problems: list[str] = []
        """What the browser's console shows as errors: failed requests, violations of the policy, exceptions."""

    def prepare(self) -> None:
        """Let the browser report what happens in the tab."""
        for domain in ("Page", "Runtime", "Log", "DOM", "Accessibility"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(1440)

    def hear(self, event: str, values: Mapping[str, Any]) -> None:
        """Note what the browser reports."""
        match event, values:
            case "Page.loadEventFired", _:
                self._loads += 1
            case "Log.entryAdded", {"entry": {"level": "error", "text": text, **rest}}:
                self.problems.append(f"{text} {rest.get('url', '')}".rstrip())
            case "Runtime.exceptionThrown", {"exceptionDetails": details}:
                self.problems.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled", {"type": "error" | "assert", "args": arguments}:
                self.problems.append(" ".join(str(each.get("value")) for each in arguments))

    def open(self, url: str) -> None:
        """Open a URL, and return when the page is loaded."""
        with self.loading():
            self._call("Page.navigate", url=url)

    def back(self) -> None:
        """Go back as the browser's button does."""
        history = self._call("Page.getNavigationHistory")
        entry = history["entries"][history["currentIndex"] - 1]
        with self.loading():
            self._call("Page.navigateToHistoryEntry", entryId=entry["id"])

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Return at the end of the block when another page is loaded."""
        before = self._loads
        yield
        self._wait_until(lambda: self._loads > before, "loading a page")

    def resize(self, width: int, height: int = 900, scale: float = 1) -> None:
        """Set the size of the window, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """Prefer the color scheme ``light`` or ``dark``, and no animation."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        self._call(
            "Emulation.setEmulatedMedia", features=[{"name": name, "value": features[name]} for name in features]
        )

    def disable_scripts(self) -> None:
        """Run no scripts of the pages that are opened from now on."""
        self._call("Emulation.setScriptExecutionDisabled", value=True)

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript, and return its value. The page's policy does not apply."""
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserFailed(f"{expression[:80]}: {result['exceptionDetails']['exception']['description']}")
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        limit = time.monotonic() + _SECONDS
        while not self.run(expression):
            if time.monotonic() > limit:
                raise BrowserFailed(f"after {_SECONDS:g} s, this is still not true: {expression}")
            time.sleep(_POLL_SECONDS)

    @property
    def url(self) -> str:
        """The URL of the page."""
        return str(self.run("location.href"))

    @property
    def text(self) -> str:
        """The visible text of the page, with single spaces."""
        return " ".join(str(self.run("document.body.innerText")).split())

    @property
    def focused(self) -> str:
        """The role and the name of the element that has the focus, as ``link Routes``; empty if none has it."""
        for node in self._nodes("document.activeElement"):
            if any(each["name"] == "focused" and each["value"]["value"] for each in node.get("properties", ())):
                return f"{node['role']['value']} {node['name']['value']}"
        return ""

    def names(self, role: str) -> list[str]:
        """Return the names of all elements with a role, in their order on the page."""
        return [node["name"]["value"] for node in self._nodes("document", role=role)]

    def click(self, role: str, name: str) -> None:
        """Click the middle of an element with the mouse.

        :raises NotOnThePage: there is no such element.
        """
        node = self._find(role, name)
        self._call("DOM.scrollIntoViewIfNeeded", backendNodeId=node)
        x1, y1, x2, _, _, y3, *_ = self._call("DOM.getContentQuads", backendNodeId=node)["quads"][0]
        mouse = {"x": (x1 + x2) / 2, "y": (y1 + y3) / 2, "button": "left", "clickCount": 1}
        self._call("Input.dispatchMouseEvent", type="mousePressed", **mouse)
        self._call("Input.dispatchMouseEvent", type="mouseReleased", **mouse)

    def follow(self, role: str, name: str) -> None:
        """Click an element, and return when the page to which it leads is loaded."""
        with self.loading():
            self.click(role, name)

    def fill(self, role: str, name: str, text: str) -> None:
        """Replace the text of a field as if it was typed."""
        self._call("DOM.focus", backendNodeId=self._find(role, name))
        self.run("document.activeElement.select()")
        self._call("Input.insertText", text=text)

    def choose(self, name: str, option: str) -> None:
        """Choose an option of a list by its text."""
        self._call("DOM.focus", backendNodeId=self._find("combobox", name))
        self.run(
            f"(() => {{ const list = document.activeElement, all = [...list.options].map(each => each.text.trim());"
            f"list.selectedIndex = all.indexOf({json.dumps(option)});"
            "list.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys one after the other."""
        for key in keys:
            code, text = _KEYS.get(key, (ord(key[0].upper()), key))
            values: dict[str, object] = {
                "key": key,
                "windowsVirtualKeyCode": code,
                "modifiers": _SHIFT if shift else 0,
            }
            self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **values)
            self._call("Input.dispatchKeyEvent", type="keyUp", **values)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write a PNG file of the window, or of the whole page."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"clip": {**size, "scale": 1}} if whole else {}
        image = self._call("Page.captureScreenshot", captureBeyondViewport=whole, **clip)
        file.write_bytes(base64.b64decode(image["data"]))

    def _find(self, role: str, name: str) -> int:
        for node in self._nodes("document", role=role, accessibleName=name):
            return int(node["backendDOMNodeId"])
        raise NotOnThePage(f"{self.url} has no {role} {name!r}; it has {self.names(role)}")

    def _nodes(self, root: str, **wanted: str) -> list[Mapping[str, Any]]:
        """Return the nodes of the accessibility tree below an element that are not ignored."""
        element = self._call("Runtime.evaluate", expression=root)["result"]["objectId"]
        nodes = self._call("Accessibility.queryAXTree", objectId=element, **wanted)["nodes"]
        return [node for node in nodes if not node["ignored"]]
