"""A pooled array is reused only when no reference to it remains."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edge_inference.core.images.buffer_pool import BufferPool


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_no_array_is_allocated_before_the_first_take() -> None:
    assert len(BufferPool((2, 3), np.float32)) == 0


def test_a_taken_array_has_the_shape_and_dtype_and_can_be_written() -> None:
    array = BufferPool((1, 3, 4, 5), "float16").take()
    assert array.shape == (1, 3, 4, 5)
    assert array.dtype == np.float16
    assert array.flags.c_contiguous
    array[:] = 7


def test_a_released_array_is_reused() -> None:
    pool = BufferPool((1000,), np.float32)
    first = pool.take()
    where = address(first)
    del first
    assert address(pool.take()) == where
    assert len(pool) == 1


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[10:20],
        lambda array: array[::2].reshape(5, -1),
        lambda array: array.view(np.uint32),
        lambda array: memoryview(array),
        lambda array: np.frombuffer(array, np.uint8),
        lambda array: np.from_dlpack(array),
        lambda array: {"tensor": (array,)},
    ],
    ids=["itself", "slice", "reshaped", "view", "memoryview", "frombuffer", "dlpack", "container"],
)
def test_an_array_with_a_reference_is_not_reused(hold) -> None:
    pool = BufferPool((1000,), np.float32)
    array = pool.take()
    where = address(array)
    held = hold(array)
    del array
    assert address(pool.take()) != where
    del held
    assert address(pool.take()) == where


def test_a_read_only_array_does_not_affect_the_next_one() -> None:
    pool = BufferPool((10,), np.float32)
    array = pool.take()
    array.flags.writeable = False
    del array
    again = pool.take()
    again[:] = 1
    assert (again == 1).all()


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_beyond_the_limit_new_arrays_are_not_kept(limit: int) -> None:
    pool = BufferPool((1000,), np.float32, limit=limit)
    held = [pool.take() for _ in range(5)]
    assert len({address(array) for array in held}) == 5
    assert len(pool) == limit


def test_threads_never_share_an_array() -> None:
    pool = BufferPool((256,), np.int64, limit=4)
    clashes: list[int] = []

    def work(mark: int) -> None:
        for _ in range(300):
            array = pool.take()
            array[:] = mark
            if not (array == mark).all():
                clashes.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert len(pool) <= 4
