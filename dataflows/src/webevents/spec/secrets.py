"""References to secrets: ``secret:NAME/KEY`` in any field that names a file.

The runtime says where secrets are: the operator mounts the Kubernetes Secret NAME, the local
runtime has a folder NAME with a file KEY. So one resource runs in both, and holds no secret.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from webevents.errors import UserError
from webevents.spec.kafka import ACCOUNT

_FORM = re.compile(r"secret:([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)/([A-Za-z0-9._-]+)")

_LIST_OF_FILES = "databases"
"""The one field that lists files (spec.enrich.geo.databases); others end with ``_file``."""

M = TypeVar("M", bound=BaseModel)


class SecretRef(NamedTuple):
    """One entry of a secret."""

    name: str
    key: str


class NamedFile(NamedTuple):
    """A field that names a file or an environment variable."""

    field: str
    """Where it stands, in camelCase, such as ``kafka.sasl.passwordFile``."""
    value: str


def parse_ref(value: str) -> SecretRef | None:
    """The reference that a file's name is; None where it is a path.

    :raises UserError: when it begins as a reference and is none.
    """
    if not value.startswith("secret:"):
        return None
    # Who logs in is put in later, and is a word.
    match = _FORM.fullmatch(value.replace(ACCOUNT, "w"))
    name, _, key = value.removeprefix("secret:").partition("/")
    if match is None or key in (".", ".."):
        raise UserError("this is no reference to a secret: write secret:NAME/KEY")
    return SecretRef(name, key)


def files(model: BaseModel) -> Iterator[NamedFile]:
    """The fields of a model that name files."""
    for name, field, value in _leaves(model, ""):
        if isinstance(value, str) and name.endswith("_file"):
            yield NamedFile(field, value)
        elif isinstance(value, tuple) and name == _LIST_OF_FILES:
            yield from (NamedFile(field, str(item)) for item in value)


def environment(model: BaseModel) -> list[NamedFile]:
    """The fields of a model that name environment variables with secrets."""
    return [
        NamedFile(field, value)
        for name, field, value in _leaves(model, "")
        if isinstance(value, str) and name.endswith("_env")
    ]


def _leaves(model: BaseModel, path: str) -> Iterator[tuple[str, str, object]]:
    """Name, place and value of each field that is no model itself."""
    for name, value in model:
        alias = type(model).model_fields[name].alias or name
        field = f"{path}.{alias}" if path else alias
        if isinstance(value, BaseModel):
            yield from _leaves(value, field)
        elif isinstance(value, dict) and any(
            isinstance(each, BaseModel) for each in value.values()
        ):
            for key, each in value.items():
                yield from _leaves(each, f"{field}.{key}")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for number, item in enumerate(value):
                yield from _leaves(item, f"{field}[{number}]")
        else:
            yield name, field, value


def references(model: BaseModel) -> list[SecretRef]:
    """The secrets that a model refers to, each once, in order.

    :raises UserError: for a reference that is none.
    """
    found = [parse_ref(file.value) for file in files(model)]
    return sorted({ref for ref in found if ref is not None})


def with_secrets_in(model: M, folder: Path) -> M:
    """The model with each reference replaced by the path of a file.

    :param folder: holds a folder NAME with a file KEY for each reference.
    :raises UserError: for a reference that is none.
    """

    def placed(name: str, value: str) -> str:
        try:
            ref = parse_ref(value)
        except UserError as error:
            raise UserError(f"{type(model).model_fields[name].alias or name}: {error}") from None
        return str(folder / ref.name / ref.key) if ref else value

    changed: dict[str, object] = {}
    for name, value in model:
        if isinstance(value, BaseModel):
            changed[name] = with_secrets_in(value, folder)
        elif isinstance(value, dict):
            changed[name] = {
                key: with_secrets_in(each, folder) if isinstance(each, BaseModel) else each
                for key, each in value.items()
            }
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            changed[name] = tuple(with_secrets_in(item, folder) for item in value)
        elif isinstance(value, str) and name.endswith("_file"):
            changed[name] = placed(name, value)
        elif isinstance(value, tuple) and name == _LIST_OF_FILES:
            changed[name] = tuple(placed(name, str(item)) for item in value)
    return model.model_copy(update=changed)
