"""What a dump will take, before it begins and while it goes on: rows, bytes, time, and whether there is room for it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from feature_registry.errors import Exhausted
from feature_registry.model import MaterializationVersion
from feature_registry.settings import Settings

TEXT = 32  # bytes of a value whose type does not say how long it is
EVERY = 10.0  # seconds


def width(schema: pa.Schema) -> int:
    """Bytes of a row in memory, about; on disk it is compressed to half of that or less."""
    return sum(_width(field.type) for field in schema)


def _width(kind: pa.DataType) -> int:
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return TEXT


def check_room(settings: Settings, size: int, layouts: int) -> None:
    """Raises `Exhausted` where a disk lacks room: the managed root takes all layouts, the temporary folder what is
    sorted. A bucket has no limit that one could ask for.
    """
    root = settings.managed_root
    places = {"temporary folder": (Path(tempfile.gettempdir()), size)}
    if root.scheme == "file":
        places["managed root"] = (_existing(Path(root.key)), size * layouts)
    disks: dict[int, dict[str, tuple[Path, int]]] = defaultdict(dict)
    for name, (path, wanted) in places.items():
        disks[path.stat().st_dev][name] = (path, wanted)
    for disk in disks.values():
        needed = sum(wanted for _, wanted in disk.values())
        free = shutil.disk_usage(next(iter(disk.values()))[0]).free
        if free < needed:
            raise Exhausted(
                f"has {free:,} bytes free, and the dump may take {needed:,}",
                field=" and ".join(disk),
                value=", ".join(str(path) for path, _ in disk.values()),
                expected=f"{needed - free:,} bytes more",
            )


def late(settings: Settings, version: MaterializationVersion, rows: int | None) -> str | None:
    """Why so many rows are not read before CAVE drops the database."""
    if version.expires_on is None or rows is None:
        return None
    end = datetime.now(UTC) + timedelta(seconds=rows / settings.dump_rows_per_second)
    if end < version.expires_on:
        return None
    return (
        f"{rows:,} rows at {settings.dump_rows_per_second:,} a second would end on {end:%Y-%m-%d %H:%M} UTC, but "
        f"{version.datastack}@{version.mat_version} expires on {version.expires_on:%Y-%m-%d %H:%M} UTC"
    )


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


class Progress:
    """Says every few seconds how far the rows have come."""

    def __init__(self, say: Callable[[str], None], expected: int | None) -> None:
        self._say, self._expected = say, expected
        self._rows, self._begun = 0, time.monotonic()
        self._next = self._begun + EVERY

    def tell(self, rows: int) -> None:
        self._rows += rows
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            self._say(f"{self._rate()}{self._end()}")

    def end(self) -> None:
        self._say(f"all read: {self._rate()}")

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._begun, 1e-3)
        return f"{self._rows:,} rows in {seconds:,.1f} s, {self._rows / seconds:,.0f} rows/s"

    def _end(self) -> str:
        if not self._expected or not self._rows:
            return ""
        seconds = (time.monotonic() - self._begun) / self._rows * max(0, self._expected - self._rows)
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        return f", of {self._expected:,}; expected end {end:%Y-%m-%d %H:%M:%S} UTC"
