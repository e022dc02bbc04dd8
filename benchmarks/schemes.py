"""Bias of the two LLG schemes against the length of the step, beside answers from the Boltzmann density and from
the Fokker-Planck equation.

Run: python benchmarks/schemes.py [devices]        (six minutes with the million of the default on two cores)

The bias of <1 - m_z^2> in the well is relative and after 3 ns without a pulse; that of P_sw is absolute, after a
pulse and 1 ns. Each line ends with the time per simulated nanosecond of one device, and with what
`time_step_limit` allows.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace

import numpy as np

from voltaspin.device import Pulse, llg, presets
from voltaspin.device.density import boltzmann_exponents, well_density
from voltaspin.device.equilibrium import equilibrium
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.junction import Junction
from voltaspin.device.sphere import latitude

STEPS = [1e-12, 2e-12, 3e-12, 4e-12, 6e-12, 8e-12, 12e-12, 16e-12, 20e-12]
FALL, RELAX = 3e-9, 1e-9


def fluctuation(junction: Junction, degree: int = 60) -> float:
    """<1 - m_z^2> of thermal equilibrium in the upper well: the mean over azimuth leaves the l = 0 and 2 harmonics."""
    density = well_density(boltzmann_exponents(junction), degree=degree, well="up").reshape(-1, degree + 1)[0]
    z, weight = np.polynomial.legendre.leggauss(200)
    along = 2 * math.pi * density @ latitude(degree, z)[0]
    return float(np.sum(weight * along * (1 - z**2)) / np.sum(weight * along))


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    limits, llg.time_step_limit = llg.time_step_limit, lambda *_, **__: math.inf  # the bias beyond it is wanted
    g = presets.generator
    pulses = [Pulse(voltage=g.V_c, width=0.3e-9), Pulse(voltage=1.3 * g.V_c, width=0.28e-9)]
    for junction, title in ((g, "generator"), (replace(g, alpha_G=0.1), "generator with a damping of 0.1")):
        exact = fluctuation(junction)
        answers = [switching_probability(junction, p, relax=RELAX).value for p in pulses]
        start = equilibrium(junction, n)
        print(f"{title}, {n} devices: <1 - m_z^2> = {exact:.5f}, P_sw = {answers[0]:.4f} and {answers[1]:.4f}")
        for scheme in ("heun", "rotation"):
            allowed = limits(junction, junction.V_c, 1.3 * junction.V_c, scheme=scheme)
            for dt in STEPS:
                before = time.process_time()
                m = llg.run(junction, start, duration=FALL, dt=dt, scheme=scheme, seed=1)
                cost = (time.process_time() - before) / n / FALL
                inside = m[m[:, 2] > 0, 2].astype(float)
                part = (1 - inside**2) / exact
                text = f"{part.mean() - 1:+.4f} +- {1.96 * part.std() / math.sqrt(len(part)):.4f}"
                for answer, p in zip(answers, pulses, strict=True):
                    r = llg.switching_probability(junction, p, relax=RELAX, n_devices=n, dt=dt, scheme=scheme, seed=2)
                    text += f" | {r.value - answer:+.5f} +- {1.96 * math.sqrt(answer * (1 - answer) / n):.5f}"
                print(
                    f"{scheme:8} {dt * 1e12:4.0f} ps: {text} | {cost:.0f} ns"
                    f"{'' if dt <= allowed else '   beyond the limit of'} {allowed * 1e12:.1f} ps",
                    flush=True,
                )


if __name__ == "__main__":
    main()
