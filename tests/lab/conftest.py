"""Instruments for the tests: a small SCPI server, the simulated one of the examples, and devices of pyvisa-sim."""

import importlib.util
import socketserver
import threading
import time
from pathlib import Path

import pytest

from voltaspin.device import Junction

ROOT = Path(__file__).parents[2]


class Scpi(socketserver.ThreadingTCPServer):
    """Answers each command by a table: a text or bytes, seconds after which it hangs up, or a list of these in turn."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, answers):
        self.answers, self.heard = answers, []
        self.turns = {command: iter(x) for command, x in answers.items() if isinstance(x, list)}
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self):
        return f"TCPIP0::127.0.0.1::{self.server_address[1]}::SOCKET"

    def answer(self, command):
        self.heard.append(command)
        found = self.answers.get(command)
        return next(self.turns[command], None) if isinstance(found, list) else found


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            answer = self.server.answer(line.decode("latin-1").strip())
            if isinstance(answer, float):
                time.sleep(answer)
                return
            if answer is not None:
                self.wfile.write(answer if isinstance(answer, bytes) else answer.encode() + b"\n")


@pytest.fixture
def serve():
    """Factory: start a server; it ends with the test."""
    started = []

    def start(server):
        server = Scpi(server) if isinstance(server, dict) else server
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def example():
    """The module of the simulated instrument."""
    spec = importlib.util.spec_from_file_location("instrument", ROOT / "examples" / "instrument.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bench(serve, example):
    """Factory: the address of a simulated instrument with a seed."""

    def start(seed=0, junction="generator"):
        server = serve(example.Server(example.Bench(Junction.of(junction), seed)))
        return f"TCPIP0::127.0.0.1::{server.server_address[1]}::SOCKET"

    return start
