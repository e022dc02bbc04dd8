"""The machinery of a fit: parameters with uncertainties, the climb to a maximum of likelihood, and its test.

Errors are one standard deviation from the Fisher information. They hold as far as the model does: look at chi2
and at the overlay of :mod:`voltaspin.plots.fit` before you trust them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.device.junction import Junction
from voltaspin.device.sphere import Floats

if TYPE_CHECKING:
    from voltaspin.device.fit.goodness import Goodness

Data = TypeVar("Data")

# --- results -------------------------------------------------------------------------------------------

#: A fit whose data would scatter this far by chance less often than this is reported as a bad one.
P_VALUE = 1e-4


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Outcome of a fit.

    Args:
        parameters: by name, in the order of the rows of ``covariance``.
        covariance: float64 (n, n), in the units of the parameters.
        chi2: squared deviations over their variances, of counts the deviance; None where the data brought no errors.
        dof: points less parameters.
        junction: the starting junction with the fitted values; None where no parameter of a junction was fitted.
        notes: what a reader must know; each was also issued as a warning.
        numerical: numerical error of each parameter by name, where the model is solved numerically.
        approximate: whether this is a quick answer, whose errors contain the numerical ones.
        probability: of a larger chi2 if the model holds, where it does not follow the chi-squared law.
        log_likelihood: of counts; None for other data, and where nobody counted.
    """

    parameters: dict[str, Estimate]
    covariance: Floats
    chi2: float | None
    dof: int
    junction: Junction | None = None
    notes: tuple[str, ...] = ()
    numerical: dict[str, float] | None = None
    approximate: bool = False
    probability: float | None = None
    log_likelihood: float | None = None

    @property
    def correlation(self) -> Floats:
        """Correlation matrix (n, n) of the parameters."""
        scale = np.sqrt(np.diag(self.covariance))
        return np.asarray(self.covariance / np.outer(scale, scale))

    @property
    def p_value(self) -> float | None:
        """Probability of a chi2 at least as large if the model holds; None without a chi2 to judge."""
        from scipy.special import chdtrc

        if self.probability is not None or self.chi2 is None or self.dof < 1:
            return self.probability
        return float(chdtrc(self.dof, self.chi2))

    def __str__(self) -> str:
        lines = [f"{name} = {estimate}" for name, estimate in self.parameters.items()]
        if self.chi2 is not None:
            lines.append(f"chi2 = {self.chi2:.4g} for {self.dof} degrees of freedom")
        return "\n".join([*lines, *self.notes])


def result(
    names: Sequence[str], values: Floats, covariance: Floats, units: Sequence[str], *,
    chi2: float | None, dof: int, junction: Junction | None, notes: Sequence[str] = (),
    numerical: Floats | None = None, approximate: bool = False, warn: bool = True, judged: Goodness | None = None,
) -> FitResult:  # fmt: skip
    """Put a result together and warn of what its reader must know; that an answer is approximate is no warning.

    A judgement of counts takes the place of ``chi2``; where nobody counted, the scatter scales the covariance.
    """
    probability, likelihood = (None, None) if judged is None else (judged.p_value, judged.log_likelihood)
    if judged is not None:
        chi2, dof = judged.total, judged.dof
        if likelihood is None:
            covariance, chi2 = covariance * (chi2 / max(dof, 1)), None
    errors = np.sqrt(np.diag(covariance))
    found = zip(names, values, errors, units, strict=True)
    estimates = {name: Estimate.normal(float(v), float(e), unit=unit) for name, v, e, unit in found}
    told = (*notes, *poor_fit(chi2, dof, probability, "" if judged is None else judged.where))
    for note in told if warn else ():
        if not (approximate and note.startswith("approximate")):
            warnings.warn(note, UserWarning, stacklevel=3)
    return FitResult(
        parameters=estimates, covariance=covariance, chi2=chi2, dof=dof, junction=junction, notes=told,
        numerical=None if numerical is None else dict(zip(names, map(float, numerical), strict=True)),
        approximate=approximate, probability=probability, log_likelihood=likelihood,
    )  # fmt: skip


def poor_fit(chi2: float | None, dof: int, probability: float | None = None, where: str = "") -> tuple[str, ...]:
    """A note where data scatter more around their model than chance allows, and none otherwise.

    Args:
        chi2, dof: of the fit.
        probability: of a larger chi2; by the chi-squared law where absent.
        where: the model is off most, in words.
    """
    from scipy.special import chdtrc

    if chi2 is None or dof < 1:
        return ()
    chance = float(chdtrc(dof, chi2)) if probability is None else probability
    if chance >= P_VALUE:
        return ()
    other = "compare other models, " if where else ""
    return (
        f"chi2 = {chi2:.4g} for {dof} degrees of freedom (probability below "
        f"{P_VALUE:g}): the model does not describe these data within their errors, so the errors of the parameters "
        f"are too small; look at the overlay, {other}free more parameters or start from another junction"
        + (f"; {where}" if where else ""),
    )


# --- the climb to the maximum --------------------------------------------------------------------------


