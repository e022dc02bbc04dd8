"""How well counts follow a fitted model: the deviance, its probability at small counts, and where the model is off.

The deviance is twice the distance in log-likelihood between the model and the counts themselves. With many expected
flips and non-flips in every row it follows the chi-squared law. With few it does not: a row with an expectation of 0.01
adds 0.1 on average, not 1. So its law is drawn: counts are simulated from the fitted model, the parameters are fitted
to each draw, and the share of draws with a larger deviance is the probability (a parametric bootstrap).

Source: P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed. (1989), sections 4.4 and 4.5; B. Efron,
R. J. Tibshirani, An Introduction to the Bootstrap (1993), section 6.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, expit, gammaln, logit, ndtri, xlogy

from voltaspin.device.fit.bench import DIRECTIONS
from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.random.streams import Stream

_FIRST, _ALL = 1000, 20_000  #: draws; all of them only where the first leave the probability below 1 %
_BLOCK = 2_000_000  # counts that are held at once
_WIDE = 1000.0  # standard deviation of a count from which single counts no longer matter


@dataclass(frozen=True)
class Goodness:
    """The judgement of a fit.

    Args:
        deviance: of the counts, (n,); nobody knows their scale where they were not counted.
        dof: rows less parameters.
        p_value: probability of a larger total if the model holds; None where nobody counted, or no row is left over.
        log_likelihood: of the counts, binomial coefficients included; None where nobody counted.
        where: the rows at which the model is off most, in words.
    """

    deviance: Floats
    dof: int
    p_value: float | None
    log_likelihood: float | None
    where: str

    @property
    def total(self) -> float:
        """The deviance of all rows."""
        return float(self.deviance.sum())


def deviances(k: Floats, trials: Floats, P: Floats) -> Floats:
    """Return twice the log-likelihood that the model lacks, for each row.

    Args:
        k: flips, (..., n).
        trials: pulses, (n,).
        P: of the model, between 0 and 1, (..., n).
    """
    left = trials - k
    return np.maximum(
        2 * (xlogy(k, k / trials) - xlogy(k, P) + xlogy(left, left / trials) - xlogy(left, 1 - P)), 0.0
    )  # fmt: skip


def signed_root(k: Floats, trials: Floats, P: Floats) -> Floats:
    """Return the deviance residual of each row: the root of its deviance, negative where counts are below the model.

    It is near a standard normal number where flips and non-flips are many. One failure in 200 where the model expects
    0.02 is 2.4 of it; in standard errors of the model it would be 7.
    """
    P = np.clip(P, 1e-12, 1 - 1e-12)
    return np.asarray(np.sign(k - trials * P) * np.sqrt(deviances(k, trials, P)))


def judge(sets: Sequence[SwitchingData], P: Floats, logit_slopes: Floats, *, seed: int = 0) -> Goodness:
    """Judge a model that was fitted to switching data by maximum likelihood.

    Args:
        sets: the data, n rows together.
        P: of the fitted model, (n,).
        logit_slopes: derivatives of logit P by the fitted parameters, (n, parameters).
        seed: of the draws.
    """
    P = np.clip(P, 1e-12, 1 - 1e-12)
    k, trials = (np.concatenate([getattr(one, name) for one in sets]) for name in ("counts", "trials"))
    deviance, dof = deviances(k, trials, P), len(k) - logit_slopes.shape[1]
    counted = all(one.counted for one in sets)
    likelihood = None
    if counted:
        choose = gammaln(trials + 1) - gammaln(k + 1) - gammaln(trials - k + 1)
        likelihood = float(np.sum(choose + xlogy(k, P) + xlogy(trials - k, 1 - P)))
    p_value = _p_value(float(deviance.sum()), trials, P, logit_slopes, seed) if counted and dof > 0 else None
    return Goodness(deviance, dof, p_value, likelihood, _where(sets, k, trials, P, deviance) if counted else "")


def _p_value(observed: float, trials: Floats, P: Floats, X: Floats, seed: int) -> float:
    stream, larger, done = Stream.of(seed, "goodness of fit"), 0, 0
    weight = trials * P * (1 - P)
    to_step = np.linalg.pinv((X.T * weight) @ X, hermitian=True) @ X.T
    count_of, eta = _quantiles(trials, P), logit(P)
    draws = min(_FIRST, max(_BLOCK // len(P), 10))
    while done < _FIRST or (done < _ALL and larger < 0.01 * done):
        u = stream.uniforms(draws * len(P), start=done * len(P)).reshape(draws, len(P))
        k = np.stack([count(column) for count, column in zip(count_of, u.T, strict=True)], axis=1)
        # One step of the fit in the logit; the deviance is a minimum, so no step may raise it.
        refitted = np.clip(expit(eta + (k - trials * P) @ to_step.T @ X.T), 1e-12, 1 - 1e-12)
        simulated = np.minimum(deviances(k, trials, P).sum(axis=1), deviances(k, trials, refitted).sum(axis=1))
        larger += int(np.sum(simulated >= observed * (1 - 1e-12)))
        done += draws
    return (larger + 1) / (done + 1)


def _quantiles(trials: Floats, P: Floats) -> list[Callable[[Floats], Floats]]:
    """The binomial count of each row for given probabilities; by the normal law where it is wide."""
    made: list[Callable[[Floats], Floats]] = []
    for n, p in zip(trials.tolist(), P.tolist(), strict=True):
        mean, std = n * p, float(np.sqrt(n * p * (1 - p)))
        low, high = max(np.floor(mean - 12 * std - 40), 0.0), min(np.ceil(mean + 12 * std + 40), n)
        if std > _WIDE:
            made.append(lambda u, m=mean, s=std, n=n: np.clip(np.round(m + s * ndtri(u)), 0, n))  # type: ignore[misc]
        else:
            law = bdtr(np.arange(low, high), round(n), p)
            made.append(lambda u, low=low, law=law: low + np.searchsorted(law, u))  # type: ignore[misc]
    return made


def _where(sets: Sequence[SwitchingData], k: Floats, trials: Floats, P: Floats, deviance: Floats) -> str:
    """The worst row, and the scatter by direction, voltage and width."""
    V, width = (np.concatenate([getattr(one, name) for one in sets]) for name in ("voltage", "width"))
    direction = np.concatenate([[DIRECTIONS[one.initial]] * len(one) for one in sets])
    worst = int(np.argmax(deviance))
    sigma = np.sqrt(deviance[worst]) * np.sign(k[worst] - trials[worst] * P[worst])
    told = [
        f"worst: {direction[worst]} at {V[worst]:.4g} V, {width[worst] * 1e9:.4g} ns, {k[worst]:.4g} flips of "
        f"{trials[worst]:g} where the model has {trials[worst] * P[worst]:.3g} ({sigma:+.1f} sigma)"
    ]
    for name, values, text in (("direction", direction, "{}"), ("voltage", V, "{:.4g} V"), ("width", width, "{} ns")):
        groups = {v: float(deviance[values == v].mean()) for v in np.unique(values).tolist()}
        if len(groups) > 1:
            ordered = sorted(groups, key=lambda v: -groups[v])[:2]
            named = [text.format(f"{v * 1e9:.4g}" if name == "width" else v) for v in ordered]
            listed = ", ".join(f"{one} {groups[v]:.2g}" for one, v in zip(named, ordered, strict=True))
            told.append(f"chi-squared a point by {name}: {listed}")
    return "; ".join(told)
