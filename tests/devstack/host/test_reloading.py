"""`python -m devstack.host` reloads an app when one of its files changes."""

import json
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from devstack.host import HostError
from devstack.host.host_json import read_host_settings
from devstack.processes import RunningProcess, start
from tests.support.polling import wait_until
from tests.support.services.host_apps import write_app

APP = """
import os
from pathlib import Path
from words.greeting import GREETING

TABLE = Path("routes.yaml").read_text(encoding="utf-8")
if TABLE == "wrong":
    raise ValueError("routes.yaml has 1 problem")

@app.route("words")
def words(req: func.HttpRequest) -> str:
    return f"{GREETING} {TABLE} {os.environ.get('NAME', '-')}"

@app.route("origin")
def origin(req: func.HttpRequest) -> str:
    return os.environ["FROM"]

@app.route("imports")
def imports(req: func.HttpRequest) -> str:
    import words.greeting
    return words.greeting.GREETING

@app.route("waits")
def waits(req: func.HttpRequest) -> str:
    Path("waiting").touch()
    while not Path("go").exists():
        time.sleep(0.05)
    return TABLE
"""


class App:
    def __init__(self, folder: Path) -> None:
        self.folder = write_app(folder / "app", APP)
        self._log = folder / "host.log"
        self.write("routes.yaml", "first")
        self.write("words/greeting.py", "GREETING = 'hello'")
        self.write("host.json", json.dumps({"watchFiles": ["routes.yaml"]}))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def start(self, *arguments: str) -> RunningProcess:
        arguments = ("--app-dir", str(self.folder), *arguments)
        return start("devstack.host", *arguments, env={"FROM": "shell"}, cwd=self.folder, log=self._log)

    def tells(self, line: str, times: int = 1) -> None:
        """Wait until a line that tells of a change was printed; assert that it is the last one of this kind."""
        wait_until(lambda: self._log.read_text(encoding="utf-8").count(line) == times)
        told = [one for one in self._log.read_text(encoding="utf-8").splitlines() if " changed" in one]
        assert told[-1].startswith(f"devstack.host: {line}")


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


def test_changes_of_data_code_and_settings(app: App) -> None:
    with app.start() as host:

        def words() -> str:
            return requests.get(f"{host.url}/api/words", timeout=60).text

        assert words() == "hello first -"
        app.write("routes.yaml", "second table")
        app.tells("routes.yaml changed; the app was reloaded")
        assert words() == "hello second table -"
        app.write("words/greeting.py", "GREETING = 'good morning'")
        app.tells("words/greeting.py changed; the app was reloaded")
        assert words() == "good morning second table -"
        app.write("new/folder.py", "GREETING = 'hi'")
        app.write("words/greeting.py", "from new.folder import GREETING")
        app.tells("words/greeting.py changed; the app was reloaded", times=2)
        assert words() == "hi second table -"
        app.write("new/folder.py", "GREETING = 'good morning'")
        app.tells("new/folder.py changed; the app was reloaded")
        app.write("local.settings.json", json.dumps({"Values": {"NAME": "you", "FROM": "file"}}))
        app.tells("local.settings.json changed; the app was reloaded")
        assert words() == "good morning second table you"
        assert requests.get(f"{host.url}/api/origin", timeout=60).text == "shell", "the environment comes first"


def test_mistakes_leave_the_app_in_use_until_they_are_corrected(app: App) -> None:
    with app.start() as host:

        def words() -> str:
            return requests.get(f"{host.url}/api/words", timeout=60).text

        app.write("routes.yaml", "wrong")
        app.tells("routes.yaml changed, but the app cannot be loaded, so the old one stays in use until you correct it")
        assert words() == "hello first -"
        app.write("routes.yaml", "right")
        app.tells("routes.yaml changed; the app was reloaded")
        assert words() == "hello right -"
        app.write("local.settings.json", "{")
        app.tells("local.settings.json changed, but the app cannot be loaded")
        app.write("local.settings.json", json.dumps({"Values": {"NAME": "me"}}))
        app.tells("local.settings.json changed; the app was reloaded")
        assert words() == "hello right me"
        app.write("others/more.py", "MORE = ")
        app.write("words/greeting.py", "from others.more import MORE\nGREETING = MORE")
        app.tells("words/greeting.py changed, but the app cannot be loaded")
        assert words() == "hello right me"
        app.write("others/more.py", "MORE = 'good evening'")
        app.tells("others/more.py changed; the app was reloaded")
        assert words() == "good evening right me"


def test_after_a_mistake_the_old_app_has_its_modules_and_settings(app: App) -> None:
    with app.start() as host:

        def answer(function: str) -> str:
            return requests.get(f"{host.url}/api/{function}", timeout=60).text

        app.write("words/greeting.py", "GREETING = ")
        app.tells("words/greeting.py changed, but the app cannot be loaded")
        app.write("local.settings.json", json.dumps({"Values": {"NAME": "you"}}))
        app.tells("local.settings.json changed, but the app cannot be loaded")
        assert (answer("words"), answer("imports")) == ("hello first -", "hello")


def test_another_table_is_watched(app: App) -> None:
    app.write("local.settings.json", json.dumps({"Values": {"ROUTES_FILE": "others/table.yaml"}}))
    app.write("others/table.yaml", "")
    with app.start():
        app.write("others/table.yaml", "second")
        app.tells("others/table.yaml changed; the app was reloaded")


def test_what_runs_ends_on_the_old_app(app: App) -> None:
    with app.start() as host, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, f"{host.url}/api/waits", timeout=60)
        wait_until((app.folder / "waiting").exists)
        app.write("routes.yaml", "second table")
        app.tells("routes.yaml changed; the app was reloaded")
        (app.folder / "go").touch()
        assert answer.result().text == "first"
        assert requests.get(f"{host.url}/api/waits", timeout=60).text == "second table"
        assert host.stop() == 0


def test_the_threads_of_the_old_app_end(app: App) -> None:
    code = """
        marks = Path("marks")
        is_over = threading.Event()

        def mark():
            while not is_over.wait(0.05):
                with marks.open("a", encoding="utf-8") as file:
                    file.write(f"{TABLE}\\n")

        threading.Thread(target=mark, daemon=True).start()
        app.end_threads = is_over.set
        """
    write_app(app.folder, APP + textwrap.dedent(code))
    marks = app.folder / "marks"
    with app.start() as host:
        wait_until(marks.exists)
        app.write("routes.yaml", "second table")
        app.tells("routes.yaml changed; the app was reloaded")
        marks.unlink()
        wait_until(lambda: marks.exists() and marks.read_text(encoding="utf-8").count("second table") >= 5)
        assert marks.read_text(encoding="utf-8").count("first") <= 1, "one may have been on its way"
        assert host.stop() == 0


def test_it_can_be_switched_off(app: App) -> None:
    with app.start("--no-reload") as unchanged, app.start() as reloading:
        app.write("routes.yaml", "second table")
        app.tells("routes.yaml changed; the app was reloaded")
        assert requests.get(f"{reloading.url}/api/words", timeout=60).text == "hello second table -"
        assert requests.get(f"{unchanged.url}/api/words", timeout=60).text == "hello first -"


@pytest.mark.parametrize("names", ["routes.yaml", [1]])
def test_watch_files_that_are_no_names(app: App, names: object) -> None:
    app.write("host.json", json.dumps({"watchFiles": names}))
    with pytest.raises(HostError, match="watchFiles must be a list of file names"):
        read_host_settings(app.folder)
