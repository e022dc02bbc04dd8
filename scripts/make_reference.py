"""Write the reference statistics that ship: features of real, blurred and noisy images, and 32 garments.

VOLTASPIN_DATA=... python scripts/make_reference.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from voltaspin.core.files import sha256_of, write_json
from voltaspin.diffusion.data import load_images
from voltaspin.metrics.features import Extractor
from voltaspin.metrics.shipped import SETS, blurred, data_sha256, noisy, reference_folder

SEED, SIGMA, UNSEEN, YARDSTICK = 20251, 0.05, 50_000, 5_000

LICENCE = """Fashion-MNIST (garments.png, and the images behind features.safetensors)

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without
limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the
Software, and to permit persons to whom the Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions
of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder that holds fashion-mnist/")
    parser.add_argument("--out", type=Path, default=reference_folder("fashion-mnist"))
    args = parser.parse_args()
    extractor = Extractor.load()
    test = load_images("fashion-mnist", split="test", path=args.data)
    unseen = load_images("fashion-mnist", split="train", path=args.data).images[UNSEEN:]
    images = {
        "reference": test.images,
        "real": unseen,
        "blur": blurred(unseen[:YARDSTICK]),
        "noise": noisy(unseen[:YARDSTICK], sigma=SIGMA, seed=SEED),
    }
    # Half precision is 5e-4 of a feature, a thousandth of its spread over the images.
    stored = {name: extractor.features(images[name]).astype(np.float16) for name in SETS}
    reference = stored["reference"].astype(np.float64)
    stored |= {"centre": reference.mean(axis=0), "scale": reference.std(axis=0, ddof=1)}
    stored["labels"] = test.labels.astype(np.uint8)  # lets the accuracy of the extractor be checked again

    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "features.safetensors"
    save_file(stored, path)
    path.chmod(0o644)
    strip = np.concatenate([test.images[test.labels == c][: 4 if c < 2 else 3, 0] for c in range(10)])
    Image.fromarray(strip.transpose(1, 0, 2).reshape(28, -1)).save(args.out / "garments.png", optimize=True)
    write_json(
        args.out / "card.json",
        {
            "kind": "reference",
            "schema_version": 1,
            "name": "fashion-mnist",
            "sha256": sha256_of(path),
            "extractor": extractor.name,
            "extractor_sha256": extractor.sha256,
            "command": "python scripts/make_reference.py",
            "licence": "garments.png and the features come from Fashion-MNIST, Zalando SE 2017: LICENSE.txt",
            "standardised_by": "mean and standard deviation of each feature over the reference",
            "sets": {
                name: {"n": len(images[name]), "images": where, "pixels_sha256": data_sha256(images[name])}
                for name, where in {
                    "reference": "test split",
                    "real": "training images 50,000 to 59,999, never seen by the extractor",
                    "blur": "training images 50,000 to 54,999, 3x3 mean, black outside",
                    "noise": f"training images 50,000 to 54,999, Gaussian noise of sigma {SIGMA} of "
                    f"the range, clipped, 8 bit, seed {SEED}",
                }.items()
            },
        },
    )
    (args.out / "LICENSE.txt").write_text(LICENCE, encoding="utf-8")
    print(f"{args.out}: {path.stat().st_size / 2**20:.2f} MiB of features, {strip.shape[0]} garments")


if __name__ == "__main__":
    main()
