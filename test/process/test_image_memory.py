"""What the bounds of images allow fits into half a gigabyte of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_MB = 512

# Each makes the largest image of its kind that is within the default bounds.
IMAGES = {
    "png of 8 bits": "png(8192, 8192, 8, 2)",
    "png of 16 bits and alpha": "png(5000, 5000, 16, 6)",
    "grey png": "png(8192, 8192, 8, 0)",
    "jpeg": "jpeg(8192, 8192, 0)",
    "progressive jpeg": "jpeg(6600, 6700, 1)",
    "floats": "raw(5400, 6200, '32FC1', 4)",
    "16 bits": "raw(8192, 8192, 'mono16', 2)",
    "subsampled": "raw(8192, 8192, 'nv12', 1.5)",
    "with alpha": "raw(5700, 5800, 'rgba8', 4)",
}

CHILD = """
import struct, sys, zlib
import cv2
import numpy as np
from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_header import DEFAULT_BOUNDS

def chunk(kind, content):
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

def png(width, height, depth, color):
    row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[color] * depth // 8)
    pack = zlib.compressobj(1)
    data = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return encoded(b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(parts))

def jpeg(width, height, progressive):
    # Made small, with a large size in the header: the decoder fills the missing part.
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
               cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data = bytearray(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), options)[1].tobytes())
    at = data.index(b"\\xff\\xc2" if progressive else b"\\xff\\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return encoded(bytes(data))

def encoded(data):
    return CompressedFrame(np.frombuffer(data, np.uint8), "some")

def raw(width, height, encoding, size):
    data = np.zeros(int(width * height * size), np.uint8)
    data.fill(0)  # so that it counts before
    DEFAULT_BOUNDS.check_raw(width, height, data.size)
    return Frame(data, width, height, encoding, width * max(1, int(size)))

image = {IMAGE}
def peak():
    # Not that of getrusage, which starts with the memory of the parent process.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

before = peak()
shape = to_bgr(image).shape
after = peak()
print(shape[0] * shape[1], (after - before) / 1024 + image.data.size / 2**20)
"""


@pytest.mark.parametrize("image", IMAGES)
def test_the_largest_accepted_image(image: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHILD.replace("{IMAGE}", IMAGES[image])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    pixels, used_mb = map(float, ended.stdout.split())
    assert pixels > 20e6
    assert 50 < used_mb < MOST_MB
