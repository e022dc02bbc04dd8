"""``python -m voltaspin`` is the ``voltaspin`` command."""

from voltaspin.cli import main

main()
