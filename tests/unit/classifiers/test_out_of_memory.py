"""Halving: a batch that is too large is halved until it fits, and what is done already is not done again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from pcim.classifiers.out_of_memory import each_halving, halving_when_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


class Device:
    """Has memory for so many items at once; remembers what it was asked for and what it did."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[int] = []
        self.done: list[int] = []

    def work(self, size: int) -> str:
        self.asked.append(size)
        if size > self.most:
            raise torch.OutOfMemoryError
        return f"done by {size}"

    def each(self, items: list[int], size: int) -> Iterator[tuple[list[int], str]]:
        """Work on the items in batches; the third item asks for twice the memory of another."""
        self.asked.append(size)
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            if len(batch) + (2 in batch) > self.most:
                raise torch.OutOfMemoryError
            self.done += batch
            yield batch, f"by {size}"


@pytest.mark.parametrize(("size", "most", "asked"), [(8, 8, [8]), (8, 2, [8, 4, 2]), (8, 1, [8, 4, 2, 1]), (5, 2, [5, 2]), (1, 1, [1])])
def test_a_batch_is_halved_until_it_fits_down_to_one(size: int, most: int, asked: list[int]) -> None:
    device = Device(most)
    assert halving_when_out_of_memory(device.work, size) == (f"done by {asked[-1]}", asked[-1])
    assert device.asked == asked


@pytest.mark.parametrize("size", [1, 2, 8])
def test_one_view_that_does_not_fit_is_the_end(size: int) -> None:
    device = Device(0)
    with pytest.raises(torch.OutOfMemoryError):
        halving_when_out_of_memory(device.work, size)
    assert device.asked[-1] == 1
    with pytest.raises(torch.OutOfMemoryError):
        list(each_halving(Device(0).each, 3, size))


def test_what_is_done_is_not_done_again_when_a_later_batch_does_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    """Items 0 and 1 fit two at a time; 2 does not with 3: it and all after it come one by one."""
    device = Device(2)
    found = list(each_halving(device.each, 6, 2))
    assert found == [([0, 1], "by 2"), ([2], "by 1"), ([3], "by 1"), ([4], "by 1"), ([5], "by 1")]
    assert device.done == [0, 1, 2, 3, 4, 5]
    assert device.asked == [2, 1]
    assert "too small for 2 views at once; going on with 1" in caplog.text


def test_nothing_to_do_asks_the_device_for_nothing() -> None:
    device = Device(2)
    assert list(each_halving(device.each, 0, 4)) == []
    assert device.asked == []
