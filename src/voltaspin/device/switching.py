"""From a junction and a pulse to the probabilities that the pulse flips a bit.

A bit 0 is *up*, the parallel state; a bit 1 is *down*. ``p01`` is the probability that one pulse flips a 0
to a 1, ``p10`` that it flips a 1 to a 0. They differ as soon as there is a stray field along z or a torque.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from voltaspin.core.errors import InputError
from voltaspin.core.files import cached as kept
from voltaspin.core.spec import Spec, built, environment
from voltaspin.core.units import require_positive
from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.protocol import WELLS, Protocol
from voltaspin.device.response import UNITS, Quantity, Response, Variable, logistic, nominal

if TYPE_CHECKING:
    from voltaspin.device.fit.data import SwitchingData

Progress = Callable[[int, int], None]
Ranges = dict[Quantity, tuple[float, float]]


class SwitchingModel(Spec):
    """Response of p01 and p10 of one pulse to the deviations of a cell.

    Every cell may have its own anisotropy, stray field, VCMA coefficient, diameter and resistance, as far as
    the model was built for them; outside its ranges it refuses. Build one with :meth:`from_fokker_planck`
    (exact, the default), :meth:`from_llg`, :meth:`from_measurements`, :meth:`constant`, :meth:`shipped` or
    :meth:`load`.

    Args:
        junction, pulse: what was simulated; None for a constant.
        ranges: admitted values of each quantity of a cell; a quantity that is not there must be nominal.
            None admits anything, without any effect.
        variables, basis, link, terms, p01, p10: the polynomials, see :class:`Response`; a variable is its name, its
            weights, and the centre and half of its range.
        fit_error: root-mean-square error as a probability: on solutions that were held out (Fokker-Planck),
            or of each grid point predicted from the others, its counting error included (LLG).
        worst_error: largest error on the solutions that were held out; None where none were.
        chi2_per_dof: squared residuals over binomial variances, near 1 where the fit is as good as its data;
            None where nothing was counted.
        provenance: how the numbers were made.
    """

    KIND: ClassVar[str] = "switching-model"
    VERSION: ClassVar[int] = 3  #: 2 has the same fields; its shipped table was counted by LLG under another pulse

    junction: Junction | None
    pulse: Pulse | None
    ranges: dict[Quantity, tuple[float, float]] | None
    variables: tuple[tuple[str, tuple[tuple[Quantity, int, float], ...], float, float], ...]
    basis: Literal["power", "chebyshev"]
    link: Literal["identity", "logit"]
    terms: tuple[tuple[int, ...], ...]
    p01: tuple[float, ...]
    p10: tuple[float, ...]
    fit_error: float = 0.0
    worst_error: float | None = None
    chi2_per_dof: float | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for variable in self.response.variables:  # refuses polynomials that are none
            for quantity, power, _ in variable.weights:
                at = nominal(quantity)
                low, high = (-np.inf, np.inf) if self.ranges is None else self.ranges.get(quantity, (at, at))
                if power < 0 and low <= 0 <= high:
                    raise InputError(
                        f"variable {variable.name!r} divides by {quantity}, which may be 0 in {low:g} to {high:g}"
                        f"{UNITS.get(quantity, '')}; build the model again"
                    )
        return self

    @cached_property
    def response(self) -> Response:
        """The polynomials."""
        variables = tuple(Variable(*variable) for variable in self.variables)
        return Response(variables, self.terms, self.p01, self.p10, self.basis, self.link)

    @classmethod
    def _of(
        cls, response: Response, *, junction: Junction | None = None, pulse: Pulse | None = None,
        ranges: Ranges | None = None, **more: Any,
    ) -> Self:  # fmt: skip
        return cls(
            junction=junction, pulse=pulse, ranges=ranges, basis=response.basis, link=response.link,
            variables=tuple((v.name, v.weights, v.centre, v.half) for v in response.variables),
            terms=response.terms, p01=response.c01, p10=response.c10, **more,
        )  # fmt: skip

    @classmethod
    def constant(cls, p01: float, p10: float) -> SwitchingModel:
        """Return a pulse that no variation touches: for tests, controls and ideal cells.

        Raises:
            InputError: a probability outside [0, 1].
        """
        for name, p in (("p01", p01), ("p10", p10)):
            if not 0 <= p <= 1:
                raise InputError(f"{name} = {p!r} is no probability; give a number from 0 to 1")
        response = Response((), ((),), (float(p01),), (float(p10),), link="identity")
        return cls._of(response, provenance={"made": "constant"})

    @classmethod
    def from_fokker_planck(
        cls,
        junction: Junction,
        pulse: Pulse,
        *,
        K_eff: float = 0.2,
        B_z: float = 5e-3,
        xi: float = 0.08,
        diameter: float = 0.08,
        RA: float = 0.2,
        relax: float = 10e-9,
        spin_torque: bool = False,
        solutions: int = 512,
        degree: int | None = None,
        threads: int | None = None,
        cached: bool = True,
        progress: Progress | None = None,
    ) -> SwitchingModel:
        """Solve the Fokker-Planck equation for a few hundred cells and fit what they do.

        Args:
            junction, pulse: nominal cell and its pulse.
            K_eff, xi, diameter, RA: half ranges of the factors on the nominal values [1], e.g. four standard
                deviations; zero leaves a quantity out.
            B_z: half range of the stray field along z [T].
            relax: time at zero voltage before the bit is read [s].
            spin_torque: of the current that the pulse drives; without it RA has no effect.
            solutions: cells to solve for; one in five is held out and measures the error.
            degree: of the harmonics; that of the stiffest cell where absent.
            threads: at most so many; all cores where absent.
            cached: read the model from the user's cache folder if it was built before, and keep it there.
            progress: called with (done, total) solutions.

        Returns:
            The model; read ``fit_error`` and ``worst_error`` before you trust it.

        Raises:
            InputError: half ranges out of bounds, too few solutions, or as the Fokker-Planck solution.
        """
        from voltaspin.device.surrogate import build

        half: dict[Quantity, float] = {
            "K_eff_scale": K_eff, "B_z": B_z, "xi_scale": xi, "diameter_scale": diameter, "RA_scale": RA,
        }  # fmt: skip
        settings: dict[str, Any] = {
            "made": "SwitchingModel.from_fokker_planck",
            "half_ranges": dict(half),
            "relax_s": relax,
            "spin_torque": spin_torque,
            "solutions": solutions,
            "degree": degree,
        }

        def make() -> SwitchingModel:
            fit = build(
                junction, pulse, half_ranges=half, relax=relax, spin_torque=spin_torque, solutions=solutions,
                degree=degree, threads=threads, progress=progress,
            )  # fmt: skip
            ranges = {q: (nominal(q) - h, nominal(q) + h) for q, h in half.items() if h > 0}
            provenance = {**settings, "degree": fit.degree, "terms": len(fit.response.terms), "versions": environment()}
            return cls._of(
                fit.response, junction=junction, pulse=pulse, ranges=ranges, fit_error=fit.rms, worst_error=fit.worst,
                provenance=provenance,
            )  # fmt: skip

        if not cached:
            return make()
        inputs = [asdict(junction), asdict(pulse), settings, cls.VERSION, environment()["voltaspin"]]
        return kept(
            "switching", inputs, suffix=".json", read=cls.load, make=make, write=lambda path, model: model.save(path)
        )

    @classmethod
    def from_llg(
        cls,
        junction: Junction,
        pulse: Pulse,
        *,
        n_devices: int = 40_000,
        seed: int = 0,
        dt: float | None = None,
        relax: float = 10e-9,
        K_eff_range: tuple[float, float] = (0.75, 1.25),
        B_z_range: tuple[float, float] = (-8e-3, 8e-3),
        K_eff_points: int = 7,
        B_z_points: int = 5,
        spin_torque: bool = False,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SwitchingModel:
        """Count flips in LLG ensembles on a grid of K_eff and stray field, and fit them.

        The fit is the binomial maximum-likelihood (logistic) regression of the total degree that best
        predicts each grid point from the others. Without spin torque and without a
        bias field along z, mirror symmetry makes p10 at B_z equal p01 at -B_z; then only p01 is simulated.

        Args:
            junction, pulse: nominal cell and its pulse.
            n_devices: per grid point.
            seed: of all randomness.
            dt: time step [s]; the longest with less than 0.1 % bias of the stiffest cell where absent.
            relax: time at zero voltage before the bit is read [s]. The generator needs all 10 ns: in a stray
                field of 8 mT its p01 is 0.536 after 5 ns, 0.549 after 7.5 ns and 0.550 from 10 ns on.
            K_eff_range: factors on the nominal K_eff [1], around 1.
            B_z_range: stray field along z [T], around 0.
            K_eff_points, B_z_points: grid points (Chebyshev-Lobatto nodes, ends included).
            spin_torque, threads: as :func:`voltaspin.device.llg.switching_curve`.
            progress: called with (done, total) grid points.

        Returns:
            The model with its fit error; read ``chi2_per_dof`` before you trust it.

        Raises:
            InputError: an empty range, a range without its nominal point, too few points, or as the LLG.
        """
        from voltaspin.device.llg import LLG, USUAL_BIAS, check_size, time_step_limit

        _check_range("K_eff_range", K_eff_range, 1.0)
        _check_range("B_z_range", B_z_range, 0.0)
        if K_eff_points < 3 or B_z_points < 3:
            raise InputError(f"{K_eff_points} x {B_z_points} grid points cannot carry a fit; give 3 x 3 or more")
        wells = Protocol(spin_torque=spin_torque).wells(junction) if B_z_range[0] == -B_z_range[1] else WELLS
        mirrored = len(wells) == 1
        grid = [(float(s), float(b)) for s in _nodes(K_eff_range, K_eff_points) for b in _nodes(B_z_range, B_z_points)]
        if dt is None:
            cells = (junction.with_variation(K_eff_scale=s, B_z=b) for s, b in grid)
            dt = min(time_step_limit(c, pulse.voltage, tolerance=USUAL_BIAS) for c in cells)
        require_positive("dt", dt, "s", "give the time step, e.g. 1 * ps")
        check_size(n_devices, len(wells) * len(grid) * (pulse.duration + relax) / dt)
        flips, solver = np.empty((len(wells), len(grid))), LLG(dt, n_devices, seed=seed, threads=threads)
        for done, (w, g) in enumerate(np.ndindex(flips.shape), start=1):
            cell = junction.with_variation(K_eff_scale=grid[g][0], B_z=grid[g][1])
            counted = solver.switching(cell, pulse, Protocol(wells[w], relax, spin_torque))
            flips[w, g] = counted.value * n_devices
            if progress is not None:
                progress(done, flips.size)
        axes = (_axis("K_eff_scale", K_eff_range), _axis("B_z", B_z_range))
        x, y = (np.array(column) for column in zip(*grid, strict=True))
        at: dict[Quantity, NDArray[np.float64]] = {"K_eff_scale": x, "B_z": y}
        terms, coefficients, fit_error, chi2_per_dof = _fit(axes[0](at), axes[1](at), flips, n_devices)
        c01 = tuple(map(float, coefficients[0]))
        if mirrored:
            c10 = tuple(c * (-1) ** j for c, (_, j) in zip(c01, terms, strict=True))
        else:
            c10 = tuple(map(float, coefficients[1]))
        provenance = {
            "made": "SwitchingModel.from_llg",
            "n_devices": n_devices,
            "seed": seed,
            "dt_s": dt,
            "relax_s": relax,
            "K_eff_points": K_eff_points,
            "B_z_points": B_z_points,
            "spin_torque": spin_torque,
            "p10_from_mirror_symmetry": mirrored,
            "versions": environment(),
        }
        ranges: Ranges = {"K_eff_scale": K_eff_range, "B_z": B_z_range}
        response = Response(axes, terms, c01, c10)
        return cls._of(
            response, junction=junction, pulse=pulse, ranges=ranges, fit_error=fit_error, chi2_per_dof=chi2_per_dof,
            provenance=provenance,
        )  # fmt: skip

    @classmethod
    def from_measurements(cls, p01: SwitchingData, p10: SwitchingData, *, max_degree: int = 4) -> SwitchingModel:
        """Smooth counted flips of one pulse at several stray fields, and take them as they are.

        No physics enters, so only the stray field of a cell may differ. To let cells differ in more, fit a
        junction (:func:`voltaspin.device.fit.switching.fit_switching`) and use :meth:`from_fokker_planck`.

        Args:
            p01, p10: counts from up and from down, see
                :func:`voltaspin.device.fit.measured_pulse.switching_model_from_measurements`.
            max_degree: of the polynomials in B_z.

        Raises:
            InputError: different pulses, or too few fields.
        """
        from voltaspin.device.fit.measured_pulse import switching_model_from_measurements

        measured = switching_model_from_measurements(p01, p10, max_degree=max_degree)
        terms = tuple((j,) for j in range(len(measured.c01)))
        response = Response((_axis("B_z", measured.B_z_range),), terms, measured.c01, measured.c10)
        pulse = Pulse(voltage=measured.voltage, width=measured.width)
        chi2_per_dof = measured.chi2 / measured.dof if measured.dof > 0 else None
        provenance = {
            "made": "SwitchingModel.from_measurements",
            "points": len(p01) + len(p10),
            "trials": int(p01.trials.sum() + p10.trials.sum()),
            "versions": environment(),
        }
        ranges: Ranges = {"B_z": measured.B_z_range}
        return cls._of(
            response, pulse=pulse, ranges=ranges, fit_error=measured.fit_error, chi2_per_dof=chi2_per_dof,
            provenance=provenance,
        )  # fmt: skip

    @classmethod
    def shipped(cls, version: Literal["0.1.0"] | None = None) -> SwitchingModel:
        """Return the generator preset under its fair pulse, computed beforehand; the provenance says how.

        Args:
            version: ``"0.1.0"`` gives the table of that version, counted by LLG ensembles under 1.536 V for 0.28 ns.
        """
        name = "generator-switching" + (f"-{version}" if version else "")
        return cls.load(Path(str(files("voltaspin") / "data" / f"{name}.json")))

    def probabilities(
        self,
        *,
        K_eff_scale: ArrayLike = 1.0,
        B_z: ArrayLike = 0.0,
        xi_scale: ArrayLike = 1.0,
        diameter_scale: ArrayLike = 1.0,
        RA_scale: ArrayLike = 1.0,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the probabilities that one pulse flips a 0 and a 1, for each cell.

        Args:
            K_eff_scale: K_eff of the cell over the nominal one [1], any shape.
            B_z: its stray field along z [T]; all five are broadcast against each other.
            xi_scale, diameter_scale, RA_scale: the same for VCMA coefficient, diameter and resistance [1].

        Returns:
            (p01, p10), each float64 in the common shape.

        Raises:
            InputError: a cell lies outside the range that was simulated.
        """
        given = (K_eff_scale, B_z, xi_scale, diameter_scale, RA_scale)
        arrays = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in given))
        order: tuple[Quantity, ...] = ("K_eff_scale", "B_z", "xi_scale", "diameter_scale", "RA_scale")
        cells = {q: a.ravel() for q, a in zip(order, arrays, strict=True)}
        for q, values in cells.items():
            self._within(q, values)
        with np.errstate(over="ignore", invalid="ignore"):
            p01, p10 = self.response(cells)
        if not (np.isfinite(p01).all() and np.isfinite(p10).all()):
            raise InputError("the polynomials of this switching model overflow for these cells; its file is damaged")
        return p01.reshape(arrays[0].shape), p10.reshape(arrays[0].shape)

    def _within(self, quantity: Quantity, values: NDArray[np.float64]) -> None:
        if values.size == 0:
            return
        unit = UNITS.get(quantity, "")
        if not np.isfinite(values).all():
            raise InputError(f"{quantity} holds a value that is not finite; every cell needs a number")
        if self.ranges is None:
            return
        low, high = self.ranges.get(quantity, (nominal(quantity), nominal(quantity)))
        least, most = float(values.min()), float(values.max())
        if least < low or most > high:
            worst = least if least < low else most
            raise InputError(
                f"{quantity} = {worst:.4g}{unit} is outside the range {low:g} to {high:g}{unit} of this switching "
                "model; build a wider one with SwitchingModel.from_fokker_planck(..., "
                f"{quantity.removesuffix('_scale')}=...) or narrow the variation"
            )

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "switching model") -> Self:
        """Build from :meth:`to_json` data; raises InputError for another kind, version, field or a bad value."""
        if isinstance(data, dict):
            if data.get("schema_version") == 2:
                data = data | {"schema_version": cls.VERSION}
            for name, kind in (("junction", Junction), ("pulse", Pulse)):
                if data.get(name) is not None:
                    built(kind, data[name], where=f"{where}: {name}")
        return super().from_json(data, where=where)


