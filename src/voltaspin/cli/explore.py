"""``voltaspin explore``: the explorer in a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from typing import Annotated

import typer

from voltaspin.cli.device import JUNCTION_HELP
from voltaspin.cli.options import OptionError, count
from voltaspin.core.errors import InputError

HOST = "127.0.0.1"  #: this machine alone


def explore(
    junction: Annotated[str, typer.Option("--junction", help=JUNCTION_HELP)] = "generator",
    port: Annotated[int, count("--port", least=1024, most=65535, help="Of the page on this machine.")] = 2718,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open a browser.")] = True,
) -> None:
    """Open the explorer: pulse, junction and spread on sliders; switching curve, bits, price and images follow.

    Needs marimo: pip install 'voltaspin[explore]'. The page is served to this machine alone; Ctrl-C ends it.

    Example: [bold]voltaspin explore --junction generator[/bold]
    """
    from voltaspin.device import Junction

    if find_spec("marimo") is None:
        raise InputError("the explorer needs marimo: pip install 'voltaspin[explore]'")
    Junction.of(junction)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise OptionError(f"--port {port} is in use; give another one") from None
    app = files("voltaspin") / "report" / "explorer_app.py"
    command = [sys.executable, "-m", "marimo", "--quiet", "run", str(app), "--host", HOST, "--port", str(port)]
    command += ["--no-token", *([] if browser else ["--headless"]), "--", "--junction", junction]
    print(f"explorer: http://{HOST}:{port}  (Ctrl-C ends it)", flush=True)
    status = subprocess.run(command, env=os.environ | {"MARIMO_SKIP_UPDATE_CHECK": "1"}, check=False).returncode
    if status not in (0, 130, -2):
        raise InputError(f"marimo ended with status {status}; try: {' '.join(command)}")
