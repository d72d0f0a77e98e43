"""``python -m webevents``."""

from webevents.cli import main

main()