def inverse_information(information: Floats, names: Sequence[str]) -> Floats:
    """Covariance from the Fisher information; InputError names what the data do not determine."""
    scale = np.sqrt(np.maximum(np.diag(information), 0))
    for name, size in zip(names, scale, strict=True):
        if not size > 0:
            raise InputError(f"these data do not depend on {name}; leave it out of the free parameters")
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] < 1e-9:
        a, b = (names[int(i)] for i in np.argsort(-np.abs(vectors[:, 0]))[:2])
        raise InputError(
            f"these data cannot tell {a} from {b}: only a combination of them is determined; fix one of them, or "
            "measure at another voltage, width or field too"
        )
    return np.asarray((vectors / values) @ vectors.T / np.outer(scale, scale))


def climb(
    start: Floats,
    names: Sequence[str],
    *,
    likelihood: Callable[[Floats], float],
    slope: Callable[[Floats], tuple[Floats, Floats]],
    exact_slope: Callable[[Floats], tuple[Floats, Floats]] | None = None,
    near: float = 1e-6,
    checked: bool = True,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[Floats, Floats]:
    """Maximum of a likelihood by Fisher scoring, damped as Levenberg and Marquardt do.

    Args:
        start: float64 (n,).
        names: of the parameters, for messages.
        likelihood: logarithm of the likelihood, -inf where the parameters make no sense.
        slope: its gradient (n,) and the Fisher information (n, n).
        exact_slope: the same without an approximation that ``slope`` makes; asked for within a standard deviation
            of the maximum, and where a step of an approximate slope gains less than half of what it promises.
        checked: whether the climb may end only after an exact slope near the maximum.
        near: squared distance to the maximum in standard deviations below which the climb ends; by default a
            thousandth of a standard deviation.
        progress: called before each step with the steps done and that squared distance.

    Returns:
        The maximum and its covariance.

    Raises:
        InputError: no maximum is found, or the data do not determine a parameter.
    """
    theta, now, damping = start.copy(), likelihood(start), 1e-3
    exact = exact_slope is None
    sure = exact or not checked
    gradient, information = slope(theta)
    for done in range(100):
        covariance = inverse_information(information, names)
        left = float(gradient @ covariance @ gradient)
        sure = sure or (exact and left < 1)
        if progress is not None:
            progress(done, left)
        if left < near and sure:
            return theta, covariance
        moved, share = False, 0.0
        while left >= near and not moved:
            step = np.linalg.solve(information + damping * np.diag(np.diag(information)), gradient)
            value = likelihood(theta + step)
            promised = float(step @ gradient - step @ information @ step / 2)
            if moved := value > now:
                share = (value - now) / promised
                theta, now = theta + step, value
                # Along a curved ridge a step that promised too much is followed by a shorter one.
                damping = max(damping / 10, 1e-6) if share > 0.75 else damping if share > 0.25 else 4 * damping
            elif not exact:
                break
            else:
                # Near the maximum the likelihood is a parabola, on which a little damping changes nothing.
                damping = max(10 * damping, 1.0 if left < 1 else 0.0)
                if damping > (30 if left < 1e-2 else 1e9):
                    if left < 1e-2:  # rounding, or that of the slope, hides the rest of the way
                        return theta, covariance
                    raise InputError("the fit does not settle; start from a junction nearer to the data")
        exact = exact_slope is None or share < 0.5
        gradient, information = (exact_slope if exact and exact_slope is not None else slope)(theta)
    raise InputError("the fit has not settled after 100 steps; start from a junction nearer to the data")


def uniformity(samples: Sequence[Floats]) -> tuple[float, int]:
    """chi2 of samples that should be uniform from 0 to 1, and its degrees of freedom before any fit.

    About one bin for each 10 values of a sample, 5 to 20. With parameters fitted to the values themselves rather
    than to their counts, its degrees of freedom lie between those returned and those less the parameters.
    """
    chi2, dof = 0.0, 0
    for u in samples:
        bins = min(max(len(u) // 10, 5), 20)
        counts = np.histogram(np.clip(u, 0, 1), bins, (0, 1))[0]
        chi2 += float(np.sum((counts - len(u) / bins) ** 2) / (len(u) / bins))
        dof += bins - 1
    return chi2, dof


# --- what a caller gave ---------------------------------------------------------------------------------


def known_names(free: Sequence[str], known: Sequence[str]) -> None:
    """Raise InputError unless ``free`` names each of its parameters once, out of ``known``."""
    if not free or len(set(free)) < len(free) or not set(free) <= set(known):
        raise InputError(f"free = {tuple(free)!r} must name each parameter once, out of {', '.join(known)}")


def as_list(data: Any, kind: type[Data]) -> list[Data]:
    """One data set or several, as a list."""
    sets = [data] if isinstance(data, kind) else list(data) if isinstance(data, list | tuple) else []
    if not sets or not all(isinstance(one, kind) for one in sets):
        raise InputError(f"give one {kind.__name__} or a list of them")
    return sets


def enough(points: int, parameters: Sequence[str], what: str) -> None:
    """Raise InputError unless the points determine the parameters and leave one over to test them."""
    if points <= len(parameters):
        raise InputError(
            f"{points} {what} cannot determine and test {len(parameters)} parameters ({', '.join(parameters)}); "
            f"measure at least {len(parameters) + 1}, or free fewer parameters"
        )
