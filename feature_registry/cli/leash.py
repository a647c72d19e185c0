"""`python -m feature_registry.cli.leash MODULE ARGUMENTS...` runs a module until its starter is gone, however that
ended: standard input is a pipe that the starter holds open and never writes to. To be started in a session of its own.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

STOPPED_WITHIN = 20  # seconds


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    for step in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), step)
        time.sleep(STOPPED_WITHIN)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_watch, args=[os.dup(0)], daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
