"""Reloads the app when one of its files changes, so that a developer need not restart the host.

As on the real host, `watchFiles` in host.json names files that are not code. The stand-in host also watches the file
that the setting `ROUTES_FILE` names, and `local.settings.json`. It loads the app again in the same process. What runs
ends on the old one. If the new one cannot be loaded, the old one stays in use.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from devstack.host import host_json, local_settings
from devstack.host.host import Host
from devstack.host.server import Served
from devstack.watched import FileState, state_of

_STABLE_SECONDS = 0.1  # an editor may write a file in several steps
_OWN_FOLDER = Path(__file__).resolve().parents[1]

State = Mapping[Path, FileState | None]


class Reloader:
    """Watches the files of an app, and replaces the app of a host that is being served."""

    def __init__(self, app_dir: Path, environ: Mapping[str, str], load: Callable[[], Host], served: Served) -> None:
        """
        :param environ: the environment without the app's settings.
        :param load: imports the app and makes a host for it. May raise anything.
        """
        self._app_dir = app_dir
        self._environ = dict(environ)
        self._load = load
        self._served = served
        self._folders = {app_dir}
        self._add_folders()
        self._state = self._look()

    def reload_if_changed(self) -> str | None:
        """Reload the app if a file has changed. Return what to tell the developer; None if nothing has changed."""
        state = self._look()
        if state == self._state:
            return None
        time.sleep(_STABLE_SECONDS)
        while (later := self._look()) != state:
            time.sleep(_STABLE_SECONDS)
            state = later
        what = f"devstack.host: {', '.join(sorted(self._changed(state)))} changed"
        try:
            self._served.replace(self._loaded())
        except Exception as exc:  # noqa: BLE001 - the app's own code may raise anything
            stays = "but the app cannot be loaded, so the old one stays in use until you correct it"
            return f"{what}, {stays} ({type(exc).__name__}):\n{exc}"
        finally:
            self._add_folders()
            self._state = {path: state.get(path, now) for path, now in self._look().items()}
        return f"{what}; the app was reloaded"

    def _changed(self, state: State) -> Iterator[str]:
        """Yield the names of the files that have changed."""
        for path in {**state, **self._state}:
            if state.get(path) != self._state.get(path):
                yield str(path.relative_to(self._app_dir)) if path.is_relative_to(self._app_dir) else path.name

    def _look(self) -> State:
        names = {host_json.FILE_NAME, local_settings.FILE_NAME, os.environ.get("ROUTES_FILE", "")} - {""}
        paths = {self._app_dir / name for name in names.union(self._served.host.settings.watch_files)}
        paths.update(path for folder in self._folders for path in folder.glob("*.py"))
        return {path: state_of(path) for path in paths}

    def _add_folders(self) -> None:
        """Watch the folders of all modules that the app has imported, also of one that could not be loaded."""
        self._folders.update(map(_folder, self._own_modules().values()))

    def _own_modules(self) -> dict[str, ModuleType]:
        return {name: module for name, module in list(sys.modules.items()) if self._is_own(module)}

    def _is_own(self, module: ModuleType) -> bool:
        folder = _folder(module)
        is_inside = folder.is_relative_to(self._app_dir) and not folder.is_relative_to(_OWN_FOLDER)
        return is_inside and "site-packages" not in folder.parts and module.__name__ != "__main__"

    def _loaded(self) -> Host:
        """Return a host for the app as it is now. If it cannot be loaded, restore modules and settings."""
        modules, settings = self._own_modules(), dict(os.environ)
        try:
            values = {**local_settings.read_values(self._app_dir), **self._environ}
            _replace(os.environ, values)
            for name in modules:
                del sys.modules[name]
            importlib.invalidate_caches()
            return self._load()
        except BaseException:
            self._add_folders()
            for name in self._own_modules():
                del sys.modules[name]
            sys.modules.update(modules)
            _replace(os.environ, settings)
            raise


def _folder(module: ModuleType) -> Path:
    """Return the folder of a module; the root if it has none. A package without code has only a path."""
    file = getattr(module, "__file__", None)
    return Path(next(iter(getattr(module, "__path__", ())), "/")) if file is None else Path(file).parent


def _replace(environ: "os._Environ[str]", values: Mapping[str, str]) -> None:
    for name in set(environ) - set(values):
        del environ[name]
    environ.update(values)
