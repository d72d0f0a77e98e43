"""Repairs of failed events: a few words on the command line, or a function of a Python file."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from webevents.errors import UserError

Repair = Callable[[Any], Any]


def make_repair(
    assignments: Sequence[str] = (),
    drops: Sequence[str] = (),
    renames: Sequence[str] = (),
    script: Path | None = None,
) -> Repair | None:
    """Make the function that mends an event.

    First fields are renamed, then dropped, then set; the script's ``repair(event)`` comes last.
    It gets a dict, or bytes where the message is no JSON object, and returns one of the two, or
    None to leave the event out. What is no JSON object is left out where there is no script.

    :param assignments: ``field=value``; the value is JSON, or else text.
    :param renames: ``old=new``.
    :returns: None where nothing is to be mended.
    :raises UserError: when one cannot be read.
    """
    if not (assignments or drops or renames or script):
        return None
    sets = [_pair("--set", text) for text in assignments]
    moves = [_pair("--rename", text) for text in renames]
    own = None if script is None else load_script(script)

    def repair(event: Any) -> Any:
        if isinstance(event, dict):
            for old, new in moves:
                if old in event:
                    event[new] = event.pop(old)
            for name in drops:
                event.pop(name, None)
            for name, text in sets:
                event[name] = _value(text)
        elif own is None:
            return None
        return event if own is None else own(event)

    return repair


def load_script(path: Path) -> Repair:
    """The function ``repair`` of a Python file.

    :raises UserError: when there is none.
    """
    found = importlib.util.spec_from_file_location("webevents_repair", path)
    if found is None or found.loader is None or not path.is_file():
        raise UserError(f"--script {path}: not a Python file")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
        repair: Repair = module.repair
    except AttributeError:
        raise UserError(f"--script {path}: it has no function repair(event)") from None
    except Exception as error:
        raise UserError(f"--script {path}: {type(error).__name__}: {error}") from error
    return repair


def _pair(option: str, text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise UserError(f"{option} {text}: write it as NAME=VALUE")
    return name, value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
