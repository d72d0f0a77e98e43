"""Documents as the lines of a bulk request."""

import msgspec

from webevents.logic.documents import Document

_encode = msgspec.json.Encoder().encode
_prefixes: dict[tuple[str, bool], bytes] = {}
_MAX_PREFIXES = 20_000
_VERSIONED = b',"version":%d,"version_type":"external"}}\n'


def bulk_line(document: Document) -> bytes:
    """The action of one document: its header, its body where it has one, and line breaks."""
    index, body, version = document.index, document.body, document.version
    prefix = _prefixes.get((index, body is None)) or _prefix(index, body is None)
    end = b"}}\n" if version is None else _VERSIONED % version
    if body is None:
        return b"".join((prefix, _encode(document.id), end))
    return b"".join((prefix, _encode(document.id), end, body, b"\n"))


def _prefix(index: str, deletes: bool) -> bytes:
    """Everything before the identifier, remembered: indices are few."""
    action = b"delete" if deletes else b"index"
    made = b'{"%b":{"_index":%b,"_id":' % (action, _encode(index))
    if len(_prefixes) >= _MAX_PREFIXES:
        _prefixes.clear()
    _prefixes[index, deletes] = made
    return made
