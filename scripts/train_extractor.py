"""Train a feature extractor once and write its weights and its card.

    VOLTASPIN_DATA=... python scripts/train_extractor.py [cifar10]

It never sees the last 10,000 training images, which serve as the second real sample; the test split is the reference.
Another run of this script gives another extractor: publish it under another name, since scores of two extractors do
not compare.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from voltaspin.core.files import sha256_of, write_json
from voltaspin.core.spec import environment
from voltaspin.diffusion.data import load_images
from voltaspin.metrics.features import COLOUR_EXTRACTOR, DEFAULT_EXTRACTOR, FEATURES, extractor_folder, network

SEED, BATCH, SHIFT, UNSEEN = 20250, 256, 2, 10_000


@dataclass(frozen=True)
class Kind:
    """What differs between the extractors: name, data, epochs, and whether images are mirrored."""

    name: str
    data: str
    epochs: int
    flips: bool
    input: str


KINDS = {
    "fashion-mnist": Kind(
        DEFAULT_EXTRACTOR,
        "Fashion-MNIST (Zalando SE, 2017, MIT licence)",
        6,
        False,
        "grey 28x28, uint8 / 127.5 - 1, no resize",
    ),
    "cifar10": Kind(
        COLOUR_EXTRACTOR, "CIFAR-10 (Krizhevsky, 2009)", 12, True, "colour 32x32, uint8 / 127.5 - 1, no resize"
    ),
}


def shifted(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to SHIFT pixels either way, black outside (the border of garments is black anyway)."""
    n, side = len(x), x.shape[-1]
    padded = functional.pad(x, (SHIFT,) * 4, value=-1.0)
    dy, dx = torch.randint(0, 2 * SHIFT + 1, (2, n), generator=generator)
    rows = (dy[:, None] + torch.arange(side))[:, :, None]
    columns = (dx[:, None] + torch.arange(side))[:, None, :]
    return padded[torch.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


def mirrored(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every image mirrored with probability 1/2."""
    return torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5, x.flip(3), x)


def scaled(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).float() / 127.5 - 1.0


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a binomial proportion."""
    p, w = successes / n, z * z / n
    centre, half = (p + w / 2) / (1 + w), z * math.sqrt(p * (1 - p) / n + w / (4 * n)) / (1 + w)
    return centre - half, centre + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="?", choices=KINDS, default="fashion-mnist")
    parser.add_argument("--data", type=Path, default=None, help="folder that holds the data set")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    kind, out = KINDS[args.kind], args.out or extractor_folder(KINDS[args.kind].name)
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)

    train, test = (load_images(args.kind, split=split, path=args.data) for split in ("train", "test"))
    seen = len(train.images) - UNSEEN
    x, y = scaled(train.images[:seen]), torch.from_numpy(train.labels[:seen]).long()
    model = network(x.shape[1]).to(memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters")
    steps = kind.epochs * (seen // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
    begin = time.perf_counter()
    for epoch in range(kind.epochs):
        order, losses = torch.randperm(seen, generator=generator), []
        for i in range(0, seen - BATCH + 1, BATCH):
            chosen = order[i : i + BATCH]
            moved = shifted(x[chosen], generator)
            batch = (mirrored(moved, generator) if kind.flips else moved).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(batch)[1], y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}/{kind.epochs} loss {np.mean(losses):.4f} {time.perf_counter() - begin:.0f} s",
            flush=True,
        )

    model = model.to(memory_format=torch.contiguous_format).eval()

    def correct(images: np.ndarray, labels: np.ndarray) -> int:
        with torch.inference_mode():
            found = torch.cat([model(part)[1].argmax(1) for part in scaled(images).split(1000)])
        return int((found.numpy() == labels).sum())

    right, unseen = (
        correct(test.images, test.labels),
        correct(train.images[seen:], train.labels[seen:]),
    )
    low, high = wilson(right, len(test.images))
    print(f"test {right / len(test.images):.4f} [{low:.4f}, {high:.4f}], unseen training images {unseen / UNSEEN:.4f}")

    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    weights = out / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items() if "num_batches" not in k}, weights)
    weights.chmod(0o644)  # safetensors writes it readable by its owner only
    usage = resource.getrusage(resource.RUSAGE_SELF)
    write_json(
        out / "card.json",
        {
            "kind": "extractor",
            "schema_version": 1,
            "name": kind.name,
            "sha256": sha256_of(weights),
            "parameters": parameters,
            "features": FEATURES,
            "architecture": "3x3 convolutions 32, 32/2, 64, 64/2, 96, 96 (width/stride), each with batch "
            "normalisation and GELU; mean over the image; linear 96-64, GELU: the features; linear 64-10",
            "input": kind.input,
            "shape": list(train.images.shape[1:]),
            "training": {
                "data": f"{kind.data}, {train.name}, training images 0 to {seen - 1:,}",
                "data_sha256": train.sha256,
                "command": f"python scripts/train_extractor.py {args.kind}",
                "seed": SEED,
                "epochs": kind.epochs,
                "batch": BATCH,
                "augmentation": f"shifts of up to {SHIFT} pixels" + (", mirrored or not" if kind.flips else ""),
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
                "split": f"training images {seen:,} to {len(train.images) - 1:,}",
                "correct": unseen,
                "n": UNSEEN,
            },
        },
    )


if __name__ == "__main__":
    main()
