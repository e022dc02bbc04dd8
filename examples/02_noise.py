"""From cells that are not alike to Gaussian numbers: bias and memory of the last state, raw and conditioned."""

from voltaspin import MagnetoelectricMemory, MemorySource, SwitchingModel
from voltaspin.noise.examination.statistics import bit_statistics

# A poor pulse makes the point: 0 flips with 0.47, 1 with 0.51, so a cell remembers (lag 1 = 0.02) and leans.
memory = MagnetoelectricMemory(model=SwitchingModel.constant(p01=0.47, p10=0.51), K_eff_spread=0, stray_field_spread=0)

for k, name in ((1, "raw bits"), (2, "XOR of two cells")):
    source = MemorySource(memory=memory, k=k, seed=1)
    _, bits = source.samples(500, size=784)
    found = bit_statistics(bits)
    z = source.normal((64, 1, 28, 28), streams=range(64))
    print(f"{name}: bias {found.bias}, lag 1 {found.autocorrelation[0]}")
    print(f"  normals: mean {z.mean():+.4f}, variance {z.var():.4f}; counted {source.ledger.totals()}")