def _axis(quantity: Quantity, span: tuple[float, float]) -> Variable:
    """The quantity itself, scaled so that the farther end of its range is at a distance of 1."""
    centre = nominal(quantity)
    return Variable(quantity, ((quantity, 1, 1.0),), centre, max(abs(span[0] - centre), abs(span[1] - centre)))


def _check_range(name: str, span: tuple[float, float], centre: float) -> None:
    if not (span[0] < centre < span[1]):
        raise InputError(f"{name} = {span!r} must be (low, high) around {centre:g}")


def _nodes(span: tuple[float, float], count: int) -> NDArray[np.float64]:
    unit = (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2
    return span[0] + (span[1] - span[0]) * unit


def _fit(
    x: NDArray[np.float64], y: NDArray[np.float64], flips: NDArray[np.float64], n: int
) -> tuple[tuple[tuple[int, int], ...], NDArray[np.float64], float, float]:
    """Logistic regression of ``flips`` (curves, points) of ``n``; one degree for all curves."""
    best = None
    n_x, n_y = len(set(x)), len(set(y))
    for degree in range(n_x + n_y - 1):
        terms = tuple((i, j) for i in range(degree + 1) for j in range(degree + 1 - i) if i < n_x and j < n_y)
        dof = len(flips) * (len(x) - len(terms))
        if dof < len(flips) * len(x) / 4:
            break
        X = np.stack([x**i * y**j for i, j in terms], axis=1)
        c = np.stack([_logistic_regression(X, k, n) for k in flips])
        p = logistic(c @ X.T)
        chi2 = float(np.sum((flips - n * p) ** 2 / (n * p * (1 - p))) / dof)
        # Each point predicted from the others, to first order: its residual over 1 - its leverage.
        leverage = np.empty_like(p)
        for row, weight in zip(leverage, p * (1 - p), strict=True):
            row[:] = np.sum(np.linalg.qr(np.sqrt(weight)[:, None] * X)[0] ** 2, axis=1)
        left_out = float(np.sqrt(np.mean(((flips / n - p) / np.maximum(1 - leverage, 1e-9)) ** 2)))
        if best is None or left_out < best[2]:
            best = terms, c, left_out, chi2
    assert best is not None  # degree 0 always has degrees of freedom left on a 3 x 3 grid
    return best


def _logistic_regression(X: NDArray[np.float64], k: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Binomial maximum likelihood by iteratively reweighted least squares, started at the shrunk logits."""
    start = (k + 0.5) / (n + 1)
    u: Any = np.log(start / (1 - start))
    p = start
    c = np.zeros(X.shape[1])
    for _ in range(50):
        weight = np.maximum(n * p * (1 - p), 1e-3)
        root = np.sqrt(weight)
        new = np.linalg.lstsq(root[:, None] * X, root * (u + (k - n * p) / weight), rcond=None)[0]
        if np.allclose(new, c, rtol=1e-10, atol=1e-12):
            break
        c = new
        u = np.clip(X @ c, -30, 30)
        p = logistic(u)
    return c
