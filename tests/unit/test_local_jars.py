"""Jars are fetched once, checked, and never half there."""

from __future__ import annotations

import errno
import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from webevents.errors import UserError
from webevents.local import jar_lock, jars
from webevents.local.jar_lock import Jar

CONTENT = {name: name.encode() * 1000 for name in ("one", "two", "three")}


def make_jar(name: str, content: bytes | None = None) -> Jar:
    data = CONTENT[name] if content is None else content
    return Jar("org.example", name, "1.0", hashlib.sha256(data).hexdigest(), len(data))


LOCK = {"first": [make_jar("one"), make_jar("two")], "second": [make_jar("three"), make_jar("one")]}


class Repository:
    """Stands in for jgo: writes a jar as jgo does, or fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fail: Callable[[Jar, Path], None] = lambda _jar, _path: None

    def __call__(self, jar: Jar, place: Path, count: Callable[[int], None]) -> Path:
        self.asked.append(jar.artifact)
        path = place / "file.jar"
        content = CONTENT[jar.artifact]
        path.write_bytes(content[:500])
        count(500)
        self.fail(jar, path)
        path.write_bytes(content)
        count(len(content) - 500)
        return path


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    repository = Repository()
    monkeypatch.setattr(jars, "_resolve", repository)
    monkeypatch.setattr("webevents.local.jars.time.sleep", lambda _seconds: None)
    return repository


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


def test_the_second_run_needs_no_network(tmp_path: Path, repository: Repository) -> None:
    found = jars.ensure_jars("first", "second", cache=tmp_path, lock=LOCK)
    assert {name: [path.read_bytes() for path in paths] for name, paths in found.items()} == {
        "first": [CONTENT["one"], CONTENT["two"]],
        "second": [CONTENT["three"], CONTENT["one"]],
    }
    assert sorted(repository.asked) == ["one", "three", "two"]
    repository.asked.clear()
    assert jars.ensure_jars("first", "second", cache=tmp_path, lock=LOCK) == found
    assert repository.asked == []


def test_a_damaged_jar_is_fetched_again(tmp_path: Path, repository: Repository) -> None:
    path = jars.ensure_jars("first", cache=tmp_path, lock=LOCK)["first"][0]
    path.write_bytes(b"x" * len(CONTENT["one"]))
    repository.asked.clear()
    jars.ensure_jars("first", cache=tmp_path, lock=LOCK)
    assert path.read_bytes() == CONTENT["one"]
    assert repository.asked == ["one"]


def test_a_wrong_hash_is_refused(tmp_path: Path, repository: Repository) -> None:
    lock = {"first": [make_jar("one", b"1" * len(CONTENT["one"]))]}
    with pytest.raises(UserError, match=r"org\.example:one:1\.0 does not have the pinned hash"):
        jars.ensure_jars("first", cache=tmp_path, lock=lock)
    assert files(tmp_path) == []


def test_a_lost_connection_leaves_no_half_file(tmp_path: Path, repository: Repository) -> None:
    def drop(jar: Jar, _path: Path) -> None:
        if jar.artifact == "two":
            raise requests.ConnectionError("reset")

    repository.fail = drop
    with pytest.raises(UserError, match=r"Could not fetch org\.example:two:1\.0.*HTTPS_PROXY"):
        jars.ensure_jars("first", cache=tmp_path, lock=LOCK)
    assert repository.asked.count("two") == 3
    assert [path.read_bytes() for path in files(tmp_path)] in ([], [CONTENT["one"]])


def test_a_short_failure_is_tried_again(tmp_path: Path, repository: Repository) -> None:
    failures = [requests.Timeout("slow")]

    def once(_jar: Jar, _path: Path) -> None:
        if failures:
            raise failures.pop()

    repository.fail = once
    paths = jars.ensure_jars("first", cache=tmp_path, lock=LOCK)["first"]
    assert [path.read_bytes() for path in paths] == [CONTENT["one"], CONTENT["two"]]


def test_a_jar_that_the_repository_lacks(tmp_path: Path, repository: Repository) -> None:
    def lack(_jar: Jar, _path: Path) -> None:
        raise RuntimeError("Artifact not found in remote repositories")

    repository.fail = lack
    with pytest.raises(UserError, match=r"org\.example:\w+:1\.0 is not in the Maven repository"):
        jars.ensure_jars("first", cache=tmp_path, lock=LOCK)


@pytest.mark.parametrize(
    ("code", "text"),
    [(errno.ENOSPC, "is full: free 200 MB"), (errno.EACCES, "cannot be written")],
)
def test_a_disk_that_does_not_take_it(
    tmp_path: Path, repository: Repository, code: int, text: str
) -> None:
    def refuse(_jar: Jar, _path: Path) -> None:
        raise OSError(code, "refused")

    repository.fail = refuse
    with pytest.raises(UserError, match=rf"{text}.*XDG_CACHE_HOME"):
        jars.ensure_jars("first", cache=tmp_path, lock=LOCK)


def test_a_killed_download_leaves_no_half_file(tmp_path: Path, repository: Repository) -> None:
    code = f"""
