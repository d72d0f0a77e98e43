"""Errors that a person can mend; the command line prints their text without a traceback."""


class UserError(Exception):
    """Something a person can put right; the message says what is wrong and the mend."""
