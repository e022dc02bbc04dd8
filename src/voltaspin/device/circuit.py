"""One junction for circuit design: an ngspice subcircuit and a Verilog-A module with its parameters.

Both hold the equation of ``llg`` without its thermal field, the resistance of :meth:`Junction.conductance`
and the capacitance of the oxide. One volt on a state node stands for a component of m of 1, one ampere into
it for a torque of 1 T, and the state capacitor of 1 / gamma' farad (a few pF) makes dm/dt of it: everything
the simulator's tolerances see is between a thousandth and one.

The torque is orthogonal to m, so it keeps the length of m; the integration rule of a simulator does so only
up to its own error. A current along m, proportional to 1 - m^2, brings the length back within picoseconds and
does not turn m.

At an operating point and in a DC sweep m is held where it starts, so a sweep gives the resistance of a stored
state; an equation at rest would have both wells and the saddle for a solution.

Limits, printed into every file: the macrospin overestimates a junction above 40 to 50 nm, which reverses
incoherently; there is no thermal noise, so one run is one noiseless trajectory and no write error rate; and a
rectangular pulse understates a write error rate, so drive the cell through its real edges and lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, nm
from voltaspin.device.equilibrium import well_bottom
from voltaspin.device.junction import Junction, Well
from voltaspin.device.torque import spin_torque_field
from voltaspin.device.transport import PERMITTIVITY, oxide_capacitance

LENGTH_FIELD = 1.0  #: strength of the current that restores ``|m| = 1`` [T]: 1 / (2 gamma' T) = 3 ps


@dataclass(frozen=True)
class _Parameter:
    name: str
    value: float
    unit: str
    meaning: str


def _parameters(junction: Junction, spin_torque: bool, initial: Well) -> list[_Parameter]:
    junction.require_plain("the exporter of circuits")
    B_x, B_y, B_z = junction.B_bias
    B_k = junction.B_k()
    start = well_bottom(junction, initial)
    rows = [
        ("Bk", B_k, "T", "anisotropy field 2 K_eff / Ms at zero voltage, demagnetisation included"),
        ("dBk", junction.B_k(1.0) - B_k, "T/V", "its change with the voltage (VCMA)"),
        ("Bx", B_x, "T", "bias field, stray fields included"),
        ("By", B_y, "T", "bias field"),
        ("Bz", B_z, "T", "bias field"),
        ("alpha", junction.alpha_G, "1", "Gilbert damping"),
        ("aJ", spin_torque_field(junction, 1.0) if spin_torque else 0.0, "T/V", "Slonczewski field per volt"),
        ("Cm", (1 + junction.alpha_G**2) / gamma_e, "F", "state capacitor 1 / gamma', gamma' in rad/(s T)"),
        ("Bm", LENGTH_FIELD, "T", "strength of the current that restores |m| = 1"),
        ("RP", junction.R_P, "ohm", "resistance of the parallel state"),
        ("TMR0", junction.TMR0, "1", "(R_AP - R_P) / R_P at vanishing voltage"),
        ("Vh", junction.V_h, "V", "voltage that halves the TMR"),
        ("Cox", oxide_capacitance(junction), "F", "capacitance of the oxide, no fringes"),
        ("mx0", start[0], "1", "m at the start, a unit vector"),
        ("my0", start[1], "1", "m at the start"),
        ("mz0", start[2], "1", "m at the start: above 0 is parallel (bit 0), below antiparallel (bit 1)"),
    ]
    return [_Parameter(key, float(value), unit, meaning) for key, value, unit, meaning in rows]


def _header(junction: Junction, name: str, spin_torque: bool, initial: Well, status: str) -> list[str]:
    if junction.diameter > 40 * nm:
        size = "  A layer this wide may reverse incoherently; the barrier is then overestimated (arXiv 1410.7361)."
    else:
        size = "  Above 40 to 50 nm a real layer reverses incoherently (arXiv 1410.7361)."
    return [
        f"{name}: voltage-controlled magnetic tunnel junction, one macrospin at T = 0",
        f"written by voltaspin {version('voltaspin')} from {junction.name!a}",
        "",
        *status.splitlines(),
        "",
        "Nodes: reference, free = the two electrodes; mx, my, mz = direction of the free layer, 1 V for 1.",
        "Leave mx, my, mz unloaded: they are the state, and 1 A into them is a torque of 1 T.",
        "",
        "Signs: the voltage is V(reference) - V(free). A positive one lowers the perpendicular anisotropy;",
        "the electrons then go from the free to the reference layer, which favours antiparallel (mz = -1).",
        f"Spin torque: {'on' if spin_torque else 'off (aJ = 0)'}. Start: bottom of the well {initial!r}.",
        "At an operating point and in a DC sweep m is held at (mx0, my0, mz0).",
        "",
        f"Junction: diameter {junction.diameter!r} m, t_F {junction.t_F!r} m, t_ox {junction.t_ox!r} m,",
        f"  Ms {junction.Ms!r} A/m, K_i {junction.K_i!r} J/m^2, xi {junction.xi!r} J/(V m),",
        f"  N {junction.N!r},",
        f"  RA {junction.RA!r} ohm m^2, oxide eps_r {PERMITTIVITY.value!r}.",
        "",
        f"Limits: a macrospin; the diameter is {junction.diameter / nm:g} nm.",
        size,
        "  No thermal noise: a run is one noiseless trajectory, not a switching probability.",
        "  Rectangular pulses understate a write error rate: drive it with real edges and lines.",
    ]


_NGSPICE = """\
* The junction: conductance (1/RP) (1 + TMR (1 + mz) / 2) / (1 + TMR) with TMR = TMR0 / (1 + (V / Vh)^2)
Bmtj reference free I = V(reference, free) * {1 / RP}
+ * (V(reference, free) * V(reference, free) + {Vh * Vh} * (1 + {TMR0 / 2} * (1 + V(mz))))
+ / (V(reference, free) * V(reference, free) + {Vh * Vh * (1 + TMR0)})
Cmtj reference free {Cox}
* Fields along z [T]: of the precession, of the damping; then damping field * m and m * m
Bturn turn 0 V = {Bz} + ({Bk} + {dBk} * V(reference, free)) * V(mz) - {alpha * aJ} * V(reference, free)
Bdamp damp 0 V = {alpha} * ({Bz} + ({Bk} + {dBk} * V(reference, free)) * V(mz)) + {aJ} * V(reference, free)
Bdot dot 0 V = {alpha} * ({Bx} * V(mx) + {By} * V(my)) + V(damp) * V(mz)
Bmm mm 0 V = V(mx) * V(mx) + V(my) * V(my) + V(mz) * V(mz)
* 0 V at an operating point and in a DC sweep, 1 V in a transient (the variable time is not 0 in a sweep)
Vrun run 0 dc 0 pwl(0 0 1f 1)
* Cm dm/dt = -m x turn - m x (m x damp) + Bm (1 - m^2) m; before the transient m = (mx0, my0, mz0)
Cx mx 0 {Cm} ic={mx0}
Cy my 0 {Cm} ic={my0}
Cz mz 0 {Cm} ic={mz0}
Bix 0 mx I = (1 - V(run)) * ({mx0} - V(mx)) + V(run) * (V(mz) * {By} - V(my) * V(turn)
+ - V(dot) * V(mx) + V(mm) * {alpha * Bx} + {Bm} * (1 - V(mm)) * V(mx))
Biy 0 my I = (1 - V(run)) * ({my0} - V(my)) + V(run) * (V(mx) * V(turn) - V(mz) * {Bx}
+ - V(dot) * V(my) + V(mm) * {alpha * By} + {Bm} * (1 - V(mm)) * V(my))
Biz 0 mz I = (1 - V(run)) * ({mz0} - V(mz)) + V(run) * (V(my) * {Bx} - V(mx) * {By}
+ - V(dot) * V(mz) + V(mm) * V(damp) + {Bm} * (1 - V(mm)) * V(mz))
"""


def ngspice(junction: Junction, *, name: str = "VCMTJ", spin_torque: bool = False, initial: Well = "up") -> str:
    """Return a subcircuit for ngspice: ``X1 reference free mx my mz VCMTJ``, alone in a file to ``.include``.

    A positive voltage from ``reference`` to ``free`` is the junction's positive voltage. The nodes mx, my and
    mz show the direction of the free layer. Every parameter can be set for one instance: ``X1 ... VCMTJ
    Bz=2e-3``.

    Above 40 to 50 nm a real junction reverses incoherently; there is no thermal noise, and a rectangular
    pulse understates a write error rate.

    Args:
        junction: gives the parameters; its temperature is not used.
        name: of the subcircuit; letters, digits and underscores.
        spin_torque: add the Slonczewski torque of :func:`voltaspin.device.torque.spin_torque_field`.
        initial: ``"up"`` (parallel, bit 0) or ``"down"``; m starts at the bottom of that well.

    Returns:
        The text of the file.

    Raises:
        InputError: a name that is no identifier, or an unknown well.
    """
    _require_name(name)
    parameters = _parameters(junction, spin_torque, initial)
    status = (
        "Tested with ngspice 39 against voltaspin's own integrator. Keep time steps at 1 ps or below: through\n"
        "a 0.6 ns pulse and 5 ns after it m then differs by 7e-5 (generator preset), with 5 ps by 2e-3."
    )
    lines = [f"* {line}".rstrip() for line in _header(junction, name, spin_torque, initial, status)]
    lines += ["*", "* Parameters:", *(f"*   {p.name:5} {p.unit:4} {p.meaning}" for p in parameters)]
    lines += [f".subckt {name} reference free mx my mz", *(f"+ {p.name}={p.value!r}" for p in parameters)]
    return "\n".join(lines) + "\n" + _NGSPICE + f".ends {name}\n"


_VERILOG_A = """\
  real v, along, turn, damp, dot, mm, ix, iy, iz;

  analog begin
    v = V(reference, free);

    // The junction: conductance (1/RP) (1 + TMR (1 + mz) / 2) / (1 + TMR) with TMR = TMR0 / (1 + (v / Vh)^2)
    I(reference, free) <+ v / RP * (v * v + Vh * Vh * (1.0 + 0.5 * TMR0 * (1.0 + V(mz))))
      / (v * v + Vh * Vh * (1.0 + TMR0));
    I(reference, free) <+ Cox * ddt(v);

    // Fields along z [T]: of the precession, of the damping; then damping field * m and m * m
    along = Bz + (Bk + dBk * v) * V(mz);
    turn = along - alpha * aJ * v;
    damp = alpha * along + aJ * v;
    dot = alpha * (Bx * V(mx) + By * V(my)) + damp * V(mz);
    mm = V(mx) * V(mx) + V(my) * V(my) + V(mz) * V(mz);

    // Cm dm/dt = -m x turn - m x (m x damp) + Bm (1 - m^2) m; before the transient m = (mx0, my0, mz0)
    if (analysis("static")) begin
      ix = mx0 - V(mx);
      iy = my0 - V(my);
      iz = mz0 - V(mz);
    end else begin
      ix = V(mz) * By - V(my) * turn - dot * V(mx) + mm * alpha * Bx + Bm * (1.0 - mm) * V(mx);
      iy = V(mx) * turn - V(mz) * Bx - dot * V(my) + mm * alpha * By + Bm * (1.0 - mm) * V(my);
      iz = V(my) * Bx - V(mx) * By - dot * V(mz) + mm * damp + Bm * (1.0 - mm) * V(mz);
    end
    I(mx) <+ Cm * ddt(V(mx)) - ix;
    I(my) <+ Cm * ddt(V(my)) - iy;
    I(mz) <+ Cm * ddt(V(mz)) - iz;
  end
