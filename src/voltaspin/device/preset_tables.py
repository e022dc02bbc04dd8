"""The numbers of the ready junctions, each with its source: two of this project, and published ones.

One junction cannot be both a *generator* of random bits and a *storage* cell. The generator's 30 mT in-plane
field makes it switch within a nanosecond and leaves a barrier of 26 k_B T, which keeps a bit for about a
minute. The storage junction keeps at least 60 k_B T and needs a larger VCMA effect for a voltage that the
oxide survives.

The published ones are named after first author (or house) and year. Most are compact models, whose inputs
nobody measured: such a number is graded ``assumed`` and its source says where it was read. Where a publication
says nothing, the generator's value is used, and its source begins with "not given". The demagnetising factors
are those that each model uses, so that the junction is the one its authors simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from voltaspin.core.errors import unknown
from voltaspin.core.quantity import Sourced
from voltaspin.core.units import fJ_per_Vm, mT, mu_0, nm, ohm_um2
from voltaspin.device.terms import TERMS

Numbers = dict[str, Sourced]


_DIRECTIONS = {"reference", "line.sigma"}


def _azimuth(degrees: float) -> tuple[float, float, float]:
    """Direction in the plane; the axes exactly."""
    angle = math.radians(degrees)
    return round(math.cos(angle), 15) + 0.0, round(math.sin(angle), 15) + 0.0, 0.0


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A junction as a table of sourced numbers.

    Args:
        name: by which :meth:`Junction.of` finds it.
        title: what it is, in a few words.
        citation: the publication.
        numbers: by argument of :class:`Junction`, SI; ``Delta`` may stand for ``K_i``, ``B_bias`` is along x, ``N``
            is Nz alone (a true cylinder where absent). ``"line.width"`` is the width of the term ``line``; a direction
            (``reference``, ``line.sigma``) is its azimuth in degrees, in the plane of the layer.
        notes: what a reader must know before comparing it with the others.
    """

    name: str
    title: str
    citation: str
    numbers: Numbers
    notes: str = ""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of :class:`Junction`, or with ``Delta`` those of :meth:`Junction.from_stability`."""
        made: dict[str, Any] = {key: number.value for key, number in self.numbers.items()}
        if (Nz := made.pop("N", None)) is not None:
            made["N"] = ((1 - Nz) / 2, (1 - Nz) / 2, Nz)
        for key in _DIRECTIONS & made.keys():
            made[key] = _azimuth(made[key])
        for term, kind in TERMS.items():
            inner = {key.partition(".")[2]: made.pop(key) for key in list(made) if key.startswith(term + ".")}
            if inner:
                made[term] = kind(**inner)
        return {**made, "B_bias": (made["B_bias"], 0.0, 0.0), "name": self.name}


# ---- generator and storage ----

_RANGE = "inside the range published for CoFeB/MgO junctions (arXiv 2106.12304, 2211.16588)"
_OURS = "chosen for this project, "

_COMMON: Numbers = {
    "diameter": Sourced(50 * nm, "m", _OURS + _RANGE, "assumed", 40 * nm, 70 * nm),
    "t_F": Sourced(1.1 * nm, "m", _OURS + _RANGE, "assumed", 1.0 * nm, 1.5 * nm),
    "t_ox": Sourced(1.4 * nm, "m", _OURS + "just below the published oxides", "assumed", 1.4 * nm, 2.8 * nm),
    "Ms": Sourced(1.0e6, "A/m", _OURS + _RANGE, "assumed", 1.0e6, 1.2e6),
    "alpha_G": Sourced(0.02, "1", _OURS + _RANGE, "assumed", 0.01, 0.03),
    "B_bias": Sourced(30 * mT, "T along x", _OURS + "20 mT in the model of Song et al. 2018", "assumed"),
    "temperature": Sourced(300.0, "K", "room temperature", "assumed"),
    "RA": Sourced(1000 * ohm_um2, "ohm m^2", _OURS + "10 to 1.76e5 ohm um^2 are published", "assumed",
                  9.8 * ohm_um2, 1.76e5 * ohm_um2),
    "TMR0": Sourced(1.0, "1", _OURS + "120 % in arXiv 2211.16588", "assumed", 1.0, 1.6),
    "V_h": Sourced(0.5, "V", "arXiv 2211.16588, parameter table (itself a model)", "assumed"),
}  # fmt: skip

_GENERATOR = Preset(
    name="generator",
    title="fast, weakly retained random bits",
    citation="this project",
    numbers={
        **_COMMON,
        "Delta": Sourced(40.0, "k_B T at 300 K", _OURS + "K_eff = 7.67e4 J/m^3, B_k = 0.153 T", "assumed"),
        "xi": Sourced(100 * fJ_per_Vm, "J/(V m)", _OURS + "30 to 100 fJ/(V m) is typical of CoFeB/MgO, 33 to "
                      "290 in the model of Song et al. 2018", "assumed",
                      33 * fJ_per_Vm, 290 * fJ_per_Vm),
    },
)  # fmt: skip

_STORAGE = Preset(
    name="storage",
    title="a cell that keeps its bit",
    citation="this project",
    numbers={
        **_COMMON,
        "Delta": Sourced(76.0, "k_B T at 300 K", _OURS + "leaves 61 k_B T under the 30 mT in-plane field",
                         "assumed"),
        "xi": Sourced(200 * fJ_per_Vm, "J/(V m)", _OURS + "so that V_c stays near 1.1 V; it needs an "
                      "Ir-doped interface (up to about 320 fJ/(V m), recalled)", "assumed",
                      100 * fJ_per_Vm, 320 * fJ_per_Vm),
    },
)  # fmt: skip


# ---- published junctions, by year ----


def _not_given(key: str, why: str = "the generator's value is used") -> Sourced:
    number = _GENERATOR.numbers[key]
    return replace(number, source=f"not given: {why}")


def _oersted(H: float) -> float:
    return H * 1e-4  # the induction of one oersted in vacuum is 1e-4 T


_KANAI_2016 = Preset(
    name="kanai-2016",
    title="measured, thick oxide: the largest RA",
    citation="S. Kanai, F. Matsukura, H. Ohno, Appl. Phys. Lett. 108, 192406 (2016)",
    numbers={
        **{key: _not_given(key) for key in ("diameter", "t_F", "Ms", "Delta", "xi", "alpha_G", "B_bias")},
        **{key: _not_given(key) for key in ("temperature", "TMR0", "V_h")},
        "t_ox": Sourced(2.8 * nm, "m", "Kanai et al. 2016, abstract", "measured"),
        "RA": Sourced(176e3 * ohm_um2, "ohm m^2", "Kanai et al. 2016, abstract", "measured"),
    },
    notes="Only the abstract could be read: the oxide is measured, and the free layer is the generator's. The paper's "
    "6.3 fJ per bit is mostly Joule heat, because the resistance of a thick oxide falls steeply with bias. "
    "The parallel resistance of this model does not fall, so its ohmic energy comes out far too small.",
)

_WANG = "model input of Wang et al. 2016, published program (MTJ_LLG_Model, CPP/Mythread.cpp)"
_WANG_AT_300_K = 1 - (300 / 1120) ** 1.5  # Ms(T) / Ms(0), with the model's T* = 1120 K
_WANG_AREA = math.pi * (60 * nm) ** 2 / 4

_WANG_2016 = Preset(
    name="wang-2016",
    title="model of a magnetoelectric memory (UCLA)",
    citation="S. Wang, H. Lee, F. Ebrahimi, P. Khalili Amiri, K. L. Wang, P. Gupta, IEEE J. Emerg. Sel. Top. Circuits "
    "Syst. 6(2), 134 (2016)",
    numbers={
        "diameter": Sourced(60 * nm, "m", _WANG + "; 40 nm in its GPU version", "assumed", 40 * nm, 60 * nm),
        "t_F": Sourced(1.22 * nm, "m", _WANG + "; 1.2 nm in its GPU version", "assumed", 1.2 * nm, 1.22 * nm),
        "t_ox": Sourced(
            math.log(100e3 * _WANG_AREA * 1e13 / 1.54e-3) / 1.1537278e10,
            "m",
            "the model's exponential law between RA and t_ox, at its RA; " + _WANG,
            "derived",
        ),
        "Ms": Sourced(1393128.323 * _WANG_AT_300_K, "A/m", "Ms(0) [1 - (T/1120 K)^1.5] at 300 K; " + _WANG, "derived"),
        "K_i": Sourced(
            1.479036e-3 * _WANG_AT_300_K**2.18, "J/m^2", "K_i(0) [Ms(T)/Ms(0)]^2.18 at 300 K; " + _WANG, "derived"
        ),
        "xi": Sourced(
            130.39247 * fJ_per_Vm * _WANG_AT_300_K**2.83,
            "J/(V m)",
            "xi(0) [Ms(T)/Ms(0)]^2.83 at 300 K; a comment beside it and the program's GPU version have 35 fJ/(V m); "
            + _WANG,
            "derived",
            35 * fJ_per_Vm,
            85.5 * fJ_per_Vm,
        ),
        "alpha_G": Sourced(0.02, "1", _WANG, "assumed"),
        "B_bias": Sourced(mu_0 * 11000, "T along x", "11 kA/m in plane; " + _WANG, "assumed"),
        "temperature": Sourced(300.0, "K", _WANG, "assumed"),
        "RA": Sourced(100e3 * _WANG_AREA, "ohm m^2", "100 kohm times the area of the pillar; " + _WANG, "derived"),
        "TMR0": Sourced(1.0, "1", _WANG, "assumed"),
        "V_h": _not_given("V_h", "the model holds the TMR constant under bias; the generator's value is used"),
        "N": Sourced(
            0.923453,
            "1, along z",
            "the own formula of the program of Wang et al. 2016, worked out here; it uses k^2 instead of the "
            "modulus k of its elliptic integrals: a true cylinder has 0.9381, Delta 46 and V_c 0.98 V",
            "derived",
            0.923,
            0.9381,
        ),
    },
    notes="The numbers are those of the program's CPU version. Its GPU version has others (40 nm, 1 kohm, "
    "35 fJ/(V m)). It is not known which of the two made the paper's figures.",
)

_SONG = "model input of Song et al. 2018, default of the SPICE model (mtj.umn.edu), read in a copy"
_SONG_MS = 950e3 * (1 - 358 / 1420) ** 0.4
_SONG_POLARISATION = 0.54 * (1 - 2e-5 * 358**1.5)

_SONG_2018 = Preset(
    name="song-2018",
    title="SPICE model (University of Minnesota), hot",
    citation="J. Song, I. Ahmed, Z. Zhao, D. Zhang, S. S. Sapatnekar, J.-P. Wang, C. H. Kim, IEEE J. Explor. "
    "Solid-State Comput. Devices Circuits 4(2), 76 (2018), doi 10.1109/JXCDC.2018.2880205",
    numbers={
        "diameter": Sourced(
            70 * nm * math.sqrt(4 / math.pi), "m", "the circle with the area of 70 nm x 70 nm; " + _SONG, "derived"
        ),
        "t_F": Sourced(1.49 * nm, "m", _SONG, "assumed"),
        "t_ox": Sourced(1.4 * nm, "m", _SONG, "assumed"),
        "Ms": Sourced(_SONG_MS, "A/m", "950 kA/m (1 - T/1420 K)^0.4 at 358 K; " + _SONG, "derived"),
        "K_i": Sourced(
            mu_0 * _SONG_MS**2 / 2 * 1.5 * nm,
            "J/m^2",
            "mu0 Ms^2 t_c / 2 with the critical thickness t_c = 1.5 nm; " + _SONG,
            "derived",
        ),
        "xi": Sourced(
            33 * fJ_per_Vm,
            "J/(V m)",
            "the default; the paper also studies 105 and 290 fJ/(V m); " + _SONG,
            "assumed",
            33 * fJ_per_Vm,
            290 * fJ_per_Vm,
        ),
        "alpha_G": Sourced(0.025, "1", _SONG, "assumed"),
        "B_bias": Sourced(_oersted(200), "T along x", "200 Oe in plane; " + _SONG, "assumed"),
        "temperature": Sourced(358.0, "K", _SONG, "assumed"),
        "RA": Sourced(130 * ohm_um2, "ohm m^2", _SONG, "assumed"),
        "TMR0": Sourced(
            2 * _SONG_POLARISATION**2 / (1 - _SONG_POLARISATION**2),
            "1",
            "Julliere's formula with the polarisation 0.54 (1 - 2e-5 (T/K)^1.5) at 358 K; " + _SONG,
            "derived",
        ),
        "V_h": Sourced(0.65, "V", _SONG, "assumed"),
        "N": Sourced(0.937899, "1, along z", "formula for the square prism, worked out here; " + _SONG, "derived"),
    },
    notes="At 33 fJ/(V m) V_c lies above 2 V, near the breakdown of 1.4 nm of MgO. The published pulse is 2.45 V for "
    "0.48 ns, at which the 20 mT in-plane field has already removed the barrier. The best switching probabilities of "
    "the paper are 94.9, 84.8 and 53.5 % at 33, 105 and 290 fJ/(V m).",
)

_ZHANG = "model input of Zhang et al. 2020, as in a public Python port of it (vgsot_python_model)"

_ZHANG_2020 = Preset(
    name="zhang-2020",
    title="model of a voltage-gated SOT junction (Beihang)",
    citation="K. Zhang, D. Zhang, C. Wang, L. Zeng, Y. Wang, W. Zhao, IEEE Access 8, 50792 (2020)",
    numbers={
        "diameter": Sourced(50 * nm, "m", _ZHANG, "assumed"),
        "t_F": Sourced(1.1 * nm, "m", _ZHANG, "assumed"),
        "t_ox": Sourced(1.4 * nm, "m", _ZHANG, "assumed"),
        "Ms": Sourced(0.625e6, "A/m", _ZHANG, "assumed"),
        "K_i": Sourced(0.32e-3, "J/m^2", _ZHANG, "assumed"),
        "xi": Sourced(60 * fJ_per_Vm, "J/(V m)", _ZHANG, "assumed"),
        "alpha_G": Sourced(0.05, "1", _ZHANG, "assumed"),
        "B_bias": Sourced(_oersted(50), "T along x", "exchange bias of 50 Oe in plane; " + _ZHANG, "assumed"),
        "temperature": Sourced(300.0, "K", _ZHANG, "assumed"),
        "RA": Sourced(650 * ohm_um2, "ohm m^2", _ZHANG, "assumed"),
        "TMR0": Sourced(1.0, "1", _ZHANG, "assumed"),
        "V_h": Sourced(0.5, "V", _ZHANG, "assumed"),
        "N": Sourced(
            1 - math.pi * 1.1 / (2 * 50),
            "1, along z",
            "1 - pi t_F / (2 diameter), where a true cylinder has 0.9341, Delta 36 and V_c 1.8 V; " + _ZHANG,
            "derived",
            0.9341,
            0.966,
        ),
    },
    notes="The model writes with spin-orbit torque and only helps with the voltage. Here the voltage acts alone. Its "
    "in-plane field is an exchange bias, and so weak that precession takes several nanoseconds.",
)

_ARM = "model input of the Arm framework, published Verilog-A version and arXiv 2106.12304"

_ARM_2021 = Preset(
    name="arm-2021",
    title="model of a spin-transfer memory cell (Arm)",
    citation="F. Garcia-Redondo, P. Prabhat, M. Bhargava, C. Dray, SMACD 2021, arXiv 2106.12304",
    numbers={
        "diameter": Sourced(50 * nm, "m", _ARM, "assumed"),
        "t_F": Sourced(1.0 * nm, "m", _ARM, "assumed"),
        "t_ox": Sourced(1.6 * nm, "m", _ARM, "assumed"),
        "Ms": Sourced(1.2e6, "A/m", _ARM + "; 0.97e6 by default in its Python version", "assumed", 0.97e6, 1.2e6),
        "K_i": Sourced(1e-3, "J/m^2", _ARM, "assumed"),
        "xi": Sourced(61 * fJ_per_Vm, "J/(V m)", _ARM + "; the effect is off by default", "assumed"),
        "alpha_G": Sourced(0.01, "1", _ARM + "; 0.005 by default in its Python version", "assumed", 0.005, 0.01),
        "B_bias": Sourced(0.0, "T along x", "the field is an input of the model, zero by default; " + _ARM, "assumed"),
        "temperature": Sourced(300.0, "K", "default of the Arm framework's Python version", "assumed"),
        "RA": Sourced(6e3 * math.pi * (25 * nm) ** 2, "ohm m^2", "6 kohm times the area; " + _ARM, "derived"),
        "TMR0": Sourced(
            2 * 0.75**2 / (1 - 0.75**2), "1", "Julliere's formula with a polarisation of 0.75; " + _ARM, "derived"
        ),
        "V_h": _not_given("V_h", "the model holds the TMR constant under bias; the generator's value is used"),
        "N": Sourced(0.941, "1, along z", _ARM + "; its in-plane factors of 0.029 leave 0.001 over", "assumed"),
    },
    notes="The cell is made for spin transfer, without an in-plane field. V_c is 2.9 V/nm, which no oxide survives. It "
    "shows the effect of the usual xi on a free layer that was not made for voltage.",
)

_LIU = "model input of Liu et al. 2022, arXiv 2211.16588, parameter table"
_LIU_PROGRAM = "model input of Liu et al. 2022, published program (Stochastic_MTJ_Model)"

_LIU_2022 = Preset(
    name="liu-2022",
    title="model of a random-bit generator (UT Austin)",
    citation="S. Liu et al., IEEE J. Explor. Solid-State Comput. Devices Circuits 8(2), 194 (2022), arXiv 2211.16588",
    numbers={
        "diameter": Sourced(50 * nm, "m", _LIU, "assumed"),
        "t_F": Sourced(1.1 * nm, "m", _LIU, "assumed"),
        "t_ox": Sourced(1.5 * nm, "m", _LIU, "assumed"),
        "Ms": Sourced(1.2e6, "A/m", _LIU, "assumed"),
        "K_i": Sourced(1.0056364e-3, "J/m^2", _LIU_PROGRAM, "assumed"),
        "xi": Sourced(75 * fJ_per_Vm, "J/(V m)", _LIU, "assumed"),
        "alpha_G": Sourced(0.03, "1", _LIU, "assumed"),
        "B_bias": Sourced(0.0, "T along x", "no applied field; " + _LIU_PROGRAM, "assumed"),
        "temperature": Sourced(300.0, "K", _LIU_PROGRAM, "assumed"),
        "RA": Sourced(5e3 * math.pi * (25 * nm) ** 2, "ohm m^2", "5 kohm times the area; " + _LIU, "derived"),
        "TMR0": Sourced(1.2, "1", _LIU, "assumed"),
        "V_h": Sourced(0.5, "V", _LIU, "assumed"),
        "N": Sourced(
            0.978773644214052,
            "1, along z",
            _LIU_PROGRAM + "; a true cylinder has 0.9341, Delta 52 and V_c 2.2 V",
            "assumed",
            0.9341,
            0.9788,
        ),
    },
    notes="Without an in-plane field nothing precesses. A pulse of 1.5 V and 30 ns makes the bit: it turns the "
    "magnetisation into the plane and lets it fall back. The paper gives 20 pJ per bit at this low RA.",
)

# ---- published junctions with further terms ----

_ZHANG_2020_SOT = Preset(
    name="zhang-2020-sot",
    title="model written by spin-orbit torque (Beihang)",
    citation=_ZHANG_2020.citation,
    numbers={
        **_ZHANG_2020.numbers,
        "line.width": Sourced(50 * nm, "m", _ZHANG, "assumed"),
        "line.thickness": Sourced(3 * nm, "m", _ZHANG, "assumed"),
        "line.length": Sourced(60 * nm, "m", _ZHANG, "assumed"),
        "line.resistivity": Sourced(278e-8, "ohm m", "IrMn; " + _ZHANG, "assumed"),
        "line.theta_SH": Sourced(0.25, "1", _ZHANG, "assumed"),
        "line.field_like": Sourced(
            0.0,
            "1",
            "zero for the figures of the paper; -0.83 in this sign in its manual; " + _ZHANG,
            "assumed",
            -0.83,
            0.0,
        ),
        "line.sigma": Sourced(
            -90.0,
            "degrees from x",
            "the model's frame turned so that its exchange bias lies along x; " + _ZHANG,
            "assumed",
        ),
        "line.gate": Sourced(0.0, "1", "the junction unbiased, as in the figures without VCMA; " + _ZHANG, "assumed"),
    },
    notes="This is the device of zhang-2020 with its line of IrMn of 1.1 kohm. Therefore the paper's -85 to -100 uA of "
    "2 ns, which write a 1 into a 0, are -0.095 to -0.111 V. Its torque along z of the junction's own current is left "
    "out.",
)

_ARM_2021_STT = Preset(
    name="arm-2021-stt",
    title="model written by spin transfer (Arm)",
    citation=_ARM_2021.citation,
    numbers={
        **_ARM_2021.numbers,
        "spin_transfer.polarity": Sourced(
            1.0, "1", "chosen: a positive voltage favours antiparallel; " + _ARM, "assumed"
        ),
        "spin_transfer.efficiency": Sourced(
            0.75 / (1 + 0.75**2),
            "1",
            "P / (1 + P^2) at the model's polarisation of 0.75, Slonczewski's value at fixed voltage; " + _ARM,
            "derived",
        ),
        "spin_transfer.field_like": Sourced(0.0, "1", "the model has none by default; " + _ARM, "assumed"),
    },
    notes="This is arm-2021 with the torque for which it was made. At 6 kohm a write takes several nanoseconds, and an "
    "even longer pulse where m begins near its pole.",
)

_SCHNITZSPAN = "Schnitzspan et al. 2023, abstract (arXiv 2301.05694)"
_NOT_IN_SCHNITZSPAN = "not in the abstract of Schnitzspan et al.: "

_SCHNITZSPAN_2023 = Preset(
    name="schnitzspan-2023",
    title="in-plane superparamagnetic bit (p-bit)",
    citation="L. Schnitzspan, M. Klaeui, G. Jakob, 'Nanosecond true random number generation with superparamagnetic "
    "tunnel junctions' (2023), arXiv 2301.05694",
    numbers={
        **{key: _not_given(key) for key in ("t_ox", "Ms", "xi", "alpha_G", "temperature", "TMR0", "V_h")},
        "diameter": Sourced(50 * nm, "m", _SCHNITZSPAN, "measured"),
        "diameter_y": Sourced(
            48.57 * nm,
            "m",
            "the junction is nominally round; this short axis gives the correlation time of 5 ns of " + _SCHNITZSPAN,
            "derived",
            48.0 * nm,
            50.0 * nm,
        ),
        "t_F": Sourced(
            1.8 * nm, "m", _NOT_IN_SCHNITZSPAN + "a usual in-plane CoFeB layer", "assumed", 1.5 * nm, 3 * nm
        ),
        "K_i": Sourced(
            0.9e-3,
            "J/m^2",
            _NOT_IN_SCHNITZSPAN + "usual of CoFeB/MgO; 31 k_B T hold m in the plane",
            "assumed",
            0.0,
            1e-3,
        ),
        "B_bias": Sourced(0.0, "T along x", _NOT_IN_SCHNITZSPAN + "a compensated stray field", "assumed"),
        "RA": Sourced(15 * ohm_um2, "ohm m^2", _SCHNITZSPAN, "measured"),
        "reference": Sourced(0.0, "degrees from x", _NOT_IN_SCHNITZSPAN + "along the long axis", "assumed"),
        "spin_transfer.polarity": Sourced(
            1.0, "1", _NOT_IN_SCHNITZSPAN + "a positive voltage favours antiparallel", "assumed"
        ),
    },
    notes="The size, RA, dwell times below 10 ns and correlation times down to 5 ns are measured. Everything else "
    "belongs to a layer that the abstract does not describe. The paper finds Joule heating, which is off here, because "
    "no thermal resistance could be read.",
)

PRESETS = {
    p.name: p
    for p in (
        _GENERATOR, _STORAGE, _KANAI_2016, _WANG_2016, _SONG_2018, _ZHANG_2020, _ARM_2021, _LIU_2022, _ZHANG_2020_SOT,
        _ARM_2021_STT, _SCHNITZSPAN_2023,
    )
}  # fmt: skip


def entry(name: str) -> Preset:
    """Return title, citation, numbers and notes of a preset; raises InputError with the list of names."""
    if name not in PRESETS:
        raise unknown("preset junction", name, PRESETS)
    return PRESETS[name]
