"""Ways to log in that several destinations have."""

from collections.abc import Sequence


def check_one_way_in(
    username: str | None, passwords: Sequence[str | None], keys: Sequence[str | None]
) -> None:
    """See that at most one way to log in is set, and that as a whole.

    :param passwords: where the password may be: passwordFile and passwordEnv.
    :param keys: where an API key may be: apiKeyFile and apiKeyEnv.
    :raises ValueError: when not, with what to change.
    """
    if all(keys):
        raise ValueError("set only one of apiKeyFile and apiKeyEnv")
    if any(keys) and (username or any(passwords)):
        raise ValueError("set either an API key or username and password, not both")
    if username and all(source is None for source in passwords):
        raise ValueError("username needs passwordFile or passwordEnv")
    if any(passwords) and not username:
        raise ValueError("passwordFile and passwordEnv need username")
    if all(passwords):
        raise ValueError("set only one of passwordFile and passwordEnv")
