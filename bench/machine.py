"""The machine and the software that figures were measured on, without which they mean nothing."""

import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("azure-functions", "azure-data-tables", "requests", "jmespath", "PyYAML")
_DISK_WRITES: Final = 50
_BUSY_LOAD: Final = 0.7


def describe(folder: Path) -> dict[str, str | float | int]:
    """Return the machine, the software versions and the time that the disk needs to store a page durably.

    :param folder: a folder on the disk where the measurements keep their journals.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "disk_sync_ms": _disk_sync_ms(folder / "sync"),
    }


def load_average() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def is_busy(load: float) -> bool:
    """Return whether other processes use the machine, which makes rows 1, 3, 5 and 6 worse."""
    return load > _BUSY_LOAD


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _disk_sync_ms(file: Path) -> float:
    seconds = []
    with file.open("wb", buffering=0) as output:
        for _ in range(_DISK_WRITES):
            started = time.perf_counter()
            output.seek(0)
            output.write(bytes(4096))
            os.fdatasync(output.fileno())
            seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) * 1000, 3)
