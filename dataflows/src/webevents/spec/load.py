"""Reading a WebEventPipeline from a file, with errors that name the field and the mend."""

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from webevents.errors import UserError
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.secrets import with_secrets_in

SECRETS_VARIABLE = "WEBEVENTS_SECRETS"
"""Environment variable with the folder of the secrets that a pipeline refers to on this machine."""

_CREDENTIALS = re.compile(r"//[^/@\s]*@")
"""User and password of a URL, where they do not belong; an error must not show them."""


def load_pipeline(path: str | Path) -> WebEventPipeline:
    """Read the pipeline of a YAML or JSON file.

    References to secrets (``secret:NAME/KEY``) become files of a folder: the one that
    ``WEBEVENTS_SECRETS`` names, or ``secrets`` beside the file.

    :raises UserError: when the file cannot be read, is no YAML, or is no valid pipeline; the
        message has a line for each fault.
    """
    found = read_yaml(path, lambda text: list(yaml.safe_load_all(text)))
    documents = [document for document in found if document is not None]
    if len(documents) != 1:
        raise UserError(f"{path} holds {len(documents)} documents; one WebEventPipeline is needed")
    folder = Path(os.environ.get(SECRETS_VARIABLE) or Path(path).parent / "secrets")
    return with_secrets_in(parse_pipeline(documents[0], str(path)), folder)


def read_yaml(path: Path | str, load: Callable[[str], Any] = yaml.safe_load) -> Any:
    """What a YAML file holds.

    :param load: makes it of the file's text; one document by default.
    :raises UserError: when the file cannot be read or is no YAML.
    """
    try:
        return load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8") from None
    except (yaml.YAMLError, ValueError) as error:  # such as a date in the year 0
        raise UserError(f"{path} is not YAML: {error}") from None


def parse_pipeline(document: Any, where: str) -> WebEventPipeline:
    """Check a document as a pipeline.

    :param where: what to call the document in errors, such as its file's name.
    :raises UserError: with a line for each fault.
    """
    if not isinstance(document, Mapping):
        raise UserError(f"{where} is not a WebEventPipeline but a {type(document).__name__}")
    document = {name: value for name, value in document.items() if name != "status"}
    try:
        return WebEventPipeline.model_validate(document)
    except ValidationError as error:
        lines = [_line(fault) for fault in error.errors()]
        raise UserError(f"{where} is not a valid WebEventPipeline:\n" + "\n".join(lines)) from None


def _line(fault: Any) -> str:
    # What a field that does not exist is called, the file decides: it may look like a branch.
    own = len(fault["loc"]) - 1 if fault["type"] == "extra_forbidden" else None
    loc = [part for place, part in enumerate(fault["loc"]) if place == own or not _is_branch(part)]
    field = ".".join(map(str, loc)) or "the resource"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        known = _known_fields(loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        message = f"no such field; {hint}"
    elif fault["type"] == "missing":
        message = "is required"
    elif not _may_be_secret(loc) and (
        not isinstance(fault.get("input"), Mapping | Sequence) or isinstance(fault["input"], str)
    ):
        message += f" (it is {_CREDENTIALS.sub('//…@', repr(fault['input']))})"
    return f"  {field}: {message}"


def _may_be_secret(loc: Sequence[Any]) -> bool:
    """Whether a secret may stand in a field by mistake, so that it must not be repeated."""
    names = [str(part) for part in loc if not isinstance(part, int)]
    return bool(names) and names[-1].endswith(("File", "Env", "Keys"))


def _is_branch(part: Any) -> bool:
    """Whether a step of a location names a branch of a union rather than a field."""
    return isinstance(part, str) and ("[" in part or part in ("float", "str", "int", "bool"))


def _known_fields(loc: Sequence[Any]) -> list[str]:
    model: Any = WebEventPipeline
    for part in loc:
        model = _model_in(_annotation(model, part))
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _annotation(model: Any, alias: Any) -> Any:
    for name, field in model.model_fields.items():
        if alias in (field.alias, name):
            return field.annotation
    return model  # the index of a list: its items' model was found already


def _model_in(annotation: Any) -> Any:
    """The model within an annotation such as ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)
