"""A simulated instrument: a pulser and an ohmmeter around one junction, which speaks SCPI on a TCP port.

    python examples/instrument.py --junction generator --port 5025

Pulses switch with the probability of the Fokker-Planck equation, which is solved once for each pulse; the draws follow
from the seed. The template of profiles is its profile:

    voltaspin template instrument > lab.toml
    voltaspin device measure --profile lab.toml --widths 0.2:0.6:0.1ns --voltages 1.1:1.3:0.1V --out sweep.csv
    voltaspin bits --profile lab.toml --count 8M --out lab.bin

docs/tutorial-lab.md goes from here to images.
"""

import argparse
import socketserver
from functools import cache

import numpy as np

from voltaspin.device import Junction, Pulse
from voltaspin.device.fokker_planck import switching_probability

READ_VOLTAGE = 0.1  # V
READ_NOISE = 0.01  # of a resistance


class Bench:
    """What the instrument holds: a junction, a pulse, a state (0 is parallel), and its errors."""

    def __init__(self, junction: Junction, seed: int = 0, pulses: float = np.inf):
        self.junction, self.rng, self.pulses = junction, np.random.default_rng(seed), pulses
        self.width, self.voltage, self.state, self.errors = 0.3e-9, junction.V_c, 0, []
        self.probability = cache(self._probability)

    def _probability(self, voltage, width, state):
        pulse = Pulse(voltage=voltage, width=width)
        return switching_probability(self.junction, pulse, initial=("up", "down")[state]).value

    def read(self, states):
        """Resistances of states, with the noise of the meter."""
        R = np.where(states, self.junction.R_AP(READ_VOLTAGE), self.junction.R_P)
        return R * (1 + READ_NOISE * self.rng.standard_normal(np.shape(states)))

    def fresh(self, n):
        """n bits: reset to parallel, pulse, read."""
        return self.rng.random(n) < self.probability(self.voltage, self.width, 0)

    def answer(self, line):
        """Carry out a command; return what it answers, if it does."""
        command, _, given = line.partition(" ")
        try:
            match command.upper():
                case "*IDN?":
                    return f"Voltaspin,simulated {self.junction.name},0,1"
                case "SYST:ERR?":
                    return self.errors.pop(0) if self.errors else '+0,"No error"'
                case "*RST":
                    self.state = 0
                case "PULS:WIDT":
                    self.width = float(given)
                case "PULS:VOLT":
                    self.voltage = float(given)
                case "PULS:RES":
                    self.state = ("P", "AP").index(given)
                case "PULS:TRIG":
                    if self.pulses == 0:
                        raise SystemExit("the power failed")
                    self.pulses -= 1
                    self.state ^= int(self.rng.random() < self.probability(self.voltage, self.width, self.state))
                case "MEAS:RES?":
                    return f"{self.read(self.state):+.6E}"
                case "MEAS:ARR?":
                    return ",".join(f"{R:+.6E}" for R in self.read(self.fresh(int(given))))
                case "BITS?":
                    data = np.packbits(self.fresh(int(given))).tobytes()
                    return f"#{len(str(len(data)))}{len(data)}".encode() + data
                case _:
                    self.errors.append('-113,"Undefined header"')
        except ValueError as error:  # of a number, or of a pulse that the junction does not take
            self.errors.append(f'-222,"Data out of range; {error}"')


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            answer = self.server.bench.answer(line.decode("latin-1").strip())
            if answer is not None:
                self.wfile.write((answer if isinstance(answer, bytes) else answer.encode()) + b"\n")


class Server(socketserver.TCPServer):
    """One connection after the other, as at an instrument."""

    allow_reuse_address = True

    def __init__(self, bench: Bench, port: int = 0):
        self.bench = bench
        super().__init__(("127.0.0.1", port), Connection)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A simulated instrument that speaks SCPI on a TCP port.")
    parser.add_argument("--junction", default="generator", help="a preset, with changes, or a file of device fit")
    parser.add_argument("--port", type=int, default=5025, help="0 takes any that is free")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pulses", type=int, default=np.inf, help="after which the power fails; default: never")
    given = parser.parse_args()
    bench = Bench(Junction.of(given.junction), given.seed, given.pulses)
    bench.probability(bench.voltage, bench.width, 0)  # compiles, so that no answer takes seconds
    with Server(bench, given.port) as server:
        print(f"TCPIP0::127.0.0.1::{server.server_address[1]}::SOCKET", flush=True)
        server.serve_forever()
