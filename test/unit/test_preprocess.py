"""Tensors are what plain numpy makes, and the geometry says where everything went."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cases import Cases
from edge_inference.core.images.encodings import ENCODINGS
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.settings import build
from edge_inference.errors import ConfigError, ImageError, TensorError

MEAN = (103.53, 116.28, 123.675)
STD = (57.375, 57.12, 58.395)


def make(width: int = 32, height: int = 24, **values: object) -> Preprocessor:
    return Preprocessor(InputSpec("image", width, height, **values))


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, 256, shape, np.uint8)


# --- the settings ----------------------------------------------------------------


def test_a_spec_comes_from_plain_values() -> None:
    spec = build(
        InputSpec,
        {"name": "data", "width": 416, "height": 320, "mean": [1, 2.5, 3], "std": [4.0]},
    )
    assert spec.shape == (1, 3, 320, 416)
    assert spec.mean == (1.0, 2.5, 3.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 0}, "width: expected an integer from 1 to 16384"),
        ({"layout": "HW"}, "layout: expected one of NCHW, NHWC, CHW, HWC"),
        ({"layout": "CHW", "batch": 2}, "batch: expected 1 for layout CHW, got 2"),
        ({"batch": 0}, "batch: expected an integer from 1 to 1024"),
        ({"color": "MULTI", "channel_count": 0}, "channel_count: expected an integer from 1"),
        ({"color": "rgb"}, "color: expected one of RGB, BGR, GRAY"),
        ({"dtype": "complex64"}, "dtype: expected one of"),
        ({"dtype": "int8"}, "expected values of -128 to 127 for int8, got 0 to 255"),
        ({"mean": (1.0, 2.0)}, "mean: expected 1 or 3 entries for RGB, got 2"),
        ({"mean": ()}, "mean: expected 1 or 3 entries"),
        ({"color": "GRAY", "std": (1.0, 1.0, 1.0)}, "std: expected 1 entry for GRAY, got 3"),
        ({"std": (1.0, 0.0, 1.0)}, "std: expected numbers other than 0"),
        ({"mean": (float("nan"),)}, "mean: expected a list"),
        ({"dtype": "uint8", "mean": (127.0,)}, "expected mean 0 and std 1 for uint8"),
        ({"dtype": "int32", "std": (255.0,)}, "expected mean 0 and std 1 for int32"),
        ({"dtype": "float16", "std": (0.001,)}, "too small for float16"),
        ({"crop_fraction": 0.0}, "crop_fraction: expected a number from 0.01 to 1"),
        ({"pad_value": 256}, "pad_value: expected an integer from 0 to 255"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict, words: str) -> None:
    complete = {"name": "image", "width": 8, "height": 8, **values}
    with pytest.raises(ConfigError, match=words):
        build(InputSpec, complete)
    with pytest.raises(ConfigError, match=words):
        Preprocessor(InputSpec(**complete))


# --- values ----------------------------------------------------------------------


def test_values_equal_plain_numpy() -> None:
    layouts, colors = ("NCHW", "NHWC"), ("RGB", "BGR", "GRAY")
    dtypes = ("float32", "float16", "uint8", "int32")
    sources = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")
    with Cases() as cases:
        for case in itertools.product(layouts, colors, dtypes, sources):
            with cases(*case):
                equals_plain_numpy(*case)


def equals_plain_numpy(layout: str, color: str, dtype: str, source: str) -> None:
    image = noise(50, 70, ENCODINGS[source].bytes_per_pixel)
    normalized = dtype.startswith("float")
    count = 1 if color == "GRAY" else 3
    mean, std = (MEAN[:count], STD[:count]) if normalized else ((0.0,), (1.0,))
    run = make(layout=layout, color=color, dtype=dtype, mean=mean, std=std)
    out = np.full(run.shape, 99, dtype)
    tensor, _ = run(Frame.from_array(image, source), out)

    small = np.moveaxis(cv2.resize(image, (32, 24)).reshape(24, 32, -1), -1, 0)
    if source == "mono8":
        planes = dict.fromkeys("rgb", small[0])
    else:
        planes = dict(zip(source[:-1], small, strict=True))
    if color == "GRAY":
        gray = 0.299 * planes["r"] + 0.587 * planes["g"] + 0.114 * planes["b"]
        expected, tolerance = gray[None], 0.51  # rounded to a whole pixel
    else:
        expected, tolerance = np.stack([planes[letter] for letter in color.lower()]), 0.0
    exact = (expected - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    if layout == "NHWC":
        exact = np.moveaxis(exact, 0, -1)

    assert tensor is out, "written in place"
    assert tensor.dtype == dtype
    relative = {"float32": 6e-8, "float16": 5e-4}.get(dtype, 0)
    np.testing.assert_allclose(
        tensor[0].astype(np.float64), exact, rtol=relative, atol=max(tolerance / min(std), 1e-7)
    )


@pytest.mark.parametrize("color", ["RGB", "GRAY"])
def test_every_encoding_is_converted_to_the_right_color(color: str) -> None:
    """A grey of 128 is 128 in every channel, in every encoding."""
    with Cases() as cases:
        for encoding, described in ENCODINGS.items():
            with cases(encoding):
                step = 40 * described.bytes_per_pixel
                data = np.full(step * 30 * described.half_rows // 2, 128, np.uint8)
                if described.sample == "f4":
                    data = np.full((30, 40), 128 / 255, "<f4").view(np.uint8).reshape(-1)
                tensor, geometry = make(color=color)(Frame(data, 40, 30, encoding, step))
                subsampled = encoding[:2] in ("uy", "yu", "nv")
                expected = (128 - 16) * 255 / 219 if subsampled and color == "RGB" else 128
                np.testing.assert_allclose(tensor, expected, atol=1)
                assert (geometry.source_width, geometry.source_height) == (40, 30)


def test_a_compressed_image_gives_the_same_tensor() -> None:
    image = noise(60, 80)
    data = cv2.imencode(".png", image)[1].reshape(-1)
    run = make(color="BGR", mean=MEAN, std=STD)
    found, _ = run(CompressedFrame(data, "png"))
    expected, _ = run(Frame.from_array(image))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "area", "nearest"])
@pytest.mark.parametrize("size", [(7, 5), (32, 24), (200, 150), (200, 6)])
def test_interpolations_keep_a_flat_image_flat(interpolation: str, size: tuple) -> None:
    image = np.full((size[1], size[0], 3), 201, np.uint8)
    tensor, _ = make(interpolation=interpolation)(Frame.from_array(image))
    assert (tensor == 201).all()


@pytest.mark.parametrize(
    ("interpolation", "factor"),
    [
        *itertools.product(["linear", "cubic", "area"], [0.25, 1, 4]),
        *itertools.product(["nearest"], [0.25, 1, 3]),  # of four pixels none is in the middle
    ],
)
def test_no_interpolation_shifts_the_image(interpolation: str, factor: float) -> None:
    """A mirrored image gives the mirrored tensor."""
    image = noise(int(24 * factor), int(32 * factor))
    run = make(interpolation=interpolation)
    tensor = run(Frame.from_array(image))[0].copy()
    mirrored = run(Frame.from_array(image[::-1, ::-1]))[0]
    np.testing.assert_allclose(mirrored[..., ::-1, ::-1], tensor, atol=1)


# --- the buffer ------------------------------------------------------------------


def test_a_tensor_that_is_held_is_never_overwritten() -> None:
    run = make()
    first, _ = run(Frame.from_array(noise(24, 32)))
    kept = first[0, 1]
    before = kept.copy()
    del first
    for brightness in range(20):
        run(Frame.from_array(np.full((24, 32, 3), brightness, np.uint8)))
    np.testing.assert_array_equal(kept, before)


def test_a_released_tensor_is_reused() -> None:
    run = make()
    frame = Frame.from_array(noise(24, 32))
    addresses = {run(frame)[0].__array_interface__["data"][0] for _ in range(10)}
    assert len(addresses) == 1


@pytest.mark.parametrize(
    "out",
    [
        np.empty((1, 3, 24, 31), np.float32),
        np.empty((3, 24, 32), np.float32),
        np.empty((1, 3, 24, 32), np.float64),
        np.empty((1, 3, 24, 64), np.float32)[..., ::2],
        np.broadcast_to(np.float32(0), (1, 3, 24, 32)),
    ],
    ids=["width", "rank", "dtype", "strided", "read-only"],
)
def test_an_out_that_does_not_fit_is_refused(out: np.ndarray) -> None:
    with pytest.raises(TensorError, match="out for tensor 'image': expected a C-contiguous"):
        make()(Frame.from_array(noise(24, 32)), out)


def test_a_bad_image_leaves_the_preprocessor_usable() -> None:
    run = make()
    with pytest.raises(ImageError):
        run(Frame(np.zeros(0, np.uint8), 4, 4, "bgr8", 12))
    assert run(Frame.from_array(noise(24, 32)))[0].shape == (1, 3, 24, 32)


# --- where things are ------------------------------------------------------------


def test_letterbox_pads_with_the_normalized_value_only() -> None:
    run = make(40, 40, color="BGR", resize="letterbox", mean=MEAN, std=STD, pad_value=114)
    wide, geometry = run(Frame.from_array(np.full((50, 100, 3), 255, np.uint8)))
    assert (geometry.scale_x, geometry.scale_y) == (0.4, 0.4)
    assert (geometry.offset_x, geometry.offset_y) == (0, 10)
    for channel in range(3):
        padding = np.float32((114 - MEAN[channel]) / STD[channel])
        image = np.float32((255 - MEAN[channel]) / STD[channel])
        assert (wide[0, channel, :10] == padding).all()
        assert (wide[0, channel, 10:30] == image).all()
        assert (wide[0, channel, 30:] == padding).all()


def test_letterbox_forgets_the_image_before() -> None:
    run = make(40, 40, resize="letterbox", pad_value=7)
    white = [np.full(shape, 255, np.uint8) for shape in ((50, 100, 3), (100, 50, 3), (50, 100))]
    for image, encoding in zip(white, ("rgb8", "rgb8", "mono8"), strict=True):
        tensor, _ = run(Frame.from_array(image, encoding))
        assert (tensor == 255).sum() == 3 * 40 * 20
        assert (tensor == 7).sum() == 3 * 40 * 20


def test_letterbox_at_the_top_left() -> None:
    run = make(40, 40, resize="letterbox", letterbox_align="top_left")
    tensor, geometry = run(Frame.from_array(np.full((50, 100, 3), 255, np.uint8)))
    assert (tensor[0, :, :20] == 255).all()
    assert (geometry.offset_x, geometry.offset_y) == (0, 0)


def test_center_crop_keeps_the_middle() -> None:
    image = np.zeros((256, 512, 3), np.uint8)
    image[16:240, 144:368] = 255  # the middle 224 of 256, on both axes
    run = make(224, 224, resize="center_crop", crop_fraction=0.875)
    tensor, geometry = run(Frame.from_array(image))
    assert (tensor == 255).all()
    assert (geometry.offset_x, geometry.offset_y) == (-144, -16)


def test_center_crop_equals_resizing_first_and_cropping_then() -> None:
    y, x = np.mgrid[0:512, 0:640]
    image = np.stack([x / 3, y / 3, (x + y) / 6], axis=-1).astype(np.uint8)
    run = make(224, 224, resize="center_crop", crop_fraction=0.875)
    whole = cv2.resize(image, (320, 256))
    expected = whole[16:240, 48:272].transpose(2, 0, 1)
    np.testing.assert_allclose(run(Frame.from_array(image, "rgb8"))[0][0], expected, atol=1.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 16384), (16384, 1), (3, 2000), (6000, 4000)])
def test_every_size_works(size: tuple[int, int]) -> None:
    frame = Frame.from_array(np.full((size[1], size[0]), 200, np.uint8), "mono8")
    resizes, layouts = ("stretch", "letterbox", "center_crop"), ("NCHW", "NHWC")
    targets = ((1, 1), (1, 40), (40, 1), (33, 17))
    with Cases() as cases:
        for resize, layout, target in itertools.product(resizes, layouts, targets):
            with cases(resize, layout, target):
                run = make(*target, resize=resize, layout=layout, pad_value=0)
                out = np.full(run.shape, -1, np.float32)
                tensor, _ = run(frame, out)
                assert set(np.unique(tensor)) <= {0, 200}
                assert (tensor == 200).any()


def extent(profile: np.ndarray) -> tuple[int, int]:
    """First and one-past-last index of the bright part."""
    bright = np.flatnonzero(profile > 127)
    return int(bright[0]), int(bright[-1]) + 1


@given(st.data())
def test_a_rectangle_is_where_the_geometry_maps_it(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(8, 700)), data.draw(st.integers(8, 700))
    run = make(
        data.draw(st.integers(32, 300)),
        data.draw(st.integers(32, 300)),
        resize=data.draw(st.sampled_from(["stretch", "letterbox", "center_crop"])),
        interpolation=data.draw(st.sampled_from(["linear", "area", "nearest"])),
        crop_fraction=data.draw(st.floats(0.5, 1.0)),
        letterbox_align=data.draw(st.sampled_from(["center", "top_left"])),
        layout=data.draw(st.sampled_from(["NCHW", "NHWC"])),
        color="GRAY",
        pad_value=0,
    )
    left, right = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = 255

    tensor, geometry = run(Frame.from_array(image))
    plane = tensor.reshape(run.spec.height, run.spec.width)
    corners = geometry.points_to_tensor(np.array([[left, top], [right, bottom]], np.float64))
    limit = np.array([run.spec.width, run.spec.height])
    visible = np.clip(corners, 0, limit)
    assume((visible[1] - visible[0] >= 3).all())

    found = np.array([extent(plane.max(axis=0)), extent(plane.max(axis=1))]).T
    # Half a pixel of the tensor, and half a source pixel of blur.
    slack = 0.501 + 0.5 * np.array([geometry.scale_x, geometry.scale_y])
    assert (np.abs(found - visible) <= slack).all(), (found, visible)

    boxes = geometry.boxes_to_source(corners.reshape(1, 4))
    np.testing.assert_allclose(boxes[0], [left, top, right, bottom], atol=1e-3)
