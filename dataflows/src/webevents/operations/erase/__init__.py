"""Erasing a person everywhere, with a report of what was found, erased, and what is left."""
