"""Calls into libraries that may never return."""

import threading
from collections.abc import Callable


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
