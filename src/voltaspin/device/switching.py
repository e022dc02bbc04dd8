"""From a junction and a pulse to the probabilities that the pulse flips a bit.

A bit 0 is *up*, the parallel state; a bit 1 is *down*. ``p01`` is the probability that one pulse flips a 0
to a 1, ``p10`` that it flips a 1 to a 0. They differ as soon as there is a stray field along z or a torque.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.errors import InputError
from voltaspin.specs import Spec, environment

Progress = Callable[[int, int], None]


class SwitchingTable(Spec):
    """A switching model as it stands in a file."""

    KIND: ClassVar[str] = "switching-model"
    VERSION: ClassVar[int] = 1

    junction: dict[str, Any] | None
    pulse: dict[str, float] | None
    K_eff_range: tuple[float, float] | None
    B_z_range_T: tuple[float, float] | None
    link: Literal["identity", "logit"]
    terms: list[tuple[int, int]]
    p01: list[float]
    p10: list[float]
    fit_error: float
    chi2_per_dof: float
    provenance: dict[str, Any]


@dataclass(frozen=True)
class SwitchingModel:
    """Response of p01 and p10 of one pulse to a cell's own anisotropy and stray field.

    The logit of each probability (of a constant: the probability itself) is a polynomial in
    x = (K_eff_scale - 1) / half width of its range and y = B_z / half width of its range, valid inside the
    ranges only. Build one with :meth:`from_llg`, :meth:`constant`, :meth:`shipped` or :meth:`load`.

    Args:
        junction, pulse: what was simulated; None for a constant.
        K_eff_range: admitted factors on the nominal K_eff [1]; None admits any.
        B_z_range: admitted stray field along z [T]; None admits any.
        terms: exponents (i, j) of x^i y^j.
        c01, c10: coefficients of p01 and p10, in the order of ``terms``.
        link: what the polynomial gives.
        fit_error: root-mean-square error with which a grid point is predicted from the others, as a
            probability; it contains the counting error of the point.
        chi2_per_dof: squared residuals over binomial variances; near 1 where the fit is as good as its data.
        provenance: how the numbers were made.
    """

    junction: Junction | None
    pulse: Pulse | None
    K_eff_range: tuple[float, float] | None
    B_z_range: tuple[float, float] | None
    terms: tuple[tuple[int, int], ...]
    c01: tuple[float, ...]
    c10: tuple[float, ...]
    link: Literal["identity", "logit"] = "logit"
    fit_error: float = 0.0
    chi2_per_dof: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.terms) == len(self.c01) == len(self.c10) > 0:
            raise InputError(
                f"{len(self.terms)} terms need as many coefficients; got {len(self.c01)} for p01 and "
                f"{len(self.c10)} for p10"
            )

    @classmethod
    def constant(cls, p01: float, p10: float) -> SwitchingModel:
        """A pulse that no variation touches: for tests, controls and ideal cells.

        Raises:
            InputError: a probability outside [0, 1].
        """
        for name, p in (("p01", p01), ("p10", p10)):
            if not 0 <= p <= 1:
                raise InputError(f"{name} = {p!r} is no probability; give a number from 0 to 1")
        return cls(
            None, None, None, None, ((0, 0),), (float(p01),), (float(p10),), "identity",
            provenance={"made": "constant"},
        )  # fmt: skip

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
            dt: time step [s]; 0.6 of the limit of the stiffest cell where absent (0.2 % bias).
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
        from voltaspin.device.llg import switching_probability, time_step_limit

        _check_range("K_eff_range", K_eff_range, 1.0)
        _check_range("B_z_range", B_z_range, 0.0)
        if K_eff_points < 3 or B_z_points < 3:
            raise InputError(f"{K_eff_points} x {B_z_points} grid points cannot carry a fit; give 3 x 3 or more")
        mirrored = not spin_torque and junction.B_bias[2] == 0 and B_z_range[0] == -B_z_range[1]
        wells: tuple[Well, ...] = ("up",) if mirrored else ("up", "down")
        grid = [(float(s), float(b)) for s in _nodes(K_eff_range, K_eff_points) for b in _nodes(B_z_range, B_z_points)]
        if dt is None:
            cells = (junction.with_variation(K_eff_scale=s, B_z=b) for s, b in grid)
            dt = 0.6 * min(time_step_limit(c, pulse.voltage) for c in cells)
        flips = np.empty((len(wells), len(grid)))
        for done, (w, g) in enumerate(np.ndindex(flips.shape), start=1):
            cell = junction.with_variation(K_eff_scale=grid[g][0], B_z=grid[g][1])
            counted = switching_probability(
                cell, pulse, initial=wells[w], relax=relax, n_devices=n_devices, dt=dt, seed=seed,
                spin_torque=spin_torque, threads=threads,
            )  # fmt: skip
            flips[w, g] = counted.value * n_devices
            if progress is not None:
                progress(done, flips.size)
        x = _scaled("K_eff_scale", np.array([s for s, _ in grid]), K_eff_range, 1.0, "")
        y = _scaled("B_z", np.array([b for _, b in grid]), B_z_range, 0.0, " T")
        terms, coefficients, fit_error, chi2_per_dof = _fit(x, y, flips, n_devices)
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
        return cls(
            junction,
            pulse,
            K_eff_range,
            B_z_range,
            terms,
            c01,
            c10,
            "logit",
            fit_error,
            chi2_per_dof,
            provenance,
        )

    @classmethod
    def shipped(cls) -> SwitchingModel:
        """The generator preset under its fair pulse, computed beforehand; its file says how."""
        resource = files("voltaspin") / "data" / "generator-switching.json"
        return cls.load(Path(str(resource)))

    def probabilities(
        self, *, K_eff_scale: ArrayLike, B_z: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities that one pulse flips a 0 and a 1, for each cell.

        Args:
            K_eff_scale: K_eff of the cell over the nominal one [1], any shape.
            B_z: its stray field along z [T], broadcast against ``K_eff_scale``.

        Returns:
            (p01, p10), each float64 in the common shape.

        Raises:
            InputError: a cell lies outside the range that was simulated.
        """
        s, b = np.broadcast_arrays(np.asarray(K_eff_scale, np.float64), np.asarray(B_z, np.float64))
        x = _scaled("K_eff_scale", s, self.K_eff_range, 1.0, "")
        y = _scaled("B_z", b, self.B_z_range, 0.0, " T")
        u01, u10 = np.zeros(s.shape), np.zeros(s.shape)
        for (i, j), a01, a10 in zip(self.terms, self.c01, self.c10, strict=True):
            power = x**i * y**j
            u01 += a01 * power
            u10 += a10 * power
        return (u01, u10) if self.link == "identity" else (_logistic(u01), _logistic(u10))

    def save(self, path: Path | str) -> None:
        """Write versioned JSON."""
        SwitchingTable(
            junction=None if self.junction is None else asdict(self.junction),
            pulse=None if self.pulse is None else asdict(self.pulse),
            K_eff_range=self.K_eff_range,
            B_z_range_T=self.B_z_range,
            link=self.link,
            terms=list(self.terms),
            p01=list(self.c01),
            p10=list(self.c10),
            fit_error=self.fit_error,
            chi2_per_dof=self.chi2_per_dof,
            provenance=self.provenance,
        ).save(path)

    @classmethod
    def load(cls, path: Path | str) -> SwitchingModel:
        """Read what :meth:`save` wrote; raises InputError for another kind, version, field or a bad value."""
        table = SwitchingTable.load(path)
        try:
            junction = None if table.junction is None else Junction(**_tuples(table.junction))
            pulse = None if table.pulse is None else Pulse(**table.pulse)
        except TypeError as error:
            raise InputError(f"{path}: {error}; write it again with this version of voltaspin") from None
        return cls(
            junction, pulse, table.K_eff_range, table.B_z_range_T, tuple(table.terms), tuple(table.p01),
            tuple(table.p10), table.link, table.fit_error, table.chi2_per_dof, table.provenance,
        )  # fmt: skip


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}


def _scaled(
    name: str, value: NDArray[np.float64], span: tuple[float, float] | None, centre: float, unit: str
) -> NDArray[np.float64]:
    if value.size and not np.isfinite(value).all():
        raise InputError(f"{name} holds a value that is not finite; every cell needs a number")
    if span is None:
        return value - centre
    if value.size and (value.min() < span[0] or value.max() > span[1]):
        worst = value.min() if value.min() < span[0] else value.max()
        raise InputError(
            f"{name} = {worst:.4g}{unit} is outside the range {span[0]:g} to {span[1]:g}{unit} of this "
            "switching model; build a wider one with SwitchingModel.from_llg(..., "
            f"{name.removesuffix('_scale')}_range=...) or narrow the variation"
        )
    return (value - centre) / (max(abs(span[0] - centre), abs(span[1] - centre)))


def _logistic(u: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(u))


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
        p = _logistic(c @ X.T)
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
        p = _logistic(u)
    return c
