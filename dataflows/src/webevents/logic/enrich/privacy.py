"""Making persons unrecognisable: masked addresses and keyed hashes."""

import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from webevents.errors import UserError
from webevents.logic.enrich.addresses import mask_address
from webevents.logic.enrich.cache import Cache
from webevents.logic.enrich.group import is_empty
from webevents.spec.enrich import PrivacySpec

MIN_KEY_BYTES = 16
"""Bytes of a key below which it could be guessed (NIST SP 800-107 asks for 112 bits)."""

CACHE_SIZE = 20_000

_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode
_decode_any = msgspec.json.Decoder().decode

Document = dict[str, msgspec.Raw]
"""An event by fields whose values are still JSON text, so that they pass through unchanged."""


def read_hash_key(spec: PrivacySpec) -> bytes | None:
    """Read the key of the hash from where the spec says.

    White space at the end of a file is no part of the key.

    :returns: None where nothing is hashed.
    :raises UserError: when the key cannot be read or is too short; never shows the key.
    """
    if not spec.hash_fields:
        return None
    if spec.hash_key_file is not None:
        where = f"the file {spec.hash_key_file} (hashKeyFile)"
        try:
            key = Path(spec.hash_key_file).read_bytes().rstrip()
        except OSError as error:
            raise UserError(f"cannot read the hash key from {where}: {error.strerror}") from None
    else:
        where = f"the environment variable {spec.hash_key_env} (hashKeyEnv)"
        value = os.environ.get(spec.hash_key_env or "")
        if value is None:
            raise UserError(f"{where} that shall hold the hash key is not set")
        key = os.fsencode(value)
    if len(key) < MIN_KEY_BYTES:
        raise UserError(f"the hash key in {where} is shorter than {MIN_KEY_BYTES} bytes")
    return key


class Privacy:
    """Masks the address and hashes fields.

    :param spec: what to do.
    :param key: the key of the hash; needed where ``hash_fields`` is not empty.
    """

    def __init__(self, spec: PrivacySpec, key: bytes | None) -> None:
        if spec.hash_fields and not key:
            raise UserError("hashFields needs a key: set hashKeyFile or hashKeyEnv")
        self._key = key or b""
        self._fields = spec.hash_fields
        self._mask = _masker(spec.mask_ip) if spec.mask_ip != "none" else None
        self._hashes: Cache[bytes, msgspec.Raw] = Cache(self._hash, CACHE_SIZE)

    @property
    def active(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._fields) or self._mask is not None

    def apply(self, document: Document) -> None:
        """Change the fields of an event in place; null and empty values stay as they are."""
        if self._mask is not None and "ip_address" in document:
            masked = self._mask[bytes(document["ip_address"])]
            if masked is None:
                del document["ip_address"]
            else:
                document["ip_address"] = masked
        for name in self._fields:
            value = document.get(name)
            if value is not None:
                document[name] = self._hashes[bytes(value)]

    def _hash(self, encoded: bytes) -> msgspec.Raw:
        value = _readable(encoded)
        if is_empty(value):
            return msgspec.Raw(encoded)
        text = value.encode() if isinstance(value, str) else encoded
        return msgspec.Raw(_encode(hmac.digest(self._key, text, "sha256").hex()))


def _masker(how: str) -> Cache[bytes, msgspec.Raw | None]:
    def mask(encoded: bytes) -> msgspec.Raw | None:
        text: Any = _readable(encoded)
        if is_empty(text):
            return msgspec.Raw(encoded)
        masked = mask_address(text, how) if isinstance(text, str) else None
        return None if masked is None else msgspec.Raw(_encode(masked))

    return Cache(mask, CACHE_SIZE)


def _readable(encoded: bytes) -> Any:
    """A value as Python's; numbers beyond its range count as their text."""
    decoders: tuple[Callable[[bytes], Any], ...] = (_decode_text, _decode_any)
    for decode in decoders:
        try:
            return decode(encoded)
        except msgspec.ValidationError:
            continue
    return encoded.decode()
