import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from voltaspin import __version__
from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e
from voltaspin.device import Junction, Pulse, presets
from voltaspin.device.circuit import ngspice, verilog_a
from voltaspin.device.equilibrium import well_bottom
from voltaspin.device.junction import Well
from voltaspin.device.llg import run, spin_torque_field, trajectory
from voltaspin.device.transport import oxide_capacitance

GENERATOR = presets.generator
RELTOL = 1e-6  # of ngspice
STEP = 0.2e-12  # of both integrators [s]
needs_ngspice = pytest.mark.skipif(
    shutil.which("ngspice") is None, reason="ngspice is missing; install the Debian package ngspice"
)


def simulate(folder: Path, circuit: list[str], analysis: str, *columns: str) -> np.ndarray:
    """Columns of one analysis, the swept quantity first."""
    data = folder / "out.txt"
    lines = [
        "test of voltaspin", *circuit, f".options reltol={RELTOL}", ".control", "set wr_singlescale",
        "set numdgt=15", analysis, f"wrdata {data} {' '.join(columns)}", "quit 0", ".endc", ".end",
    ]  # fmt: skip
    (folder / "test.cir").write_text("\n".join(lines) + "\n")
    command = ["ngspice", "-n", "-b", str(folder / "test.cir")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert data.exists(), done.stdout + done.stderr
    return np.loadtxt(data).T


def pulse_run(
    folder: Path,
    junction: Junction,
    pulse: Pulse,
    *,
    relax: float = 2e-9,
    step: float = STEP,
    spin_torque: bool = False,
    initial: Well = "up",
) -> np.ndarray:
    """Rows time, m_x, m_y, m_z, voltage, current of the source."""
    (folder / "cell.cir").write_text(ngspice(junction, spin_torque=spin_torque, initial=initial))
    top = pulse.duration - pulse.fall
    knots = [(0.0, 0.0), (pulse.rise, pulse.voltage), (top, pulse.voltage), (pulse.duration, 0.0)]
    circuit = [
        f".include {folder / 'cell.cir'}", "Xcell a 0 mx my mz VCMTJ",
        "Vline a 0 pwl(" + " ".join(f"{t!r} {v!r}" for t, v in knots) + ")",
    ]  # fmt: skip
    analysis = f"tran {step!r} {pulse.duration + relax!r} 0 {step!r}"
    return simulate(folder, circuit, analysis, "v(mx)", "v(my)", "v(mz)", "v(a)", "i(Vline)")


def own_run(
    junction: Junction, pulse: Pulse, *, relax: float = 2e-9, spin_torque: bool = False, initial: Well = "up"
) -> tuple[np.ndarray, np.ndarray]:
    """Times and m (samples, 3) of the same pulse from ``llg``."""
    cold = replace(junction, temperature=0.0)
    options = {"dt": STEP, "spin_torque": spin_torque}
    V = pulse.voltage
    m = run(cold, well_bottom(junction, initial), duration=pulse.rise, voltage=(0.0, V), **options)
    top_time = pulse.duration - pulse.rise - pulse.fall
    times, top = trajectory(cold, m, duration=top_time, samples=40, voltage=V, **options)
    m = run(cold, top[-1], duration=pulse.fall, voltage=(V, 0.0), **options)
    after, rest = trajectory(cold, m, duration=relax, samples=80, **options)
    return (
        np.concatenate([pulse.rise + times, pulse.duration + after]),
        np.concatenate([top[:, 0], rest[:, 0]]).astype(float),
    )


def step_angle(junction: Junction) -> float:
    """Upper bound on omega dt [rad]."""
    return gamma_e * (abs(junction.B_k()) + math.hypot(*junction.B_bias)) * STEP


def expected_difference(junction: Junction, duration: float) -> float:
    """Bound on the distance of two trajectories, both with time steps of STEP.

    Phase per radian: (omega dt)^2 / 6 of Heun's method and / 12 of the trapezoidal rule; (omega dt)^2 / 8 of
    reading between two steps; one float32 rounding per step in each component, at random; what ngspice's
    Newton iteration may leave, reltol of the increment of every step.
    """
    angle, steps = step_angle(junction), duration / STEP
    turn = angle * steps
    return turn * angle**2 * (1 / 6 + 1 / 12) + angle**2 / 8 + 6e-8 * math.sqrt(3 * steps) + RELTOL * turn


@needs_ngspice
def test_resistance_curve_of_both_states(tmp_path: Path) -> None:
    (tmp_path / "cell.cir").write_text(ngspice(GENERATOR))
    circuit = [
        f".include {tmp_path / 'cell.cir'}", "Vline a 0 0", "Vup a up 0", "Vdown a down 0", "Vplane a plane 0",
        "Xup up 0 x1 y1 z1 VCMTJ mx0=0 mz0=1", "Xdown down 0 x2 y2 z2 VCMTJ mx0=0 mz0=-1",
        "Xplane plane 0 x3 y3 z3 VCMTJ mx0=1 mz0=0",
    ]  # fmt: skip
    voltage, *currents = simulate(tmp_path, circuit, "dc Vline -2 2 0.125", "i(Vup)", "i(Vdown)", "i(Vplane)")
    assert len(voltage) == 33
    for V, up, down, plane in zip(voltage, *currents, strict=True):
        np.testing.assert_allclose(up, V / GENERATOR.R_P, rtol=RELTOL, atol=1e-18)
        np.testing.assert_allclose(down, V / GENERATOR.R_AP(V), rtol=RELTOL, atol=1e-18)
        np.testing.assert_allclose(plane, V * GENERATOR.conductance(0.0, V), rtol=RELTOL, atol=1e-18)


STRAY = replace(GENERATOR, B_bias=(0.03, 0.005, 0.004))
LOW_RA = replace(GENERATOR, RA=100e-12)
CASES = [
    (GENERATOR, False, "up", 0.3e-9),
    (GENERATOR, False, "up", 0.6e-9),
    (GENERATOR, False, "up", 1.2e-9),
    (STRAY, False, "up", 0.6e-9),
    (LOW_RA, True, "up", 0.3e-9),
    (LOW_RA, True, "down", 0.6e-9),
]


@needs_ngspice
@pytest.mark.parametrize(("junction", "spin_torque", "initial", "width"), CASES)
def test_noiseless_switching_is_ours(
    tmp_path: Path, junction: Junction, spin_torque: bool, initial: Well, width: float
) -> None:
    pulse = Pulse(voltage=junction.V_c, width=width, rise=50e-12, fall=50e-12)
    times, m = own_run(junction, pulse, spin_torque=spin_torque, initial=initial)
    time, *path, voltage, source = pulse_run(tmp_path, junction, pulse, spin_torque=spin_torque, initial=initial)
    seen = np.stack([np.interp(times, time, component) for component in path], axis=1)
    np.testing.assert_allclose(seen, m, atol=expected_difference(junction, times[-1]))
    # A backward Euler step, which follows every corner of the voltage, changes the length by (omega dt)^2 / 2.
    np.testing.assert_allclose(np.linalg.norm(path, axis=0), 1, atol=step_angle(junction) ** 2 / 2)
    # The current, charging included, on the first edge and on the plateau; two tolerances of ngspice add up.
    inside = (time > 1e-12) & (time < pulse.duration - pulse.fall) & (abs(time - pulse.rise) > 1e-12)
    slope = np.where(time < pulse.rise, pulse.voltage / pulse.rise, 0.0)
    conductance = [float(junction.conductance(z, V)) for z, V in zip(path[2], voltage, strict=True)]
    expected = conductance * voltage + oxide_capacitance(junction) * slope
    np.testing.assert_allclose(-source[inside], expected[inside], rtol=2 * RELTOL)


@needs_ngspice
@pytest.mark.parametrize(("width", "flips"), [(0.6e-9, True), (1.2e-9, False)])
def test_half_a_turn_flips_and_a_whole_one_does_not(tmp_path: Path, width: float, flips: bool) -> None:
    pulse = Pulse(voltage=GENERATOR.V_c, width=width, rise=1e-12, fall=1e-12)
    m_z = pulse_run(tmp_path, GENERATOR, pulse, relax=6e-9, step=1e-12)[3]
    assert abs(m_z[-1]) > 0.95
    assert (m_z[-1] < 0) is np.bool_(flips)


@pytest.mark.parametrize(("junction", "spin_torque", "initial", "width"), CASES[1::2])
def test_verilog_a_compiles_to_our_equation(
    tmp_path: Path, junction: Junction, spin_torque: bool, initial: Well, width: float
) -> None:
    openvaf = pytest.importorskip("openvaf_py", reason="OpenVAF is missing; install openvaf-py")
    file = tmp_path / "cell.va"
    file.write_text(verilog_a(junction, spin_torque=spin_torque, initial=initial))
    (module,) = openvaf.compile_va(str(file))
    assert module.get_dae_system()["terminals"] == ["reference", "free", "mx", "my", "mz"]
    kinds = [*zip(module.param_names, module.param_kinds, strict=True)]
    kinds += zip(module.init_param_names, module.init_param_kinds, strict=True)
    defaults = module.get_param_defaults()  # in lower case
    fixed = {name: defaults[name.lower()] for name, kind in kinds if kind == "param"} | {"mfactor": 1.0}

    def currents(m: np.ndarray, V: float) -> np.ndarray:
        """(5, 2): current and charge that leave each node."""
        state = {"V(reference,free)": V, "V(mx)": m[0], "V(my)": m[1], "V(mz)": m[2]}
        return np.array(module.run_init_eval({**fixed, **state})[0])

    top, bottom = currents(np.array([0.6, 0.0, 0.8]), 0.7)[:2]
    np.testing.assert_allclose(top, [0.7 * junction.conductance(0.8, 0.7), 0.7 * oxide_capacitance(junction)])
    np.testing.assert_array_equal(bottom, -top)
    np.testing.assert_allclose(currents(np.array([0.3, 0.4, 0.5]), 0.0)[2:, 1], fixed["Cm"] * np.array([0.3, 0.4, 0.5]))

    pulse = Pulse(voltage=junction.V_c, width=width, rise=50e-12, fall=50e-12)
    times, m = own_run(junction, pulse, spin_torque=spin_torque, initial=initial)

    def rate(time: float, m: np.ndarray) -> np.ndarray:
        return -currents(m, float(pulse.voltage_at(time)))[2:, 0] / fixed["Cm"]

    start = [fixed["mx0"], fixed["my0"], fixed["mz0"]]
    options = {"method": "LSODA", "rtol": 1e-8, "atol": 1e-9, "max_step": 5e-12}
    solved = solve_ivp(rate, (0.0, times[-1]), start, t_eval=times, **options)
    np.testing.assert_allclose(solved.y.T, m, atol=expected_difference(junction, times[-1]))


@pytest.mark.parametrize("write", [ngspice, verilog_a])
def test_a_file_says_what_it_is_and_where_it_ends(write: Callable[..., str]) -> None:
    text = write(GENERATOR, spin_torque=True)
    for part in (
        "incoherent", "Rectangular pulses understate a write error rate", "No thermal noise",
        f"voltaspin {__version__}", "lowers the perpendicular anisotropy", "electrons",
        "diameter is 50 nm", repr(GENERATOR.B_k()),
        repr(GENERATOR.R_P), repr(spin_torque_field(GENERATOR, 1.0)),
    ):  # fmt: skip
        assert part in text
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 120
    assert ("UNTESTED" in text) is (write is verilog_a)
    assert "may reverse incoherently" not in write(replace(GENERATOR, diameter=30e-9))


@pytest.mark.parametrize("write", [ngspice, verilog_a])
@pytest.mark.parametrize("name", ["", "1T1M", "a b", "MTJ\n.end", "mü", "_cell", "cell-1"])
def test_a_name_that_is_no_identifier_is_refused(write: Callable[..., str], name: str) -> None:
    with pytest.raises(InputError, match=r"identifier.*e\.g\. 'VCMTJ'"):
        write(GENERATOR, name=name)
    with pytest.raises(InputError, match="'left' is unknown"):
        write(GENERATOR, initial="left")


def test_a_name_that_may_be_a_keyword_is_refused() -> None:
    assert ".subckt module reference" in ngspice(GENERATOR, name="module")
    with pytest.raises(InputError, match=r"'module' is all lower case.*'Module'"):
        verilog_a(GENERATOR, name="module")
