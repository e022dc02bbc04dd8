"""Files of studies to begin with: one for every kind of condition, one for images of one's own."""

from __future__ import annotations

from typing import Any

#: By name, the fields of a :class:`voltaspin.study.specification.StudySpec`.
STUDIES: dict[str, dict[str, Any]] = {
    "conditions": {
        "name": "Every kind of condition",
        "question": "A file to be cut down: each condition changes one thing of the base. Write the margin before you "
        "run; a dry run of `voltaspin study` says what it takes.",
        "margin": 0.015,
        "baseline": "software",
        "base": {"images": 256, "steps": 25},
        "conditions": {
            "software": {},
            "memory in sampling": {"sample": "memory-xor"},
            "memory, less spread": {"sample": "memory-xor", "memory": {"K_eff_spread": 0.03}},
            "memory, biased cells": {"sample": "memory-raw", "cells": {"p01": 0.55, "p10": 0.45}},
            "memory behind von Neumann": {"sample": "memory:k=1 | von-neumann"},
            "software in training": {"train": "software", "train_steps": 500, "channels": [16, 32, 48]},
            "memory in training": {"train": "memory-raw", "train_steps": 500, "channels": [16, 32, 48]},
            "memory in training, less spread": {
                "train": "memory-raw", "train_memory": {"K_eff_spread": 0.03}, "train_steps": 500,
                "channels": [16, 32, 48],
            },
            "memory in training, last state kept": {
                "train": "memory-raw", "training": {"streams": "slot"}, "train_steps": 500, "channels": [16, 32, 48],
            },
            "a recipe": {
                "train": "software", "recipe": "fashion-mnist-small",
                "training": {"steps": 500, "channels": [16, 32, 48], "weighting": "min-snr"},
            },
            "another sampler": {"sampling": {"sampler": "dpm++"}},
            "few draws": {"sampling": {"sampler": "ddim", "churn": 4}},
            "network in crossbars": {"compute": {"preset": "analog", "adc_bits": 6}, "calibrate": True},
            "pixels in an array": {"diffusion": "in-place", "sampling": {"cells_per_pixel": 31}},
            "steps halved": {"steps": 12},
        },
        "training_seeds": [0, 1, 2],
        "sampling_seeds": [1, 2],
        "controls": ["steps halved", "memory, biased cells"],
        "yardstick": "steps halved",
    },
    "own-images": {
        "name": "Hardware noise on images of one's own",
        "question": "Give data, a folder of square pictures, and reference, a file that `voltaspin reference` makes of "
        "other real ones by the extractor inception.",
        "margin": 0.01,
        "baseline": "software",
        "base": {
            "data": "pictures", "reference": "pictures.safetensors", "recipe": "cifar10-small",
            "training": {"steps": 4000}, "images": 1000, "steps": 50, "train": "software",
        },
        "conditions": {
            "software": {},
            "memory in training": {"train": "memory-xor"},
            "memory in sampling": {"sample": "memory-xor"},
            "memory in both": {"train": "memory-xor", "sample": "memory-xor"},
            "steps halved": {"steps": 25},
        },
        "training_seeds": [0, 1, 2],
        "sampling_seeds": [1, 2],
        "controls": ["steps halved"],
        "yardstick": "steps halved",
    },
}  # fmt: skip
