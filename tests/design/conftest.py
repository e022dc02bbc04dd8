"""A tiny network and spaces around it, whose designs cost milliseconds."""

import json
import textwrap

import pytest

from voltaspin.design.space import DesignSpace

NET = """
    import torch
    from torch import nn

    def small():
        torch.manual_seed(0)
        inside = [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
        net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), *inside, nn.Conv2d(4, 1, 3))
        return net, torch.randn(4, 1, 8, 8)
"""
HEAD = {"kind": "design-space", "schema_version": 1, "name": "toy"}


@pytest.fixture(scope="session")
def net(tmp_path_factory):
    """A text that names the network."""
    file = tmp_path_factory.mktemp("net") / "net.py"
    file.write_text(textwrap.dedent(NET))
    return f"{file}:small"


@pytest.fixture
def toy(net, tmp_path):
    """Return a function: fields to a space of the network, with array sizes and node as axes."""

    def made(**fields):
        axes = {"array.rows,array.columns": [32, 64], "array.weight_bits": [2, 4, 6], "macro.node": [2.2e-8, 2.8e-8]}
        data = HEAD | {"model": net, "steps": 3, "array": "digital", "axes": axes} | fields
        (tmp_path / "space.json").write_text(json.dumps(data))
        return DesignSpace.from_json(data)

    return made
