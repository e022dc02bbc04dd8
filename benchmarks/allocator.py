"""One UNet training step with glibc's default allocator and with freed memory kept, in turn, in one run.

    python benchmarks/allocator.py

Each variant runs in a process of its own, since the setting cannot be undone; the pairs alternate.
"""

import subprocess
import sys

CODE = """
import sys, time, torch
from voltaspin.diffusion.backend import keep_freed_memory
from voltaspin.diffusion.recipe import TrainSpec, make_model
if sys.argv[1] == "kept":
    assert keep_freed_memory()
model = make_model(TrainSpec(), channels=1, size=28)
x, t = torch.randn(64, 1, 28, 28), torch.randint(0, 1000, (64,))
def step():
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.mse_loss(model(x, t).sample.float(), x)
    loss.backward()
step()
begin = time.perf_counter()
for _ in range(8):
    step()
print((time.perf_counter() - begin) / 8)
"""


def seconds(variant: str) -> float:
    return float(
        subprocess.run([sys.executable, "-c", CODE, variant], capture_output=True, text=True, check=True).stdout
    )


def main() -> None:
    pairs = [(seconds("default"), seconds("kept")) for _ in range(3)]
    ratios = sorted(a / b for a, b in pairs)
    for a, b in pairs:
        print(f"default {a:.3f} s/step, kept {b:.3f} s/step, ratio {a / b:.2f}")
    print(f"median ratio default/kept: {ratios[1]:.2f} (range {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
