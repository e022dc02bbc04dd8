"""Several models of the same counts: which of them describe the data, and which one is preferred.

The criterion is Akaike's, corrected for few rows (AICc): no model is exactly true, so the one that would predict new
counts best is asked for, not the true one, which the Bayesian criterion asks for. Its n is the number of rows; with the
number of pulses the correction would vanish. Thresholds on its differences: K. P. Burnham, D. R. Anderson, Model
Selection and Multimodel Inference, 2nd ed. (2002), section 2.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from voltaspin.core.errors import InputError, unknown
from voltaspin.core.result import Part
from voltaspin.core.units import format_quantity
from voltaspin.device.fit.data import SwitchingData
from voltaspin.device.fit.likelihood import P_VALUE
from voltaspin.device.fit.model import FittedModel, Settings
from voltaspin.device.fit.models import MODELS
from voltaspin.device.fit.parameters import FittedParameter, fitted_parameters, parameter_rows, table
from voltaspin.device.junction import Junction

DESCRIBES = 0.01  #: least probability of a model that describes its data
_CLOSE, _FAR = 2.0, 10.0  #: differences of AICc up to which two models are equals, and from which one has no support


class ModelRow(Part):
    """One model of a comparison.

    Args:
        model: its word; law, valid, source: what it is, where it holds and who derived it.
        parameters: by name; fixed: what the data do not determine, in SI.
        log_likelihood, criterion: of the counts; difference: of the criterion to the lowest one.
        chi2, dof, p_value: the judgement.
        rows: that were fitted; outside: at which the model does not hold.
        reason: why it could not be fitted.
    """

    model: str
    law: str
    valid: str
    source: str
    parameters: dict[str, FittedParameter] = {}  # noqa: RUF012
    fixed: dict[str, float] = {}  # noqa: RUF012
    log_likelihood: float | None = None
    criterion: float | None = None
    difference: float | None = None
    chi2: float | None = None
    dof: int | None = None
    p_value: float | None = None
    rows: int = 0
    outside: int = 0
    reason: str = ""


class Comparison(Part):
    """Models side by side.

    Args:
        criterion: its name.
        models: in the order in which they were fitted.
        conclusion: what follows, in words.
    """

    criterion: str
    models: tuple[ModelRow, ...]
    conclusion: str

    def __str__(self) -> str:
        rows = [("model", f"{self.criterion} +", "ln L", "chi2", "d.o.f.", "probability", "outside its range")]
        for one in self.models:
            if not one.reason:
                rows.append((
                    one.model, _text(one.difference, ".1f"), _text(one.log_likelihood, ".1f"), _text(one.chi2, ".1f"),
                    _text(one.dof, "d"), chance(one.p_value), f"{one.outside} of {one.rows}",
                ))  # fmt: skip
        lines: list[Sequence[str]] = [("model", "parameter", "value", "error", "95 % interval", "unit")]
        for one in self.models:
            lines += [(one.model, *row) for row in parameter_rows(one.parameters)[1:]]
        failed = [f"{one.model} could not be fitted: {one.reason}" for one in self.models if one.reason]
        fixed = [
            f"{one.model}: " + ", ".join(
                f"{n} fixed at {format_quantity(x, '' if n == 'Delta' else 's')}" for n, x in one.fixed.items()
            )
            for one in self.models if one.fixed
        ]  # fmt: skip
        return "\n".join([*table(rows), "", *table(lines, words=2), *fixed, *failed, self.conclusion])


def chance(p_value: float | None) -> str:
    """Return a probability as text; the smallest ones are only bounded."""
    return "unknown" if p_value is None else f"< {P_VALUE:g}" if p_value < P_VALUE else f"{p_value:.2g}"


def _text(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Fitted models, the best first, and their comparison; of one model alone there is none."""

    fitted: tuple[FittedModel, ...]
    comparison: Comparison | None


