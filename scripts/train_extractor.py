"""Train the feature extractor once and write its weights and its card.

    VOLTASPIN_DATA=... python scripts/train_extractor.py

It sees the first 50,000 Fashion-MNIST training images only; the last 10,000 stay unseen and serve as the
second real sample, the test split is the reference. Another run of this script gives another extractor:
publish it under another name, since scores of two extractors do not compare.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from voltaspin.core.files import sha256_of, write_json
from voltaspin.core.spec import environment
from voltaspin.diffusion.data import load_images
from voltaspin.metrics.features import DEFAULT_EXTRACTOR, FEATURES, extractor_folder, network

SEED, TRAINED_ON, EPOCHS, BATCH, SHIFT = 20250, 50_000, 6, 256, 2


def shifted(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to SHIFT pixels either way, black outside (the border is black anyway)."""
    n, side = len(x), x.shape[-1]
    padded = functional.pad(x, (SHIFT,) * 4, value=-1.0)
    dy, dx = torch.randint(0, 2 * SHIFT + 1, (2, n), generator=generator)
    rows = (dy[:, None] + torch.arange(side))[:, :, None]
    columns = (dx[:, None] + torch.arange(side))[:, None, :]
    return padded[torch.arange(n)[:, None, None], 0, rows, columns][:, None]


def scaled(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).float() / 127.5 - 1.0


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a binomial proportion."""
    p, w = successes / n, z * z / n
    centre, half = (p + w / 2) / (1 + w), z * math.sqrt(p * (1 - p) / n + w / (4 * n)) / (1 + w)
    return centre - half, centre + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder that holds fashion-mnist/")
    parser.add_argument("--out", type=Path, default=extractor_folder(DEFAULT_EXTRACTOR))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)

    train = load_images("fashion-mnist", split="train", path=args.data)
    test = load_images("fashion-mnist", split="test", path=args.data)
    x, y = scaled(train.images[:TRAINED_ON]), torch.from_numpy(train.labels[:TRAINED_ON])
    model = network().to(memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters")
    steps = EPOCHS * (TRAINED_ON // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
    begin = time.perf_counter()
    for epoch in range(EPOCHS):
        order, losses = torch.randperm(TRAINED_ON, generator=generator), []
        for i in range(0, TRAINED_ON - BATCH + 1, BATCH):
            chosen = order[i : i + BATCH]
            batch = shifted(x[chosen], generator).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(batch)[1], y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}/{EPOCHS} loss {np.mean(losses):.4f} {time.perf_counter() - begin:.0f} s",
            flush=True,
        )

    model = model.to(memory_format=torch.contiguous_format).eval()

    def correct(images: np.ndarray, labels: np.ndarray) -> int:
        with torch.inference_mode():
            found = torch.cat([model(part)[1].argmax(1) for part in scaled(images).split(1000)])
        return int((found.numpy() == labels).sum())

    right, unseen = (
        correct(test.images, test.labels),
        correct(train.images[TRAINED_ON:], train.labels[TRAINED_ON:]),
    )
    low, high = wilson(right, len(test.images))
    print(f"test {right / len(test.images):.4f} [{low:.4f}, {high:.4f}], unseen training images {unseen / 1e4:.4f}")

    from safetensors.torch import save_file

    args.out.mkdir(parents=True, exist_ok=True)
    weights = args.out / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items() if "num_batches" not in k}, weights)
    weights.chmod(0o644)  # safetensors writes it readable by its owner only
    usage = resource.getrusage(resource.RUSAGE_SELF)
    write_json(
        args.out / "card.json",
        {
            "kind": "extractor",
            "schema_version": 1,
            "name": DEFAULT_EXTRACTOR,
            "sha256": sha256_of(weights),
            "parameters": parameters,
            "features": FEATURES,
            "architecture": "3x3 convolutions 32, 32/2, 64, 64/2, 96, 96 (width/stride), each with batch "
            "normalisation and GELU; mean over the image; linear 96-64, GELU: the features; linear 64-10",
            "input": "grey 28x28, uint8 / 127.5 - 1, no resize",
            "training": {
                "data": "Fashion-MNIST (Zalando SE, 2017, MIT licence), training images 0 to 49,999",
                "command": "python scripts/train_extractor.py",
                "seed": SEED,
                "epochs": EPOCHS,
                "batch": BATCH,
                "augmentation": f"shifts of up to {SHIFT} pixels",
                "optimizer": "AdamW 4e-3, weight decay 0.02, one cycle, label smoothing 0.05",
                "wall_s": round(time.perf_counter() - begin),
                "cpu_s": round(usage.ru_utime + usage.ru_stime),
                "threads": args.threads,
                "environment": environment(),
            },
            "accuracy": {
                "split": "test, 10,000 images, never trained on",
                "correct": right,
                "n": len(test.images),
                "value": right / len(test.images),
                "low": low,
                "high": high,
                "interval": "Wilson, 95 %",
            },
            "accuracy_unseen_train": {
                "split": "training images 50,000 to 59,999",
                "correct": unseen,
                "n": 10_000,
            },
        },
    )


if __name__ == "__main__":
    main()
