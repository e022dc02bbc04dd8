"""Two ready junctions, because one cannot be both: a *generator* of random bits and a *storage* cell.

The generator's 30 mT in-plane field makes it switch within a nanosecond and leaves a barrier of 26 k_B T,
which keeps a bit for about a minute. The storage junction keeps at least 60 k_B T and needs a larger VCMA
effect for a voltage that the oxide survives.
"""

from __future__ import annotations

from voltaspin.device.junction import Junction
from voltaspin.errors import InputError
from voltaspin.sourced import Sourced
from voltaspin.units import fJ_per_Vm, mT, nm, ohm_um2

_RANGE = "inside the range published for CoFeB/MgO junctions (arXiv 2106.12304, 2211.16588)"
_OURS = "chosen for this project, "

_COMMON: dict[str, Sourced] = {
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

_SOURCES: dict[str, dict[str, Sourced]] = {
    "generator": {
        **_COMMON,
        "Delta": Sourced(40.0, "k_B T at 300 K", _OURS + "K_eff = 7.67e4 J/m^3, B_k = 0.153 T", "assumed"),
        "xi": Sourced(100 * fJ_per_Vm, "J/(V m)", _OURS + "30 to 100 fJ/(V m) is typical of CoFeB/MgO, 33 to "
                      "290 in the model of Song et al. 2018", "assumed",
                      33 * fJ_per_Vm, 290 * fJ_per_Vm),
    },
    "storage": {
        **_COMMON,
        "Delta": Sourced(76.0, "k_B T at 300 K", _OURS + "leaves 61 k_B T under the 30 mT in-plane field",
                         "assumed"),
        "xi": Sourced(200 * fJ_per_Vm, "J/(V m)", _OURS + "so that V_c stays near 1.1 V; it asks for an "
                      "Ir-doped interface (up to about 320 fJ/(V m), recalled)", "assumed",
                      100 * fJ_per_Vm, 320 * fJ_per_Vm),
    },
}  # fmt: skip


def _build(name: str) -> Junction:
    v = {key: number.value for key, number in _SOURCES[name].items()}
    return Junction.from_stability(
        Delta=v["Delta"], diameter=v["diameter"], t_F=v["t_F"], t_ox=v["t_ox"], Ms=v["Ms"], xi=v["xi"],
        alpha_G=v["alpha_G"], B_bias=(v["B_bias"], 0.0, 0.0), temperature=v["temperature"], RA=v["RA"],
        TMR0=v["TMR0"], V_h=v["V_h"], name=name,
    )  # fmt: skip


generator: Junction = _build("generator")
storage: Junction = _build("storage")
_JUNCTIONS = {"generator": generator, "storage": storage}


def names() -> tuple[str, ...]:
    """Names of the presets."""
    return tuple(_JUNCTIONS)


def _known(name: str) -> None:
    if name not in _JUNCTIONS:
        raise InputError(f"no preset junction is called {name!r}; known: {', '.join(_JUNCTIONS)}")


def get(name: str) -> Junction:
    """The preset of that name; raises InputError with the list of names."""
    _known(name)
    return _JUNCTIONS[name]


def sources(name: str) -> dict[str, Sourced]:
    """Every parameter of the preset with its source and grade; raises InputError with the list of names."""
    _known(name)
    return dict(_SOURCES[name])
