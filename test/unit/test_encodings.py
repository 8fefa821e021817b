"""Every encoding, from bytes that are made here by formula and not by the code under test."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import Cases
from edge_inference.core.images.encodings import ENCODINGS, check_frame, to_bgr, to_color
from edge_inference.core.images.frame import Frame
from edge_inference.errors import ImageError

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    """A smooth image in which every channel differs, so that swapped ones show."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / 64.0
    red = 40 + 160 * x
    green = 200 - 120 * y
    blue = 60 + 60 * x + 60 * y
    return np.stack([red, green, blue], axis=-1).round().astype(np.uint8)


def gray_of(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


def yuv_of(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ITU-R BT.601, limited range."""
    r, g, b = np.moveaxis(rgb.astype(np.float64) / 255, -1, 0)
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return tuple(plane.round().clip(0, 255).astype(np.uint8) for plane in (y, u, v))


def bytes_of_packed(rgb: np.ndarray, *letters: str) -> np.ndarray:
    planes = dict(zip("rgb", np.moveaxis(rgb, -1, 0), strict=True))
    planes["a"] = np.full(rgb.shape[:2], 9, np.uint8)
    return np.stack([planes[letter] for letter in letters], axis=-1).reshape(len(rgb), -1)


def bytes_of_422(rgb: np.ndarray, sequence: str) -> np.ndarray:
    y, u, v = yuv_of(rgb)
    by_letter = {"1": y[:, 0::2], "2": y[:, 1::2], "u": u[:, 0::2], "v": v[:, 0::2]}
    return np.stack([by_letter[letter] for letter in sequence], axis=-1).reshape(len(rgb), -1)


def bytes_of_420(rgb: np.ndarray, first: str) -> np.ndarray:
    y, u, v = yuv_of(rgb)
    pair = [u[0::2, 0::2], v[0::2, 0::2]]
    chroma = np.stack(pair if first == "u" else pair[::-1], axis=-1).reshape(len(rgb) // 2, -1)
    return np.concatenate([y, chroma])


def bytes_of_mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    mosaic = np.empty(rgb.shape[:2], np.uint8)
    for at, letter in enumerate(pattern):
        row, column = divmod(at, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
    return mosaic


def bytes_of_mono16(rgb: np.ndarray, order: str = "<") -> np.ndarray:
    return (gray_of(rgb) * 257).round().astype(f"{order}u2").view(np.uint8)


def bytes_of_floats(rgb: np.ndarray, order: str = "<") -> np.ndarray:
    return (gray_of(rgb) / 255).astype(f"{order}f4").view(np.uint8)


BUILDERS = {
    "rgb8": lambda rgb: bytes_of_packed(rgb, *"rgb"),
    "bgr8": lambda rgb: bytes_of_packed(rgb, *"bgr"),
    "rgba8": lambda rgb: bytes_of_packed(rgb, *"rgba"),
    "bgra8": lambda rgb: bytes_of_packed(rgb, *"bgra"),
    "8UC3": lambda rgb: bytes_of_packed(rgb, *"bgr"),
    "8UC4": lambda rgb: bytes_of_packed(rgb, *"bgra"),
    "mono8": lambda rgb: gray_of(rgb).round().astype(np.uint8),
    "8UC1": lambda rgb: gray_of(rgb).round().astype(np.uint8),
    "mono16": bytes_of_mono16,
    "16UC1": bytes_of_mono16,
    "32FC1": bytes_of_floats,
    "uyvy": lambda rgb: bytes_of_422(rgb, "u1v2"),
    "yuv422": lambda rgb: bytes_of_422(rgb, "u1v2"),
    "yuyv": lambda rgb: bytes_of_422(rgb, "1u2v"),
    "yuv422_yuy2": lambda rgb: bytes_of_422(rgb, "1u2v"),
    "nv12": lambda rgb: bytes_of_420(rgb, "u"),
    "nv21": lambda rgb: bytes_of_420(rgb, "v"),
    "bayer_rggb8": lambda rgb: bytes_of_mosaic(rgb, "rggb"),
    "bayer_bggr8": lambda rgb: bytes_of_mosaic(rgb, "bggr"),
    "bayer_gbrg8": lambda rgb: bytes_of_mosaic(rgb, "gbrg"),
    "bayer_grbg8": lambda rgb: bytes_of_mosaic(rgb, "grbg"),
}
COLORLESS = {"mono8", "mono16", "8UC1", "16UC1", "32FC1"}
SUBSAMPLED = {"uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"}
#: Rounding of luma and chroma, and chroma shared between neighbours.
YUV_TOLERANCE = 6


def frame_of(
    rows: np.ndarray, encoding: str, *, padding: int = 0, size: tuple[int, int] | None = None
) -> Frame:
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    width, height = size or (WIDTH, HEIGHT)
    return Frame(padded.reshape(-1), width, height, encoding, padded.shape[1])


def expected_rgb(rgb: np.ndarray, encoding: str) -> tuple[np.ndarray, float]:
    if encoding in COLORLESS:
        return np.repeat(gray_of(rgb)[..., None], 3, axis=-1), 0.51
    if encoding.startswith("bayer"):
        return rgb, 4
    return rgb, YUV_TOLERANCE if encoding in SUBSAMPLED else 0


def test_every_encoding_has_a_builder_here() -> None:
    assert set(BUILDERS) == set(ENCODINGS)


@pytest.mark.parametrize("padding", [0, 1, 64])
def test_bgr_and_rgb(padding: int, rgb: np.ndarray) -> None:
    with Cases() as cases:
        for encoding, builder in BUILDERS.items():
            with cases(encoding):
                frame = frame_of(builder(rgb), encoding, padding=padding)
                expected, tolerance = expected_rgb(rgb, encoding)
                bgr = to_bgr(frame)
                assert bgr.shape == (HEIGHT, WIDTH, 3)
                assert bgr.dtype == np.uint8
                np.testing.assert_allclose(bgr[..., ::-1], expected, atol=tolerance)
                np.testing.assert_array_equal(to_color(frame, "rgb"), bgr[..., ::-1])


@pytest.mark.parametrize("encoding", BUILDERS)
def test_gray(encoding: str, rgb: np.ndarray) -> None:
    rows = BUILDERS[encoding](rgb)
    gray = to_color(frame_of(rows, encoding), "gray")
    assert gray.shape == (HEIGHT, WIDTH)
    if encoding in SUBSAMPLED:  # the luma itself, as in cv_bridge
        np.testing.assert_array_equal(gray, yuv_of(rgb)[0])
    else:
        np.testing.assert_allclose(gray, gray_of(rgb), atol=3 if "bayer" in encoding else 1.01)


@pytest.mark.parametrize(
    ("encoding", "order"), [("bgr8", "bgr"), ("8UC3", "bgr"), ("rgb8", "rgb"), ("mono8", "gray")]
)
@pytest.mark.parametrize("padding", [0, 5])
def test_a_fitting_image_is_a_view(
    encoding: str, order: str, padding: int, rgb: np.ndarray
) -> None:
    frame = frame_of(BUILDERS[encoding](rgb), encoding, padding=padding)
    assert np.shares_memory(to_color(frame, order), frame.data)


@pytest.mark.parametrize("step_padding", [0, 1, 6])
@pytest.mark.parametrize(
    ("encoding", "build"),
    [("mono16", bytes_of_mono16), ("16UC1", bytes_of_mono16), ("32FC1", bytes_of_floats)],
)
def test_big_endian_equals_little_endian(encoding, build, step_padding, rgb: np.ndarray) -> None:
    little = frame_of(build(rgb, "<"), encoding, padding=step_padding)
    big = frame_of(build(rgb, ">"), encoding, padding=step_padding)
    swapped = Frame(big.data, WIDTH, HEIGHT, encoding, big.step, is_bigendian=True)
    np.testing.assert_array_equal(to_bgr(swapped), to_bgr(little))
    assert not np.array_equal(to_bgr(big), to_bgr(little))


def test_sixteen_bits_are_scaled_with_rounding_over_the_whole_range() -> None:
    values = np.arange(65536, dtype="<u2").reshape(256, 256)
    frame = frame_of(values.view(np.uint8), "mono16", size=(256, 256))
    expected = (values.astype(np.int64) * 255 * 2 + 65535) // (65535 * 2)
    np.testing.assert_array_equal(to_color(frame, "gray"), expected)


def test_floats_are_clipped_and_nan_is_black() -> None:
    values = np.array([[-1, 0, 0.5, 1, 2, np.nan, np.inf, -np.inf]], "<f4")
    frame = frame_of(values.view(np.uint8), "32FC1", size=(8, 1))
    assert to_color(frame, "gray").tolist() == [[0, 0, 128, 255, 255, 0, 255, 0]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (3, 4)])
def test_tiny_wide_and_tall(shape: tuple[int, int]) -> None:
    with Cases() as cases:
        for encoding in sorted(set(ENCODINGS) - {"nv12", "nv21"}):
            height, width = shape
            if encoding in SUBSAMPLED:
                width += width % 2
            if encoding.startswith("bayer"):
                height, width = max(height, 3), max(width, 3)
            rows = BUILDERS[encoding](np.full((height, width, 3), 77, np.uint8))
            for padding in (0, 3):
                with cases(encoding, "padding", padding):
                    bgr = to_bgr(frame_of(rows, encoding, padding=padding, size=(width, height)))
                    assert bgr.shape == (height, width, 3)
                    np.testing.assert_allclose(bgr, 77, atol=2)


def test_the_longest_side_is_read() -> None:
    assert to_bgr(Frame(np.zeros(16384 * 2, np.uint8), 16384, 2, "mono8", 16384)).shape[1] == 16384


def blank(**changes: object) -> Frame:
    fields = {
        "data": np.zeros(24, np.uint8),
        "width": 4,
        "height": 2,
        "encoding": "bgr8",
        "step": 12,
    }
    return Frame(**{**fields, **changes})


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (blank(data=np.zeros(0, np.uint8)), "24 in all, got 0"),
        (blank(data=np.zeros(23, np.uint8)), "got 23"),
        (blank(data=np.zeros(25, np.uint8)), "got 25"),
        (blank(width=0), "width and height of 1 to 16384"),
        (blank(height=0), "0"),
        (blank(width=-4), "-4x2"),
        (blank(height=-2), "4x-2"),
        (blank(width=16385), "16385x2"),
        (blank(height=2**31), "16384"),
        (blank(step=0), "step of at least 12"),
        (blank(step=-12), "got -12"),
        (blank(step=11), "got 11"),
        (blank(encoding=""), "known: rgb8"),
        (blank(encoding="BGR8"), "'BGR8' is unknown"),
        (blank(encoding="mono12"), "cv_bridge"),
        (blank(encoding="uyvy", width=3), "even width"),
        (blank(encoding="yuyv", width=1), "even width"),
        (blank(encoding="nv12", width=3), "even width and height"),
        (blank(encoding="nv21", height=1), "even width and height"),
        (blank(encoding="nv12", step=4, data=np.zeros(8, np.uint8)), "3 rows of 4 bytes"),
        (blank(encoding="bayer_rggb8", step=4, data=np.zeros(8, np.uint8)), "at least 3x3"),
        (blank(encoding="mono16", step=7, data=np.zeros(14, np.uint8)), "of 2 bytes"),
    ],
)
def test_a_bad_frame_is_refused_in_one_sentence(frame: Frame, words: str) -> None:
    for read in (check_frame, to_bgr):
        with pytest.raises(ImageError) as refusal:
            read(frame)
        assert words in str(refusal.value)
        assert "\n" not in str(refusal.value)


@given(
    st.sampled_from(sorted(ENCODINGS)),
    st.integers(-2, 40),
    st.integers(-2, 40),
    st.integers(-2, 200),
    st.integers(0, 4000),
    st.booleans(),
)
def test_any_numbers_give_an_image_or_an_image_error(
    encoding: str, width: int, height: int, step: int, length: int, big: bool
) -> None:
    frame = Frame(np.zeros(length, np.uint8), width, height, encoding, step, big)
    try:
        image = to_bgr(frame)
    except ImageError:
        return
    assert image.shape == (height, width, 3)


# --- encodings outside the table -------------------------------------------------


class StrictBridge:
    """Takes what cv_bridge takes: the fields of sensor_msgs/Image."""

    def imgmsg_to_cv2(self, message: object, desired_encoding: str) -> np.ndarray:
        assert desired_encoding == "bgr8"
        if message.encoding != "bgr16":
            raise TypeError(f"Unrecognized image encoding [{message.encoding}]")
        assert message.is_bigendian == 0
        samples = np.frombuffer(message.data, "<u2").reshape(message.height, -1)
        assert message.step == samples.shape[1] * 2
        return (samples.reshape(message.height, message.width, 3) // 257).astype(np.uint8)


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("cv_bridge")
    module.CvBridge = StrictBridge
    monkeypatch.setitem(sys.modules, "cv_bridge", module)


def test_another_encoding_goes_through_cv_bridge(bridge: None, rgb: np.ndarray) -> None:
    samples = (rgb[..., ::-1].astype("<u2") * 257).reshape(HEIGHT, -1)
    frame = frame_of(samples.view(np.uint8), "bgr16")
    check_frame(frame)
    np.testing.assert_array_equal(to_bgr(frame), rgb[..., ::-1])
    np.testing.assert_array_equal(to_color(frame, "rgb"), rgb)


def test_an_encoding_unknown_to_cv_bridge_is_refused(bridge: None) -> None:
    with pytest.raises(ImageError, match=r"cv_bridge cannot convert it to bgr8 \(Unrecognized"):
        to_bgr(blank(encoding="mono12"))


@pytest.mark.parametrize("changes", [{"step": 0}, {"width": 0}, {"data": np.zeros(5, np.uint8)}])
def test_a_bad_frame_never_reaches_cv_bridge(bridge: None, changes: dict) -> None:
    with pytest.raises(ImageError) as refusal:
        to_bgr(blank(encoding="bgr16", **changes))
    assert "cv_bridge" not in str(refusal.value)