def chosen_models(text: str) -> tuple[str, ...]:
    """Return the models that a text names: words with commas, or ``"all"``.

    Raises:
        InputError: an unknown word, or none.
    """
    words = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if words == ("all",):
        return tuple(MODELS)
    for word in words:
        if word not in MODELS:
            raise unknown("model", word, [*MODELS, "all"])
    return tuple(word for word in MODELS if word in words)


def fit_models(
    sets: Sequence[SwitchingData], start: Junction, models: Sequence[str], settings: Settings,
    *, on_fit: Callable[[str, FittedModel | None], Any] | None = None,
) -> Compared:  # fmt: skip
    """Fit models to the same counts, the quick ones first, and compare them.

    Args:
        sets: data sets of one device.
        start: as :meth:`voltaspin.device.fit.model.Model.fit`.
        models: keys of :data:`voltaspin.device.fit.models.MODELS`.
        settings: what the models may be told.
        on_fit: called with each word before its fit (and None), and with what it gave.

    Raises:
        InputError: no model could be fitted; the message is that of the first.
    """
    fitted, failed = [], {}
    for word in models:
        try:
            if on_fit is not None:
                on_fit(word, None)
            fitted.append(one := MODELS[word].fit(word, sets, start, settings))
            if on_fit is not None:
                on_fit(word, one)
        except InputError as error:
            failed[word] = error
    if not fitted:
        raise next(iter(failed.values()))
    ranked = sorted(fitted, key=lambda one: (float("inf") if one.AICc is None else one.AICc, one.word != "vcma"))
    if len(models) == 1:
        return Compared(fitted=tuple(ranked), comparison=None)
    best = ranked[0].AICc
    rows = []
    for word in models:
        about: dict[str, Any] = {name: getattr(MODELS[word], name) for name in ("law", "valid", "source")}
        if word in failed:
            rows.append(ModelRow(model=word, reason=str(failed[word]), **about))
            continue
        one = next(f for f in fitted if f.word == word)
        rows.append(ModelRow(
            model=word, parameters=fitted_parameters(one.result), fixed=dict(one.fixed), chi2=one.result.chi2,
            log_likelihood=one.result.log_likelihood, criterion=one.AICc, dof=one.result.dof,
            difference=None if one.AICc is None or best is None else one.AICc - best, p_value=one.result.p_value,
            rows=one.rows, outside=one.outside, **about,
        ))  # fmt: skip
    comparison = Comparison(criterion="AICc", models=tuple(rows), conclusion=_conclusion(rows))
    return Compared(fitted=tuple(ranked), comparison=comparison)


def _conclusion(rows: Sequence[ModelRow]) -> str:
    """What the models say together."""
    ranked = sorted((one for one in rows if one.difference is not None), key=lambda one: one.difference or 0.0)
    if not ranked:
        return (
            "The models can be neither judged nor compared: that needs the number of pulses behind every probability, "
            "and two rows more than parameters."
        )
    best, told = ranked[0], []
    describing = [one for one in ranked if one.p_value is not None and one.p_value >= DESCRIBES]
    if not describing:
        told.append(
            f"None of the models describes these data within their errors. {best.model} is the least wrong "
            f"(probability {chance(best.p_value)}): the physics is another one, or rows scatter more than counts do. "
            "The errors of all parameters are too small."
        )
    else:
        verdict = "describes" if best in describing else "does not describe"
        told.append(f"{best.model} {verdict} these data (probability {chance(best.p_value)}) and has the lowest AICc.")
        equal = [one.model for one in ranked[1:] if (one.difference or 0) < _CLOSE]
        likely = [one.model for one in ranked[1:] if _CLOSE <= (one.difference or 0) < _FAR]
        never = [one.model for one in ranked[1:] if (one.difference or 0) >= _FAR]
        told += [f"These data cannot tell it from {' and '.join(equal)}."] if equal else []
        told += [f"Less likely: {', '.join(likely)}."] if likely else []
        told += [f"Without support: {', '.join(never)}."] if never else []
    if best.outside:
        told.append(
            f"{best.outside} of {best.rows} rows lie outside the range of {best.model} ({best.valid}); there its curve "
            "is a description and no physics."
        )
    return " ".join(told)
