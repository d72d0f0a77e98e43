"""Where the pipelines that run on this machine can be reached, for ``webevents ledger`` and others.

A run announces itself by a file in the cache and takes it away at its end.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from webevents.errors import UserError
from webevents.local.jars import cache_dir
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline


def _folder() -> Path:
    return cache_dir() / "running"


@contextlib.contextmanager
def announced(pipeline: WebEventPipeline) -> Iterator[None]:
    """Announce a pipeline, with its connections filled in, while the block runs."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pipeline.name}-{os.getpid()}.json"
    path.write_text(pipeline.model_dump_json(by_alias=True, exclude_none=True))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


BY_BROKER = "name a file and a broker with -f FILE --kafka HOST:PORT"


def find(name: str | None = None, otherwise: str = BY_BROKER) -> WebEventPipeline:
    """The pipeline that runs on this machine.

    :param name: needed only where several run.
    :param otherwise: what else a person can do where none runs.
    :raises UserError: when none runs, or several and none is named.
    """
    found = []
    for path in sorted(_folder().glob("*.json")):
        if not _alive(int(path.stem.rpartition("-")[2])):
            path.unlink(missing_ok=True)
            continue
        pipeline = parse_pipeline(json.loads(path.read_text()), path.name)
        if name in (None, pipeline.name):
            found.append(pipeline)
    if not found:
        raise UserError(
            f"no pipeline{f' {name}' if name else ''} runs on this machine: start one with "
            f"`webevents run -f FILE`, or {otherwise}"
        )
    if len(found) > 1:
        names = ", ".join(pipeline.name for pipeline in found)
        raise UserError(f"several pipelines run on this machine ({names}): name one")
    return found[0]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
