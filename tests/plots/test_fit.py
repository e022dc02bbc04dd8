"""Overlays of fits are pictures that show something, for every kind of data."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.device import presets
from voltaspin.device.fit.data import (
    ResistanceData,
    ResistanceSpread,
    SwitchingData,
    SwitchingFieldData,
    TMRData,
)
from voltaspin.device.fit.field import fit_switching_fields, fit_xi, switched
from voltaspin.device.fit.likelihood import FitResult
from voltaspin.device.fit.predictions import predict
from voltaspin.device.fit.resistance import fit_resistance, fit_spread, fit_TMR, resistance
from voltaspin.device.fit.switching import fit_switching
from voltaspin.plots.drawing import png
from voltaspin.plots.fit import fit_overlay

UPRIGHT = replace(presets.generator, B_bias=(0.0, 0.0, 4e-3))
CELL = replace(presets.generator.with_variation(K_eff_scale=0.2), B_bias=(0.02, 0.0, 1e-3))
VOLTS = np.linspace(-0.6, 0.4, 21)


def looked_at(picture: bytes) -> None:
    image = Image.open(io.BytesIO(picture))
    assert image.size == (1536, 672)
    ink = np.asarray(image.convert("RGBA"))[..., 3] > 0
    assert 0.02 < ink.mean() < 0.9


def test_switching_against_width_from_both_states() -> None:
    rng, sets = np.random.default_rng(1), []
    V, w = (x.ravel() for x in np.meshgrid([0.15, 0.25, 0.35], np.linspace(0.1, 0.8, 8) * 1e-9, indexing="ij"))
    for initial in ("up", "down"):
        blank = SwitchingData(voltage=V, width=w, P_sw=0.0, trials=500, initial=initial, relax=1e-9)  # type: ignore[arg-type]
        sets.append(replace(blank, P_sw=rng.binomial(500, predict(CELL, blank, degree=24)[0]) / 500))
    fit = fit_switching(sets, CELL, free=("xi", "K_eff"), degree=24, threads=1)
    looked_at(png(fit_overlay(fit, sets, degree=24)))


@pytest.mark.parametrize(
    "shape",
    [
        {"voltage": [1.0, 1.1, 1.2], "width": [3e-10, 4e-10, 5e-10]},  # every pulse is alone in its setting
        {"voltage": [1.0, 1.1, 1.2], "width": [3e-10, 4e-10, 5e-10], "B_z": [0.0, 1e-3, 2e-3], "B_x": [2e-3, 0.0, 0.0]},
        {"voltage": [1.0, 1.0, 1.2], "width": [3e-10, 4e-10, 4e-10]},  # one of them
        {"voltage": [1.0], "width": [3e-10]},
    ],
)
def test_pulses_that_differ_in_everything_are_drawn(shape: dict[str, Any]) -> None:
    data = SwitchingData(P_sw=0.4, trials=100, **shape)
    fit = FitResult(
        parameters={"xi": Estimate.normal(1e-13, 1e-15)}, covariance=np.ones((1, 1)), chi2=None, dof=1, junction=CELL
    )
    looked_at(png(fit_overlay(fit, data, predict=lambda sets: np.full(sum(map(len, sets)), 0.5))))


@pytest.mark.parametrize("errors", [True, False])
def test_resistance(errors: bool) -> None:
    rng, sets = np.random.default_rng(2), []
    for state in ("P", "AP"):
        R = resistance(UPRIGHT, ResistanceData(voltage=VOLTS, R=np.ones(21), state=np.array(state)))
        noisy = R * (1 + 0.01 * rng.standard_normal(21))
        sets.append(
            ResistanceData(voltage=VOLTS, R=noisy, state=np.array(state), error=0.01 * R if errors else None)
        )  # fmt: skip
    looked_at(png(fit_overlay(fit_resistance(sets, UPRIGHT), sets)))
    TMR = np.array([UPRIGHT.TMR(float(v)) for v in VOLTS]) + 0.01 * rng.standard_normal(21)
    data = TMRData(voltage=VOLTS, TMR=TMR, error=0.01 * np.ones(21) if errors else None)
    looked_at(png(fit_overlay(fit_TMR(data, UPRIGHT), data)))


def test_spread() -> None:
    rng = np.random.default_rng(3)
    R_P = 5e5 * np.exp(0.08 * rng.standard_normal(300))
    data = ResistanceSpread(R_P=R_P, R_AP=R_P * 2.1 * np.exp(0.03 * rng.standard_normal(300)))
    looked_at(png(fit_overlay(fit_spread(data), data)))


def test_switching_fields() -> None:
    rng, sets, B = np.random.default_rng(4), [], np.linspace(-0.12, 0.12, 1001)
    for V in (-0.4, 0.4):
        falling, rising = (
            switched(UPRIGHT, B, ramp_rate=0.5, initial=well, voltage=V)  # type: ignore[arg-type]
            for well in ("up", "down")
        )
        draws: dict[str, Any] = {
            "up_to_down": np.interp(rng.random(80), falling[::-1], B[::-1]),
            "down_to_up": np.interp(rng.random(80), rising, B),
        }
        sets.append(SwitchingFieldData(**draws, ramp_rate=0.5, voltage=V))
    looked_at(png(fit_overlay(fit_switching_fields(sets[0], UPRIGHT), sets[0])))
    looked_at(png(fit_overlay(fit_xi(sets, UPRIGHT), sets)))


def test_overlays_that_cannot_be_drawn() -> None:
    empty = FitResult(parameters={}, covariance=np.zeros((0, 0)), chi2=None, dof=0)
    data = TMRData(voltage=0.1, TMR=1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="drawn with the fitted junction"):
        fit_overlay(empty, data)
    with pytest.raises(InputError, match="of one kind"):
        fit_overlay(empty, [])
