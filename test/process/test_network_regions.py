"""Regions end where few tensors are alive, and equal ones have one pattern."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from edge_inference.core.models.variants import Derivation
from edge_inference.engines.precision.folding import fold
from edge_inference.optimize.placement.network_regions import NetworkRegion, find_regions
from edge_inference.optimize.placement.precision_candidate import (
    ALL,
    LAYERS,
    REST,
    RegionModes,
)
from precision_networks import weights, write

BLOCKS = 4


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """Return a network of equal residual blocks: two convolutions and an addition each."""
    nodes = [helper.make_node("Conv", ["x", "stem"], ["t0"], "stem", pads=[1] * 4)]
    constants = {"stem": weights(8, 3, 3, 3)}
    for block in range(BLOCKS):
        before, names = f"t{block}", [f"b{block}_{part}" for part in ("one", "act", "two", "sum")]
        one, act, two, total = names
        constants |= {f"{each}_w": weights(8, 8, 3, 3, seed=block) for each in (one, two)}
        nodes += [
            helper.make_node("Conv", [before, f"{one}_w"], [one], one, pads=[1] * 4),
            helper.make_node("Relu", [one], [act], act),
            helper.make_node("Conv", [act, f"{two}_w"], [two], two, pads=[1] * 4),
            helper.make_node("Add", [two, before], [f"t{block + 1}"], total),
        ]
    nodes += [
        helper.make_node("GlobalAveragePool", [f"t{BLOCKS}"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "head_w"], ["logits"], "head"),
    ]
    constants["head_w"] = weights(8, 4)
    folder = tmp_path_factory.mktemp("network")
    return fold(write(folder / "net.onnx", nodes, constants, ["logits"]))


def by_node(regions: list[NetworkRegion]) -> dict[str, int]:
    return {name: index for index, region in enumerate(regions) for name in region.nodes}


@pytest.mark.parametrize("most", [1, 3, 5, 8, 40])
def test_each_node_is_in_one_region(network: onnx.ModelProto, most: int) -> None:
    regions = find_regions(network, most)
    assert len(regions) <= most
    names = [name for region in regions for name in region.nodes]
    assert sorted(names) == sorted(node.name for node in network.graph.node)
    assert sum(region.work for region in regions) == pytest.approx(1.0)
    found = by_node(regions)
    assert all(found[f"b{block}_one"] == found[f"b{block}_act"] for block in range(BLOCKS))


def test_blocks_stay_whole_and_share_a_pattern(network: onnx.ModelProto) -> None:
    regions = find_regions(network, 5)
    found = by_node(regions)
    for block in range(BLOCKS):
        assert len({found[f"b{block}_{part}"] for part in ("one", "act", "two", "sum")}) == 1
    inner = {regions[found[f"b{block}_sum"]].pattern for block in range(1, BLOCKS - 1)}
    assert len(inner) == 1
    assert regions[found["stem"]].pattern not in inner


def test_sizes_that_the_graph_leaves_open_count(network: onnx.ModelProto) -> None:
    opened = onnx.ModelProto()
    opened.CopyFrom(network)
    for axis in (2, 3):
        opened.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"size_{axis}"
    del opened.graph.value_info[:]
    sized = find_regions(opened, 5, {"x": (1, 3, 16, 16)})
    assert [region.work for region in sized] == [region.work for region in find_regions(network, 5)]


def test_the_modes_of_regions(network: onnx.ModelProto) -> None:
    regions = find_regions(network, 5)
    modes = RegionModes(network, regions, "onnxruntime", Derivation(int8_keep_fp32=("stem",)))
    without = ["all but Add", "all but GlobalAveragePool"]
    assert modes.names() == [ALL, LAYERS, "Conv", "Gemm", *without]
    assert modes.uniform("all but Add").derive.int8_keep_fp32 == ("stem", "Add")
    both = modes.uniform(modes.add_all_but(["GlobalAveragePool", "Add"]))
    assert both.derive.int8_keep_fp32 == ("stem", "Add", "GlobalAveragePool")
    assert both.name == "int8 in all but Add, GlobalAveragePool"
    assert modes.uniform(ALL).derive.int8_keep_fp32 == ("stem",)
    assert modes.uniform(LAYERS).derive.int8_keep_fp32 == (
        "stem",
        *("Add", "Flatten", "GlobalAveragePool"),
    )
    assert modes.mixed([LAYERS] * len(regions), [False] * len(regions)) == modes.uniform(LAYERS)
    chosen, reduced = [ALL] * len(regions), [False] * len(regions)
    chosen[1], reduced[2] = REST, True
    mixed = modes.mixed(chosen, reduced).derive
    assert set(mixed.int8_keep_fp32) == {"stem", *regions[1].nodes}
    assert set(mixed.int8_reduce_range) == {
        name for name in regions[2].nodes if name.endswith(("one", "two"))
    }
    seven = modes.mixed([ALL] * len(regions), [True] * len(regions))
    assert seven.is_single
    assert not modes.mixed(chosen, reduced).is_single
    assert modes.uniform(ALL).key != modes.uniform(ALL, "fp16").key
