"""Plausible, invented results for the tests; they are never shipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.cost.comparison import compare
from voltaspin.cost.merit import FigureOfMerit
from voltaspin.cost.pricing import CellPulse, Prices
from voltaspin.cost.table import Draws
from voltaspin.device.pulse_check import ChosenPulse, CountedCorner, CountedCurve, DerivedValue, PulseCheck
from voltaspin.diffusion.conditions import Condition, Forward
from voltaspin.metrics.conditions import ConditionComparison, ConditionDifference, ConditionScores, Control
from voltaspin.metrics.distance import Score
from voltaspin.noise.examination.statistics import ArrayBits, CellBits
from voltaspin.report import demo_results as R

SHA = "9f2c" * 16


def ledger_of(normals: int) -> Ledger:
    """16 conditioned bits per normal, each the XOR of two cells that were reset, pulsed and read."""
    ledger = Ledger("run")
    for action, per_normal in {
        "pulse": 32,
        "reset": 32,
        "read": 32,
        "xor": 16,
        "bit": 16,
        "lookup": 1,
    }.items():
        ledger.child("array").count(action, per_normal * normals)
    ledger.count("normal", normals)
    return ledger


def pulse() -> CellPulse:
    return CellPulse.rectangular(voltage=1.2, width=0.3e-9, resistance=550e3, capacitance=0.12e-15)


def score(name: str, value: float, half: float, **more: Any) -> Score:
    return Score(
        name=name,
        value=value,
        low=value - half,
        high=value + half,
        n=2000,
        extractor="fmnist-cnn-1",
        extractor_sha256=SHA,
        noise="simulated, junction gen-50",
        shared="weights, labels, initial latents",
        **more,
    )


def row(condition: str, name: str, kid: float, fd: float | None) -> ConditionScores:
    return ConditionScores(
        condition=condition,
        name=name,
        kid=score("KID", kid, 0.0004 + 0.03 * abs(kid)),
        fd=score("FD", fd, 0.05 * fd) if fd else None,
        fd_reason="" if fd else "fewer images than features",
    )


def quality(label: str, n: int, fd: bool) -> ConditionComparison:
    def f(value: float) -> float | None:
        return value if fd else None

    return ConditionComparison(
        label=label,
        n=n,
        steps=50,
        command="voltaspin demo --seed 7",
        extractor="fmnist-cnn-1",
        extractor_sha256=SHA,
        extractor_accuracy=0.917,
        rows=(
            row("software", "Software (Philox)", 0.00613, f(11.2)),
            row("raw", "Memory, raw bits", 0.00894, f(13.9)),
            row("xor", "Memory, XOR of two cells", 0.00617, f(11.3)),
        ),
        differences=(
            ConditionDifference(
                condition="xor",
                name="Memory, XOR of two cells",
                kid=score("KID", 0.00004, 0.0003),
                margin=0.001,
                equivalent=True,
            ),
            ConditionDifference(
                condition="raw",
                name="Memory, raw bits",
                kid=score("KID", 0.00281, 0.0006),
                margin=0.001,
                equivalent=False,
            ),
        ),
        floor=row("floor", "Real against real", 0.00002, f(0.92)),
        yardsticks=(
            row("blur", "Real, 3×3 blur", 0.021, f(24.0)),
            row("grain", "Real, noise 0.05", 0.0031, f(3.1)),
        ),
        control=Control(
            row=row("control", "Raw bits, p = 0.55", 0.214, f(180.0)),
            difference=ConditionDifference(
                condition="control", name="Raw bits, p = 0.55", kid=score("KID", 0.208, 0.005)
            ),
            detected=True,
            what="every cell biased to 0.55",
        ),
        note="Invented for a test.",
    )


def curve(label: str, voltage: float, widths: np.ndarray, decay: float) -> CountedCurve:
    t = widths * 1e9
    p = 0.5 - 0.5 * np.cos(np.pi * t / 0.6) * np.exp(-t / decay)
    return CountedCurve(
        label=label,
        voltage=voltage,
        widths=widths,
        p01=p,
        p10=np.clip(p - 0.012, 0, 1),
        error=np.full(len(t), 0.006),
        n_devices=2500,
    )


def bit_quality(label: str, bias: float, lag: float, cell_std: float) -> CellBits:
    edges = np.linspace(0.5 - 4 * cell_std, 0.5 + 4 * cell_std, 31)
    middle = (edges[1:] + edges[:-1]) / 2
    return CellBits(
        label=label,
        bias=Estimate(value=bias, low=bias - 0.0004, high=bias + 0.0004),
        lag1=Estimate(value=lag, low=lag - 0.0008, high=lag + 0.0008),
        autocorrelation=lag ** np.arange(1, 9),
        autocorrelation_error=0.0004,
        cell_std=cell_std,
        sampling_std=0.0112,
        histogram_edges=edges,
        histogram_counts=np.round(4000 * np.exp(-(((middle - 0.5 - bias) / cell_std) ** 2) / 2)),
        worst_cell=0.5 + bias + 3.4 * cell_std,
        cycles=2000,
        cell_lag1_mean=0.0011,
        cell_lag1_std=0.0225,
        cell_lag1_sampling_std=0.0224,
    )


def merit_of() -> FigureOfMerit:
    """The published factor for the shipped junction against two generators, and a small image on an invented core."""
    from voltaspin.cost.jobs import job, workload
    from voltaspin.cost.merit import figure_of_merit
    from voltaspin.cost.processors import ProcessorRng
    from voltaspin.device import SwitchingModel

    model = SwitchingModel.shipped()
    prices = Prices.of(model.junction, model.pulse, draws=Draws(samples=100))
    found = figure_of_merit(model.junction, model.pulse, against=("intel-14", "yang-28"), reset=0.02, prices=prices)
    core = ProcessorRng(
        "cpu", "An invented core", "cpu", Sourced(9e4, "pJ/sample", "invented", "derived", 4e4, 2e5), None,
        None, "nobody measured it",
    )  # fmt: skip
    jobs = job("image", "50 steps", 39_200, resets=0.02), job("training run", "10 steps", 7_840)
    networks = {"a digital machine": np.geomspace(3e-3, 3e-2, 100)}
    priced = workload(prices, jobs, processors=[core], networks=networks, notes=("no <counter> here",))
    return found.model_copy(update={"work": priced})


def build_results(**changes: Any) -> R.DemoResults:
    ledger, n_images = ledger_of(784 * 50 * 16), 16
    prices = Prices.of_pulses(
        {"pulse": pulse(), "reset": pulse(), "read": CellPulse.read(509e3)}, cells=128 * 128, draws=Draws(samples=100)
    )
    data: dict[str, Any] = {
        "title": "A diffusion model draws its noise from a voltage-controlled magnetic memory.",
        "command": "voltaspin demo --seed 7",
        "seed": 7,
        "configuration": {"junction": "gen-50", "steps": 50},
        "environment": {"python": "3.11.9", "numpy": "2.3.1", "torch": "2.13.0"},
        "seconds": {"device": 12.3, "memory": 4.5, "sampling": 71.0, "quality": 8.2},
        "device": PulseCheck(
            junction="gen-50",
            derived=(
                DerivedValue(name="Delta", value=40.0, unit="k_B T"),
                DerivedValue(name="barrier", value=25.9, unit="k_B T", note="with 30 mT in plane"),
                DerivedValue(name="V_c", value=1.181, unit="V"),
                DerivedValue(name="B_k", value=153.4, unit="mT"),
                DerivedValue(name="R_P", value=509.3, unit="kΩ"),
            ),
            curves=(
                curve("V_c", 1.181, np.linspace(0.05e-9, 5e-9, 100), 2.4),
                curve("1.3 V_c", 1.535, np.linspace(0.05e-9, 5e-9, 100), 1.0),
            ),
            chosen=ChosenPulse(
                voltage=1.535,
                width=4.7e-9,
                meets=False,
                worst_deviation=0.0234,
                verdict="At 1.3 V_c a pulse of 4.7 ns flips a coin, but 2 mT of stray field tip it.",
            ),
            corners=(
                CountedCorner(name="nominal", p01=0.5012, p10=0.4983, error=0.002),
                CountedCorner(name="stray field +2 mT", p01=0.4766, p10=0.5227, error=0.002),
                CountedCorner(name="330 K", p01=0.5031, p10=0.4979, error=0.002),
            ),
            lag1=Estimate(value=0.0005, low=-0.0035, high=0.0045),
            n_devices=20000,
            dt=2e-12,
            fit_error=0.0081,
            mirrored=False,
        ),
        "memory": ArrayBits(
            rows=128,
            columns=128,
            spreads={"K_eff": "5 %", "stray field": "1 mT"},
            operation="reset before every pulse, cells rotated over pixels.",
            raw=bit_quality("raw", -0.0123, 0.0512, 0.034),
            conditioned=bit_quality("XOR of two cells", 0.0001, 0.0003, 0.0114),
        ),
        "forward": Forward(steps=(0, 5, 10, 20, 35, 50), n_steps=50, provenance="simulated", noise="XOR of two"),
        "reverse": R.Reverse(
            conditions=(
                Condition(
                    key="software",
                    name="Software (Philox)",
                    noise="Box-Muller on Philox4x32-10",
                    provenance="pseudo",
                ),
                Condition(key="raw", name="Memory, raw bits", noise="16 raw bits per number", provenance="simulated"),
                Condition(
                    key="xor",
                    name="Memory, XOR of two cells",
                    noise="16 bits, each of two cells",
                    provenance="simulated",
                ),
                Condition(key="recorded", name="Recorded bits", noise="replayed from a file", provenance="recorded"),
            ),
            sampler="ancestral",
            steps=50,
            nfe=50,
            images_per_condition=2000,
            shared="weights, labels and initial latents",
        ),
        "quality": R.QualityPair(live=quality("Small comparison", 500, False), study=quality("Study", 10000, True)),
        "cost": compare(ledger, prices, images=n_images, macs_per_image=1_500_000_000, figure_of_merit=merit_of()),
    }
    return R.DemoResults(**(data | changes))


def grid(seed: int, n: int) -> np.ndarray:
    """Blobs of light, uint8 (n, 1, 28, 28)."""
    y, x = np.mgrid[:28, :28]
    out = [255 * np.exp(-((x - 9 - (5 * i + seed) % 11) ** 2 + (y - 8 - (7 * i) % 12) ** 2) / 40) for i in range(n)]
    return np.array(out).astype(np.uint8)[:, None]


@pytest.fixture(scope="session")
def results() -> R.DemoResults:
    return build_results()


@pytest.fixture(scope="session")
def drawn(results: R.DemoResults) -> dict[str, bytes]:
    from voltaspin.report.demo_page import pictures_of

    return pictures_of(results)


@pytest.fixture(scope="session")
def pictures(results: R.DemoResults, drawn: dict[str, bytes]) -> dict[str, bytes]:
    from voltaspin.diffusion.grids import grid_png, strip_png

    strip = grid(1, 12).reshape(2, 6, 28, 28)
    return drawn | {
        "main": grid_png(grid(0, 36), 6, scale=3, gap=3, paper=(17, 21, 31)),
        "forward": strip_png(strip, column_labels=["0", "5", "10", "20", "35", "50"], scale=4),
        **{f"condition:{c.key}": grid_png(grid(i, 16), 4) for i, c in enumerate(results.reverse.conditions)},
    }
