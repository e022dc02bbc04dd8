"""One array stores, computes and diffuses in place; a network's layers in crossbars, and what an image costs there."""

import numpy as np
import torch

from voltaspin.device import SwitchingModel, presets
from voltaspin.memory import Access, ArraySpec, Crossbar, MagnetoelectricMemory, convert

# It stores: ten years at 55 C, with reads and writes that fail as often as the device's numbers say.
bits = np.random.default_rng(0).integers(0, 2, (64, 64), dtype=np.uint8)
constant = SwitchingModel.constant(0.5, 0.5)
storage = MagnetoelectricMemory(
    rows=64,
    columns=64,
    model=constant,
    junction=presets.get("storage"),
    access=Access(toggle_error=(1e-3, 1e-3)),
    seed=1,
)
left = storage.write_verify(bits)
storage.age(10 * 365.25 * 86400, temperature=273.15 + 55)
print(f"after write-verify {left} cells are wrong; ten years later {np.mean(storage.read() != bits):.3%} of the bits")

# It computes: rows 4 to 6 become the sum of the numbers in rows 0, 1 and 2, 3; rows 8 and 9 carry.
storage.add_rows((0, 1), (2, 3), (4, 5, 6), carry=(8, 9))
print("counted:", storage.ledger.totals())

# It diffuses: random flips with a programmed probability, nothing moved.
garden = MagnetoelectricMemory(rows=64, columns=64, model=constant, seed=2)
garden.write(bits)
for _ in range(20):
    garden.pulse(0.02)
flipped = float((garden.state != bits).mean())
print(f"flipped after 20 steps: {flipped:.4f}, closed form {(1 - 0.96**20) / 2:.4f}")

# A matrix in a crossbar, and a network.
spec = ArraySpec(rows=256, columns=256, weight_bits=4, input_bits=8, adc_bits=6, mode="analog", TMR=1.0,
                 resistance_spread=0.05, read_noise=0.01, write_error_rate=1e-4, seed=0)  # fmt: skip
rng = np.random.default_rng(1)
weight, x = rng.normal(size=(16, 200)), rng.normal(size=(200, 8))
error = Crossbar(weight, spec) @ x - weight @ x
print(f"relative error of the product: {np.std(error) / np.std(weight @ x):.3f}")
network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 3), torch.nn.Conv2d(8, 8, 3), torch.nn.Flatten(), torch.nn.Linear(200, 10)
)
model, coverage = convert(network, spec, example=torch.zeros(1, 1, 9, 9))
model(torch.randn(4, 1, 9, 9))
print(coverage)
