# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# mypy: disable-error-code="no-untyped-def"
"""The page of the explorer, a marimo app: sliders on top, and a panel for each view.

Each view is a cell of its own, so that a quick one shows before a slow one. All follow one state, and the views keep
what a slider does not change.
``voltaspin explore`` starts it; ``marimo edit explorer_app.py`` opens its cells.
"""

import marimo

app = marimo.App(width="medium", app_title="Voltaspin explorer")


@app.cell
def _():
    import json

    import marimo as mo

    from voltaspin.core.errors import InputError
    from voltaspin.device import Junction
    from voltaspin.explorer.state import ExplorerState
    from voltaspin.report.explorer_page import (
        Panels,
        code,
        examples,
        heading,
        junction_text,
        span_of_voltage,
        span_of_width,
    )

    return (
        ExplorerState, InputError, Junction, Panels, code, examples, heading, json, junction_text, mo, span_of_voltage,
        span_of_width,
    )  # fmt: skip


@app.cell
def _(examples, heading, mo):
    given = mo.cli_args().get("junction") or "generator"
    names = list(dict.fromkeys([given, *examples()]))
    preset = mo.ui.dropdown(names, value=given, label="Junction", allow_select_none=False)
    mo.vstack([mo.md(heading()), preset])
    return (preset,)


@app.cell
def _(Junction, mo, preset, span_of_voltage, span_of_width):
    base = Junction.of(preset.value)

    def slider(span, label):
        start, stop, step, value = span
        return mo.ui.slider(start, stop, step, value=value, label=label, show_value=True, debounce=True)

    voltage = slider(span_of_voltage(base), "Voltage (V)")
    width = slider(span_of_width(base), "Width (ns)")
    Delta = slider((15, 100, 0.5, round(base.Delta() * 2) / 2), "Barrier Delta (k_B T)")
    xi = slider((20, 320, 1, round(base.xi * 1e15)), "VCMA xi (fJ/Vm)")
    B_x = slider((5, 60, 1, round(base.B_bias[0] * 1e3)), "Field B_x (mT)")
    temperature = slider((200, 400, 1, round(base.temperature)), "Temperature (K)")
    K_eff_spread = slider((0, 10, 0.5, 5.0), "Spread of K_eff (%)")
    stray = slider((0, 3, 0.1, 0.5), "Stray field (mT)")
    k = mo.ui.slider(1, 4, value=2, label="XOR of cells", show_value=True, debounce=True)
    steps = mo.ui.slider(2, 30, value=10, label="Evaluations", show_value=True, debounce=True)
    sampler = mo.ui.dropdown(["ddim", "ddpm"], value="ddim", label="Sampler", allow_select_none=False)
    columns = [
        mo.vstack([mo.md("**Pulse**"), voltage, width]),
        mo.vstack([mo.md("**Junction**"), Delta, xi, B_x, temperature]),
        mo.vstack([mo.md("**Array**"), K_eff_spread, stray, k]),
        mo.vstack([mo.md("**Images**"), sampler, steps]),
    ]
    mo.hstack(columns, wrap=True, gap=2, align="start", justify="start")
    return B_x, Delta, K_eff_spread, base, k, sampler, steps, stray, temperature, voltage, width, xi


@app.cell
def _(
    B_x, Delta, ExplorerState, InputError, K_eff_spread, base, junction_text, k, mo, preset, sampler, steps, stray,
    temperature, voltage, width, xi,
):  # fmt: skip
    changes = {"Delta": Delta.value, "xi": xi.value * 1e-15, "B_x": B_x.value * 1e-3, "temperature": temperature.value}
    try:
        state = ExplorerState(
            junction=junction_text(preset.value, base, changes), voltage=voltage.value, width=width.value * 1e-9,
            K_eff_spread=K_eff_spread.value / 100, stray_field_spread=stray.value * 1e-3, k=k.value,
            steps=steps.value, sampler=sampler.value,
        )  # fmt: skip
    except (InputError, ValueError) as error:
        mo.stop(True, mo.callout(mo.md(str(error)), kind="warn"))
    return (state,)


@app.cell
def _(Panels, mo, state):
    mo.hstack([Panels(mo).switching(state)], justify="start")
    return


@app.cell
def _(Panels, mo, state):
    Panels(mo).bits(state)
    return


@app.cell
def _(Panels, mo, state):
    Panels(mo).price(state)
    return


@app.cell
def _(Panels, mo, state):
    Panels(mo).images(state)
    return


@app.cell
def _(code, json, mo, state):
    mo.vstack([
        mo.md("## Take it with you"),
        mo.md("The same in full, on the command line:"),
        mo.Html(code("\n".join(state.commands()))),
        mo.md("A condition of a study (`voltaspin template study`):"),
        mo.Html(code(json.dumps(state.condition(), indent=1))),
        mo.hstack([
            mo.download(json.dumps(state.to_json(), indent=1).encode(), "explorer-state.json", label="State"),
            mo.download("\n".join(state.commands()).encode(), "commands.sh", label="Commands"),
            mo.download(json.dumps(state.cell.to_json(), indent=1).encode(), "junction.json", label="Junction"),
        ], wrap=True, justify="start"),
    ])  # fmt: skip
    return


if __name__ == "__main__":
    app.run()
