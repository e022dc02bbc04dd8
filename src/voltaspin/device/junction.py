"""A magnetic tunnel junction, voltage-controlled first of all.

The free layer is a pillar that switches as one macrospin. Its perpendicular anisotropy comes from the interface and
falls with the voltage (VCMA). Further terms can be switched on: an elliptical pillar, a second-order anisotropy,
another reference layer, a series resistance, spin transfer, a spin-orbit line and self-heating
(:mod:`voltaspin.device.terms`).

Signs: the reference layer points along +z where nothing else is said, so *up* is *parallel*, and it stores the bit 0.
A positive voltage lowers the perpendicular anisotropy for a positive ``xi``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object, read_object, write_json
from voltaspin.core.spec import built, without_head
from voltaspin.core.units import gamma_e, k_B, mu_0, parse_assignment, require_positive
from voltaspin.device.demagnetisation import cylinder_demagnetisation, ellipse_demagnetisation
from voltaspin.device.energy import Energy
from voltaspin.device.landscape import Landscape, Well, effective_B_z
from voltaspin.device.parameters import AT_REST, IN_TERMS, OFF, PARAMETERS, as_lists, is_on, parameters_html
from voltaspin.device.preset_tables import PRESETS, entry
from voltaspin.device.pulse import Pulse
from voltaspin.device.terms import SelfHeating, SpinOrbitLine, SpinTransfer, Vector, unit_vector

__all__ = ["PARAMETERS", "Junction", "Pulse", "Well"]

_HEAD: dict[str, Any] = {"kind": "junction", "schema_version": 1}
_HOLDERS = ("fit", "device-characterisation")  #: kinds of files that hold a junction beside other data


@dataclass(frozen=True, kw_only=True, repr=False)
class Junction:
    """One junction, SI throughout.

    Above a diameter of 40 to 50 nm a real free layer reverses incoherently and a macrospin overestimates
    ``Delta`` (arXiv 1410.7361).

    Args:
        diameter: of the pillar [m].
        t_F: thickness of the free layer [m].
        t_ox: thickness of the tunnel oxide [m].
        Ms: saturation magnetisation [A/m].
        K_i: interfacial perpendicular anisotropy [J/m^2].
        xi: VCMA coefficient [J/(V m)]: K_i falls by xi * voltage / t_ox.
        alpha_G: Gilbert damping [1].
        B_bias: fixed field (x, y, z) from outside, stray fields included [T].
        temperature: [K]; zero switches the thermal field off.
        RA: resistance-area product in the parallel state [ohm m^2].
        TMR0: (R_AP - R_P) / R_P at vanishing voltage [1].
        V_h: voltage at which the TMR has halved [V].
        N: demagnetising factors (Nx, Ny, Nz); those of the cylinder where absent.
        name: for messages and reports.
        diameter_y: of an elliptical pillar along y, its short axis [m]; round where absent.
        K2: second-order anisotropy [J/m^3]: the energy is K_eff sin^2 + K2 sin^4 of the polar angle.
        R_series: of everything between the driver and the pillar [ohm].
        reference: magnetisation of the reference layer, made a unit vector. What is read is the projection on it.
        spin_transfer: torque of the tunnel current.
        line: spin-orbit line; the pulse then drives the line.
        heating: of the free layer by the pulse.

    Raises:
        InputError: a value is out of its physical range; the message names it.

    Source: VCMA anisotropy and TMR(V) as in the compact models of arXiv 2106.12304 and arXiv 2211.16588.
    """

    diameter: float
    t_F: float
    t_ox: float
    Ms: float
    K_i: float
    xi: float
    alpha_G: float
    B_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    temperature: float = 300.0
    RA: float = 1000e-12
    TMR0: float = 1.0
    V_h: float = 0.5
    N: tuple[float, float, float] | None = None
    name: str = "junction"
    diameter_y: float | None = None
    K2: float = 0.0
    R_series: float = 0.0
    reference: Vector = (0.0, 0.0, 1.0)
    spin_transfer: SpinTransfer | None = None
    line: SpinOrbitLine | None = None
    heating: SelfHeating | None = None

    def __post_init__(self) -> None:
        require_positive("diameter", self.diameter, "m", "give the pillar's diameter, e.g. 50 * nm")
        require_positive("t_F", self.t_F, "m", "give the free layer's thickness, e.g. 1.1 * nm")
        require_positive("t_ox", self.t_ox, "m", "give the oxide's thickness, e.g. 1.4 * nm")
        require_positive("Ms", self.Ms, "A/m", "give the saturation magnetisation, e.g. 1e6")
        require_positive("K_i", self.K_i, "J/m^2", "give the interface anisotropy, e.g. 7e-4", zero=True)
        require_positive("alpha_G", self.alpha_G, "", "give the Gilbert damping, e.g. 0.02")
        require_positive("temperature", self.temperature, "K", "give kelvin, e.g. 300", zero=True)
        require_positive("RA", self.RA, "ohm m^2", "give the resistance-area product, e.g. 1000 * ohm_um2")
        require_positive("TMR0", self.TMR0, "", "give a ratio, not percent, e.g. 1.0", zero=True)
        require_positive("V_h", self.V_h, "V", "give the voltage that halves the TMR, e.g. 0.5")
        if not math.isfinite(self.xi) or abs(self.xi) > 1e-11:
            raise InputError(f"xi = {self.xi!r} J/(V m) is not a VCMA coefficient; typical is 100 * fJ_per_Vm = 1e-13")
        if len(self.B_bias) != 3 or not all(math.isfinite(b) for b in self.B_bias):
            raise InputError(f"B_bias = {self.B_bias!r} T must be three finite numbers (x, y, z) in tesla")
        object.__setattr__(self, "B_bias", tuple(float(b) for b in self.B_bias))
        if not abs(self.K2) <= 1e8:
            raise InputError(f"K2 = {self.K2!r} J/m^3 is no second-order anisotropy; typical is 1e3 to 1e5")
        require_positive("R_series", self.R_series, "ohm", "give zero for none", zero=True)
        object.__setattr__(self, "reference", unit_vector("reference", self.reference))
        if self.N is None:
            object.__setattr__(self, "N", self._shape_factors())
        elif len(self.N) != 3 or not all(0 <= n <= 1 for n in self.N) or abs(sum(self.N) - 1) > 1e-6:
            raise InputError(f"N = {self.N!r} must be three factors from 0 to 1 that add up to 1, or None")
        elif self.diameter_y is None and self.N[0] != self.N[1]:
            raise InputError(f"N = {self.N!r}: the pillar is round, so Nx and Ny must be equal; or give diameter_y")
        elif self.N[0] > self.N[1]:
            raise InputError(f"N = {self.N!r}: the long axis is x, so Nx must be the smaller of Nx and Ny")
        if self.diameter_y is not None:
            self._shape_factors()  # refuses a pillar that is no ellipse along x

    def __repr__(self) -> str:
        """The arguments; a term that is off is left out."""
        given = [f for f in fields(self) if f.name not in OFF or is_on(self, f.name)]
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in given)})"

    _repr_html_ = parameters_html

    def _shape_factors(self) -> Vector:
        if self.diameter_y is None:
            return cylinder_demagnetisation(diameter=self.diameter, height=self.t_F)
        return ellipse_demagnetisation(diameter=self.diameter, diameter_y=self.diameter_y, height=self.t_F)

    @property
    def terms(self) -> tuple[str, ...]:
        """The fields that switch on more than VCMA in a round pillar with a perpendicular reference layer."""
        return tuple(name for name in OFF if is_on(self, name))

    @property
    def in_plane(self) -> bool:
        """Whether the reference layer is."""
        return abs(self.reference[2]) < 1e-6

    def require_plain(self, what: str) -> None:
        """Raise InputError where a term is on that ``what`` does not know."""
        if self.terms:
            raise InputError(
                f"{what} knows VCMA in a round pillar with a perpendicular reference layer alone, and {self.name} has "
                f"{', '.join(self.terms)}; take a junction without, or llg and fokker_planck, which know them"
            )

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the junction that a text names: a preset or a file, and changes of its parameters.

        ``"generator"``, ``"junction.json"``, ``"generator, t_F=1.2nm, TMR=150%"``. A file is one of ``device fit``,
        ``device export --format json``, ``device characterise`` or :meth:`save`.

        The demagnetising factors follow ``diameter`` and ``t_F`` where they are those of the cylinder. ``Delta``
        sets K_i after everything else. ``temperature`` changes the thermal field alone, not the material
        (:func:`voltaspin.device.at_temperature`). The name says what was changed.

        Args:
            text: a name of a preset or the path of a file; then, after commas, NAME=VALUE with the names of
                ``PARAMETERS`` (``TMR`` means ``TMR0``) and a value with its unit, in SI without one.

        Raises:
            InputError: an unknown name, a file without a junction, a value that is no quantity of that kind, or
                one that no junction has.
        """
        if Path(text).is_file():
            return cls.load(text)
        base, *changes = (part.strip() for part in text.split(","))
        if base not in PRESETS and (Path(base).is_file() or base.partition("#")[0].endswith(".json")):
            junction = cls.load(base)
        else:
            numbers = entry(base).arguments()
            junction = (cls.from_stability if "Delta" in numbers else cls)(**numbers)
        return junction._changed(changes) if changes else junction

    def _changed(self, changes: list[str]) -> Self:
        known = PARAMETERS | {"TMR": PARAMETERS["TMR0"]}
        given = {{"TMR": "TMR0"}.get(n, n): value for n, value in (parse_assignment(x, known) for x in changes)}
        if "Delta" in given and "K_i" in given:
            raise InputError("Delta and K_i say the same twice; give one of them")
        new: dict[str, Any] = {name: value for name, value in given.items() if name in self.__dict__}
        B_bias = tuple(given.get(f"B_{axis}", held) for axis, held in zip("xyz", self.B_bias, strict=True))
        N = self.N
        if (Nz := given.get("Nz")) is not None:
            if "diameter_y" in {*given, *self.terms}:
                raise InputError(f"Nz = {Nz:g} does not say Nx and Ny of an elliptical pillar; leave it out")
            N = ((1 - Nz) / 2, (1 - Nz) / 2, Nz)
        elif N == self._shape_factors():
            N = None
        for name, value in given.items():
            if name in IN_TERMS:
                term, inner = IN_TERMS[name]
                if (held := new.get(term, getattr(self, term))) is None:
                    raise InputError(
                        f"{name} = {value:g} is of the term {term}, which {self.name} does not have; "
                        f"begin with a junction that does, or give {term}= in Python"
                    )
                new[term] = replace(held, **{inner: value})
        made = replace(self, **{**new, "B_bias": B_bias, "N": N, "name": ", ".join([self.name, *changes])})
        if "Delta" not in given:
            return made
        if made.temperature == 0 or made.K_eff() == 0:
            raise InputError("Delta needs a temperature above zero and a K_eff that is not zero; set K_i instead")
        return made.with_variation(K_eff_scale=given["Delta"] / made.Delta())

    @classmethod
    def from_stability(cls, *, Delta: float, temperature: float = 300.0, **others: Any) -> Self:
        """Return the junction whose thermal stability without any field is ``Delta`` at ``temperature``.

        Args:
            Delta: K_eff volume / (k_B temperature) [1].
            temperature: [K].
            others: the other arguments of the class, without ``K_i``.

        Returns:
            A junction with the K_i that gives this Delta against its demagnetising field.

        Raises:
            InputError: as the class; also where ``temperature`` is zero.
        """
        require_positive("Delta", Delta, "", "give the stability factor, e.g. 40")
        require_positive("temperature", temperature, "K", "Delta is defined at a temperature; give e.g. 300")
        bare = cls(K_i=0.0, temperature=temperature, **others)
        K_eff = Delta * k_B * temperature / bare.volume
        return replace(bare, K_i=(K_eff - bare.K_eff()) * bare.t_F)

    def to_json(self) -> dict[str, Any]:
        """Return the parameters in SI as versioned JSON data, which :meth:`from_json` reads."""
        off = OFF.keys() - set(self.terms)
        return {**_HEAD, **as_lists({key: value for key, value in asdict(self).items() if key not in off})}

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "junction") -> Self:
        """Build from :meth:`to_json` data; raises InputError for another kind, version, field or a bad value."""
        data = without_head(data, **_HEAD, where=where)
        if missing := [f.name for f in fields(cls) if f.name not in data and f.name not in OFF]:
            raise InputError(f"{where}: the field {missing[0]!r} is missing")
        return built(cls, data, where=where)

    def save(self, path: Path | str) -> None:
        """Write versioned JSON."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a junction from its own file, from one of a fit or of a characterisation.

        Of the fits of several devices ``fit.json#NAME`` is one.

        Raises:
            InputError: a file of another kind, version or field, a bad value, or a fit that gives no junction.
        """
        whole = Path(path).is_file()
        file, _, device = (str(path), "", "") if whole else str(path).partition("#")
        data, where = read_object(file), str(path)
        if data.get("kind") == "device-fits":
            files = {row["device"]: row["file"] for row in data["devices"]}
            if device not in files:
                raise InputError(f"{where} holds fits of several devices; give one, {file}#NAME: {', '.join(files)}")
            return cls.load(Path(file).parent / files[device])
        if device:
            raise InputError(f"{file} holds one junction, and no device {device!r}; leave #{device} out")
        if data.get("kind") in _HOLDERS:
            data = data.get("junction")  # type: ignore[assignment]
            if data is None:
                raise InputError(f"{where} holds no junction; give a file that does")
            data = {**_HEAD, **as_object(data, where=where)}
        return cls.from_json(data, where=where)

    def with_variation(
        self,
        *,
        K_eff_scale: float = 1.0,
        B_z: float = 0.0,
        xi_scale: float = 1.0,
        diameter_scale: float = 1.0,
        RA_scale: float = 1.0,
    ) -> Self:
        """Return the same junction as another cell has it.

        Args:
            K_eff_scale: factor on K_eff at zero voltage [1]; what the voltage takes away stays.
            B_z: stray field [T], added to ``B_bias``: along z, or along a reference layer that lies in the plane.
            diameter_scale: factor on the diameter [1]; K_eff and the demagnetising factors stay as stated.
            xi_scale, RA_scale: factors on the VCMA coefficient and on the resistance-area product [1].
        """
        along = self.reference if self.in_plane else (0, 0, 1)
        x, y, z = (b + B_z * part for b, part in zip(self.B_bias, along, strict=True))
        return replace(
            self,
            K_i=self.K_i + (K_eff_scale - 1) * self.K_eff() * self.t_F,
            B_bias=(x, y, z),
            xi=self.xi * xi_scale,
            diameter=self.diameter * diameter_scale,
            diameter_y=None if self.diameter_y is None else self.diameter_y * diameter_scale,
            RA=self.RA * RA_scale,
        )

    @property
    def area(self) -> float:
        """Cross-section of the pillar [m^2]."""
        return math.pi * self.diameter * (self.diameter_y or self.diameter) / 4

    @property
    def volume(self) -> float:
        """Volume of the free layer [m^3]."""
        return self.area * self.t_F

    def K_eff(self, voltage: float = 0.0) -> float:
        """Return the effective perpendicular anisotropy [J/m^3] at ``voltage`` [V] across the oxide.

        Demagnetisation is included, against x, the long axis of an elliptical pillar. ``K2`` is not.
        """
        assert self.N is not None  # filled in by __post_init__
        surface = (self.K_i - self.xi * voltage / self.t_ox) / self.t_F
        return surface - 0.5 * mu_0 * self.Ms**2 * (self.N[2] - self.N[0])

    def B_k(self, voltage: float = 0.0) -> float:
        """Return the effective anisotropy field 2 K_eff / Ms [T], at ``voltage`` [V]; negative for an easy plane."""
        return 2 * self.K_eff(voltage) / self.Ms

    @property
    def K_shape(self) -> float:
        """Energy density by which y is harder than x in an elliptical pillar [J/m^3]; zero in a round one."""
        assert self.N is not None
        return 0.5 * mu_0 * self.Ms**2 * (self.N[1] - self.N[0])

    def Delta(self, voltage: float = 0.0) -> float:
        """K_eff volume / (k_B temperature) [1] at ``voltage`` [V], without the in-plane reduction."""
        if self.temperature == 0:
            return math.copysign(math.inf, self.K_eff(voltage))
        return self.K_eff(voltage) * self.volume / (k_B * self.temperature)

    @property
    def B_in_plane(self) -> float:
        """Magnitude of the in-plane part of ``B_bias`` [T]."""
        return math.hypot(self.B_bias[0], self.B_bias[1])

    def barrier(self, voltage: float = 0.0, *, well: Well | None = None, spin_torque: bool = False) -> float:
        """Return the barrier out of a well [k_B temperature] at ``voltage`` [V]: the saddle over the bottom.

        The energy knows the voltage through the anisotropy alone. The torque of its current enters only with
        ``spin_torque``, and only without an in-plane field, where it acts as the field a_J / alpha_G along z; with
        one no energy exists, and :func:`voltaspin.device.flip_rate` gives the rate itself. With further terms it is
        the lowest pass between the deepest minima on the two sides of the reference plane, with the field-like
        torques at that voltage.

        Args:
            voltage: constant [V].
            well: the one that is left; the shallower where absent.
            spin_torque: add the torque of the current at ``voltage``.

        Returns:
            Zero where only one well is left. Delta (1 - h)^2 with h = in-plane field / B_k without a field along z;
            (K_eff + K2) volume / k_B T with K2, where K_eff > 0 and K_eff + 2 K2 > 0.

        Raises:
            InputError: an unknown well, or torque together with an in-plane field or shape.
        """
        if well not in (None, "up", "down"):
            raise InputError(f"well {well!r} is unknown; use 'up' (parallel, bit 0) or 'down' (bit 1)")
        if voltage == 0 and set(self.terms) & set(AT_REST):
            return replace(self, **AT_REST).barrier(well=well)
        if self.terms:
            return self._barrier_of_terms(voltage, well, spin_torque)
        B_z, B_k, h = effective_B_z(self, voltage, spin_torque=spin_torque), self.B_k(voltage), 0.0
        if B_k <= 0 or (h := self.B_in_plane / B_k) >= 1:
            return 0.0
        Delta = self.Delta(voltage)
        if B_z == 0:
            return Delta * (1 - h) ** 2
        # In units of Delta, so that the barrier of a cold junction is infinite and not undefined.
        land = Landscape(1.0, 2 * h, 2 * B_z / B_k)
        heights = [land.height(w) for w in get_args(Well) if well in (None, w)]
        return Delta * min(heights) if min(heights) > 0 else 0.0

    def _barrier_of_terms(self, voltage: float, well: Well | None, spin_torque: bool) -> float:
        kT = k_B * (self.temperature or 300.0)
        heights = Energy.of(self, voltage, spin_torque=spin_torque, kT=kT).heights()
        if heights is None:
            return 0.0
        least = min(height for w, height in heights.items() if well in (None, w))
        return math.inf if self.temperature == 0 and least > 0 else max(least, 0.0)

    @property
    def V_c(self) -> float:
        """Voltage at which K_eff vanishes [V]; raises InputError without VCMA or with further terms."""
        self.require_plain("V_c")
        if self.xi == 0:
            raise InputError("xi = 0 J/(V m): no voltage cancels the anisotropy; give a VCMA coefficient")
        return self.K_eff() * self.t_F * self.t_ox / self.xi

    @property
    def R_P(self) -> float:
        """Resistance of the parallel state [ohm]."""
        return self.RA / self.area

    def TMR(self, voltage: float = 0.0) -> float:
        """Return the tunnel magnetoresistance ratio [1] at ``voltage`` [V]: TMR0 / (1 + voltage^2 / V_h^2)."""
        return self.TMR0 / (1 + (voltage / self.V_h) ** 2)

    def R_AP(self, voltage: float = 0.0) -> float:
        """Return the resistance of the antiparallel state [ohm] at ``voltage`` [V]."""
        return self.R_P * (1 + self.TMR(voltage))

    def conductance(self, m_z: ArrayLike, voltage: float = 0.0) -> NDArray[np.float64]:
        """Return the conductance [S] for the direction cosine ``m_z`` [1] between the layers, at ``voltage`` [V].

        Args:
            m_z: any shape, from -1 (antiparallel) to 1 (parallel).
            voltage: [V].

        Returns:
            float64, the shape of ``m_z``.

        Raises:
            InputError: an entry of ``m_z`` is no direction cosine.
        """
        m_z = np.asarray(m_z, np.float64)
        if m_z.size and not np.all(np.abs(m_z) <= 1 + 1e-6):
            raise InputError("m_z must lie from -1 to 1; normalise the magnetisation")
        TMR = self.TMR(voltage)
        return np.asarray((1 + TMR * (1 + m_z) / 2) / (1 + TMR) / self.R_P)

    @property
    def relaxation_time(self) -> float:
        """Decay time 1 / (alpha_G gamma_e B) of the free precession at zero voltage [s], B the largest field."""
        field = max(abs(self.B_k()), math.hypot(*self.B_bias), abs(4 * self.K2 / self.Ms), 2 * self.K_shape / self.Ms)
        require_positive("field", field, "T", "a junction without anisotropy and field does not relax")
        return (1 + self.alpha_G**2) / (self.alpha_G * gamma_e * field)


class JunctionSpec(Junction):
    """The file of a junction under the name that it had in 0.1.0; use :class:`Junction`."""

    def junction(self) -> Junction:
        """Return the junction itself."""
        return Junction(**asdict(self))
