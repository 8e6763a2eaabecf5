"""An interrupt that comes while Python cannot raise is sent again.

Where the interrupt of a user arrives within a callback of the garbage collector or a finaliser, of any package, Python
prints it as ignored and goes on: a run of an hour would not end. Such exceptions pass through `sys.unraisablehook`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_AFTER = 0.05
"""Seconds until an interrupt that was lost is sent again."""


@contextmanager
def heard() -> Iterator[None]:
    """While the block runs, send an interrupt again that could not be raised; other such exceptions go their way."""
    before = sys.unraisablehook
    pending: list[threading.Timer] = []

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            again = threading.Timer(AGAIN_AFTER, _interrupt)
            again.daemon = True
            pending.append(again)
            again.start()
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for again in pending:  # the work is done: there is nothing left to interrupt
            again.cancel()


def _interrupt() -> None:
    main = threading.main_thread().ident
    if main is not None and sys.platform != "win32":
        signal.pthread_kill(main, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
