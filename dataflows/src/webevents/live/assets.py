"""The page's own files, read and packed once."""

import gzip
from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """One file."""

    content_type: str
    body: bytes
    packed: bytes
    tag: str
    """Its ETag."""


def load_assets() -> dict[str, Asset]:
    """All files by their paths: the page is /, the log-in /login, others /static/NAME."""
    found = {}
    for file in files(__package__).joinpath("static").iterdir():
        suffix = f".{file.name.rpartition('.')[2]}"
        if suffix not in TYPES:
            continue
        body = file.read_bytes()
        tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        path = {"index.html": "/", "login.html": "/login"}.get(file.name, f"/static/{file.name}")
        found[path] = Asset(TYPES[suffix], body, gzip.compress(body, mtime=0), tag)
    return found
