"""A job's process, quick to begin and quick to end. A campaign has thousands of jobs, and some last seconds."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Pause the garbage collector: a fifth of the time in which torch is imported is the collector's, which finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def leave() -> NoReturn:
    """End the process at once, well: taking torch and pandas apart takes half a second in which nothing is done.

    To be called last, when everything is written and closed. What fails ends in the usual way, by its exception.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
