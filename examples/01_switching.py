"""How likely does a pulse flip the generator junction? Prints the answer for a few widths, and the trade-off."""

from voltaspin import Pulse, presets
from voltaspin.core.units import ns
from voltaspin.device import llg

junction = presets.generator
print(f"V_c {junction.V_c:.2f} V; barrier {junction.barrier():.0f} k_B T (storage: {presets.storage.barrier():.0f})")

for width in (0.2 * ns, 0.28 * ns, 0.6 * ns, 1.2 * ns):
    pulse = Pulse(voltage=junction.V_c, width=width)
    found = llg.switching_probability(junction, pulse, n_devices=4000, seed=1)
    energy = pulse.energy(junction)
    print(f"{width / ns:.2f} ns: P_sw = {found.value:.3f} +- {found.error:.3f}, {energy * 1e15:.2f} fJ in the barrier")
