"""``python -m voltaspin`` is the ``voltaspin`` command."""

from voltaspin.cli.app import main

main()
