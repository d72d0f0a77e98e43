"""Opening the live page in the browser of whoever started a run."""

import os
import sys
import threading
import webbrowser

from webevents.local.ports import is_listening


def has_desktop() -> bool:
    """Whether a browser would open before the eyes of whoever started this."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Page:
    """The live page of a run.

    :param address: host:port; None where the pipeline has none.
    :param wanted: whether it is to be opened.
    """

    def __init__(self, address: str | None, *, wanted: bool) -> None:
        self._address = address
        self._wanted = wanted and address is not None

    def open_once(self) -> None:
        """Open it as soon as it is served; do nothing from then on."""
        if not self._wanted or self._address is None:
            return
        if is_listening(int(self._address.rpartition(":")[2])):
            self._wanted = False
            # In a thread, because a browser may keep whoever starts it.
            url = f"http://{self._address}/"
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
