"""Uploads: repeated until they are done, given up quickly by a stop."""

import threading
import time

import pytest

from webevents.connectors.retrying import Backoff
from webevents.connectors.s3 import StoreError, Uploader


class Store:
    """Refuses a number of times, or for good."""

    def __init__(self, faults: list[Exception], forever: bool = False) -> None:
        self.faults = faults
        self.forever = forever
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def put(self, key: str, body: bytes, content_type: str, metadata: object) -> None:
        with self.lock:
            if self.faults:
                raise self.faults[0] if self.forever else self.faults.pop(0)
            self.objects[key] = body


QUICK = Backoff(0.001, 0.01)


def test_faults_are_overcome_and_objects_are_whole() -> None:
    faults: list[Exception] = [StoreError("SlowDown", "503")] * 5 + [RuntimeError("a fault")]
    store = Store(faults)
    uploader = Uploader(store, 3, QUICK)  # type: ignore[arg-type]
    uploads = [uploader.submit(f"k{n}", b"%d" % n, "text/plain") for n in range(20)]
    assert all(upload.wait(10) for upload in uploads)
    assert store.objects == {f"k{n}": b"%d" % n for n in range(20)}
    assert uploader.outage is None
    assert uploader.repeated == 6
    uploader.close()


def test_an_outage_is_told_and_a_stop_does_not_wait_for_it() -> None:
    store = Store([StoreError("AccessDenied", "AccessDenied (status 403)")], forever=True)
    uploader = Uploader(store, 1, QUICK)  # type: ignore[arg-type]
    upload = uploader.submit("k", b"", "text/plain")
    deadline = time.monotonic() + 10
    while uploader.outage is None or uploader.outage.attempts < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert uploader.outage.error == "AccessDenied (status 403)"
    began = time.monotonic()
    uploader.close()
    assert time.monotonic() - began < 2
    assert not upload.done()
    with pytest.raises(RuntimeError):
        uploader.submit("k", b"", "text/plain")
