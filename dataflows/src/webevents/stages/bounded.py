"""Calls into libraries that may never return."""

import contextlib
import faulthandler
import threading
from collections.abc import Callable, Iterator


class Hung(Exception):
    """A call did not return in time; its thread still waits, with all that it holds."""


def bounded(act: Callable[[], None], seconds: float) -> None:
    """Make a call in a thread of its own, so that it can be given up.

    :param seconds: how long it may take.
    :raises Hung: when it has not returned by then.
    :raises BaseException: what the call raised.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Hung
    if raised:
        raise raised[0]


@contextlib.contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """End the process, with status 1 and where each thread stands on standard error, when the block
    takes longer. For calls that hang with Python's lock held: then no thread of Python's can act,
    and signals are not seen either.

    :param seconds: how long it may take.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
