"""The domain of the visitor's e-mail address."""

NOT_AVAILABLE = "n/a"
"""What stands where there is no e-mail address."""


def email_domain(identifier: object) -> str:
    """The domain in ``user_custom_id``, in lower case; ``n/a`` without an ``@``.

    :param identifier: the visitor's own identifier; text, a number, or None.
    """
    if not isinstance(identifier, str) or "@" not in identifier:
        return NOT_AVAILABLE
    return identifier.rpartition("@")[2].strip().lower() or NOT_AVAILABLE