import sys, time
from pathlib import Path
from webevents.local import jars
from webevents.local.jar_lock import Jar
def hang(jar, place, count):
    path = Path(place) / "file.jar"
    path.write_bytes(b"half")
    print("half", flush=True)
    time.sleep(600)
jars._resolve = hang
lock = {{"first": [{make_jar("one")!r}]}}
jars.ensure_jars("first", cache=Path({str(tmp_path)!r}), lock=lock)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "half\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert [path.read_bytes() for path in files(tmp_path)] == [b"half"]  # in the staging folder
    path = jars.ensure_jars("first", cache=tmp_path, lock=LOCK)["first"][0]
    assert path.read_bytes() == CONTENT["one"]
    assert b"half" not in [path.read_bytes() for path in files(tmp_path)]


def test_two_at_once_fetch_once(tmp_path: Path, repository: Repository) -> None:
    lines: list[str] = []
    inside = threading.Event()

    def slow(_jar: Jar, _path: Path) -> None:
        inside.set()
        deadline = time.monotonic() + 5
        while not any("Waiting" in line for line in lines) and time.monotonic() < deadline:
            threading.Event().wait(0.01)

    repository.fail = slow
    first = threading.Thread(
        target=jars.ensure_jars, args=("first",), kwargs={"cache": tmp_path, "lock": LOCK}
    )
    first.start()
    assert inside.wait(5)
    jars.ensure_jars("first", cache=tmp_path, lock=LOCK, say=lines.append)
    first.join()
    assert sorted(repository.asked) == ["one", "two"]
    assert lines == ["Waiting for another process that fetches the same files …"]


def test_progress_is_told_in_lines(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    lines: list[str] = []
    jars.ensure_jars("first", cache=tmp_path, lock=LOCK, say=lines.append)
    assert lines[0].startswith("Fetching 2 jars")
    assert lines[-1] == "Fetched 2 jars."


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert jars.cache_dir({"XDG_CACHE_HOME": "/elsewhere"}) == Path("/elsewhere/webevents")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert jars.cache_dir({}) == tmp_path / ".cache" / "webevents"
    assert jars.cache_dir({"XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache" / "webevents"


def test_the_committed_lock_pins_everything_and_names_no_host() -> None:
    text = (Path(jar_lock.__file__).parent / "jars.lock.json").read_text()
    for forbidden in ("http:", "https:", "://", "maven2", "www."):
        assert forbidden not in text
    sets = jar_lock.pinned()
    assert set(sets) == set(jar_lock.ROOTS)
    for name, roots in jar_lock.ROOTS.items():
        coordinates = {jar.coordinate for jar in sets[name]}
        assert set(roots) <= coordinates
        for jar in sets[name]:
            assert len(bytes.fromhex(jar.sha256)) == 32
            assert jar.size > 0
            assert not jar.version.endswith("SNAPSHOT")
