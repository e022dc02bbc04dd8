"""Images from a file of recorded bits. Put your own device's raw bits in place of the file made here."""

import os
from pathlib import Path

from voltaspin import NoiseExhaustedError, RecordedSource, sample
from voltaspin.diffusion import load_pipeline, shipped_model

file = Path("bits.bin")
file.write_bytes(os.urandom(4 * 5 * 784 * 2))  # four images of five steps, 16 bits a pixel and draw

pipeline, source = load_pipeline(shipped_model()), RecordedSource(file)
made = sample(pipeline, source, count=4, steps=5)
print(made.images.shape, source.provenance)

try:
    sample(pipeline, source, count=1, steps=5)
except NoiseExhaustedError as error:
    print(error)  # nothing falls back to a pseudo-random generator
