"""``python -m webevents_operator``."""

from webevents_operator.main import main

main()