endmodule
"""


def verilog_a(junction: Junction, *, name: str = "VCMTJ", spin_torque: bool = False, initial: Well = "up") -> str:
    """Return the module of :func:`ngspice` in Verilog-A; no circuit simulator has run it yet, and its header says so.

    Above 40 to 50 nm a real junction reverses incoherently; there is no thermal noise, and a rectangular
    pulse understates a write error rate.

    Args:
        junction, spin_torque, initial: as :func:`ngspice`.
        name: of the module; letters, digits and underscores, not all in lower case.

    Returns:
        The text of the file.

    Raises:
        InputError: a name that is no identifier or may be a keyword, or an unknown well.
    """
    _require_name(name)
    if name.islower():
        raise InputError(
            f"module name {name!r} is all lower case, as the keywords of Verilog-A are; begin it with a capital "
            f"letter, e.g. {name.capitalize()!r}"
        )
    status = (
        "UNTESTED in a circuit simulator. OpenVAF's front end compiles it, and the currents that it computes\n"
        "agree with voltaspin's own integrator."
    )
    lines = [f"// {line}".rstrip() for line in _header(junction, name, spin_torque, initial, status)]
    lines += ['`include "disciplines.vams"', "", f"module {name}(reference, free, mx, my, mz);"]
    lines += ["  inout reference, free, mx, my, mz;", "  electrical reference, free, mx, my, mz;", ""]
    lines += [
        f'  (* units="{p.unit}", desc="{p.meaning}" *)\n  parameter real {p.name} = {p.value!r};'
        for p in _parameters(junction, spin_torque, initial)
    ]
    return "\n".join(lines) + "\n" + _VERILOG_A


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(
            f"name {name!r} is no identifier of a circuit simulator; begin with a letter and use letters, digits "
            "and underscores only, e.g. 'VCMTJ'"
        )
