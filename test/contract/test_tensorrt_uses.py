"""The search for TensorRT's names in source code."""

from __future__ import annotations

import pytest

from tensorrt_uses import misnamed_in, uses_in


def needed(text: str) -> list[str]:
    return [str(use) for use in uses_in(text) if not use.is_asked]


def asked(text: str) -> list[str]:
    return [str(use) for use in uses_in(text) if use.is_asked]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("other.thing", []),
        ("config", []),
        ("trt.Builder(logger)", ["trt.Builder"]),
        ("trt.BuilderFlag.TF32", ["trt.BuilderFlag", "BuilderFlag.TF32"]),
        ("vendor.trt.DataType.FLOAT", ["trt.DataType", "DataType.FLOAT"]),
        ("self._context.infer_shapes()", ["IExecutionContext.infer_shapes"]),
        ("_engine.num_io_tensors", ["ICudaEngine.num_io_tensors"]),
        ("config.builder_optimization_level = 3", ["IBuilderConfig.builder_optimization_level"]),
        ("class Log(trt.ILogger): pass", ["trt.ILogger"]),
        ("layer.get_output(0).dtype", ["ILayer.get_output"]),
    ],
)
def test_names_are_found(text: str, found: list[str]) -> None:
    assert needed(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(engine: Engine): engine.request", []),
        ("def f(engine: Any): engine.request", ["ICudaEngine.request"]),
        ("def f(engine): engine.request", ["ICudaEngine.request"]),
        ("def f(engine: Engine):\n  def g(): engine.request", []),
        ("def f(engine: Engine):\n  def g(engine): engine.request", ["ICudaEngine.request"]),
        ("class A:\n  engine: Engine\n  def f(self): self.engine.request", []),
        ("class A:\n  engine: Any\n  def f(self): self.engine.x", ["ICudaEngine.x"]),
        ("self._engine: Engine | None = None\nself._engine.request", []),
        ("profile: Profile = make()\nprofile.shapes", []),
        ("def f(trt: Any): trt.Builder", ["trt.Builder"]),
    ],
)
def test_declared_names_are_left_out(text: str, found: list[str]) -> None:
    assert needed(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('if hasattr(config, "a"):\n  config.a = 1', []),
        ('if hasattr(config, "a"):\n  config.b = 1', ["IBuilderConfig.b"]),
        ('if hasattr(config, "a"):\n  pass\nelse:\n  config.a', ["IBuilderConfig.a"]),
        ('if hasattr(config, "a"):\n  pass\nconfig.a', ["IBuilderConfig.a"]),
        ('if hasattr(other, "a"):\n  config.a', ["IBuilderConfig.a"]),
        ('if on and hasattr(config, "a"):\n  config.a', []),
        ('if on or hasattr(config, "a"):\n  config.a', ["IBuilderConfig.a"]),
        ('if hasattr(config, "a") and hasattr(config, "b"):\n  config.a = config.b', []),
        ('x = config.a if hasattr(config, "a") else None', []),
        ('x = None if hasattr(config, "a") else config.a', ["IBuilderConfig.a"]),
        ('x = None if not hasattr(config, "a") else config.a', []),
        ('x = hasattr(config, "a") and config.a', []),
        ('x = not hasattr(config, "a") or config.a', []),
        ('def f():\n  if not hasattr(config, "a"):\n    return\n  config.a', []),
        ('def f():\n  if not hasattr(config, "a"):\n    pass\n  config.a', ["IBuilderConfig.a"]),
        ('def f():\n  if off or not hasattr(config, "a"):\n    raise E\n  config.a', []),
        ('if hasattr(trt, "A"):\n  trt.A.B', []),
        ('if hasattr(self._context, "a"):\n  self._context.a()', []),
    ],
)
def test_names_after_a_test_may_be_used(text: str, found: list[str]) -> None:
    assert needed(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('getattr(config, "a", None)', ["IBuilderConfig.a"]),
        ('hasattr(trt, "A")', ["trt.A"]),
        ('enum_member(trt.BuilderFlag, "FP16")', ["BuilderFlag.FP16"]),
        ('getattr(other, "a", None)', []),
        ("getattr(config, name, None)", []),
        ("hasattr(config)", []),
        ("class A(trt.IB):\n  def c(self): pass\n  def _d(self): pass", ["IB.c"]),
        ("class A(vendor.trt.IB):\n  c = 1", []),
        ("class A(B):\n  def c(self): pass", []),
    ],
)
def test_capability_tests_are_listed_separately(text: str, found: list[str]) -> None:
    assert asked(text) == found
    assert [name for name in needed(text) if name not in ("trt.BuilderFlag", "trt.IB")] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("builder = trt.Builder(logger)", 0),
        ("self._engine = runtime.deserialize_cuda_engine(plan)", 0),
        ("e = runtime.deserialize_cuda_engine(plan)", 1),
        ("net: Any = builder.create_network(0)", 1),
        ("made = store.create_folder()", 0),
    ],
)
def test_results_under_other_names_are_found(text: str, count: int) -> None:
    assert len(misnamed_in(text)) == count
