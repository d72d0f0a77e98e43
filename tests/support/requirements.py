"""What a machine must have for a kind of local server."""

import pytest

from webevents.errors import UserError
from webevents.local.jars import ensure_jars
from webevents.local.java import find_jdk
from webevents.local.server import LocalServer


def require(kind: type[LocalServer]) -> None:
    """Skip the test, saying why, where a kind of server cannot be had."""
    try:
        if kind.jar_sets:
            find_jdk()
            ensure_jars(*kind.jar_sets)
    except UserError as error:
        pytest.skip(str(error))
