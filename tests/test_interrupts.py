"""An interrupt that Python ignores, because of where it comes, is sent again."""

from __future__ import annotations

import gc
import sys
import time

import pytest

from bayes_her2.interrupts import heard


def raising(error: type[BaseException]) -> list[bool]:
    """Have the next garbage collection meet an error in a callback; returns whether it has met it."""
    met: list[bool] = []

    def callback(phase: str, info: dict[str, int]) -> None:
        gc.callbacks.remove(callback)
        met.append(True)
        raise error

    gc.callbacks.append(callback)
    return met


def test_an_interrupt_lost_in_a_garbage_collection_is_raised_afterwards():
    met = raising(KeyboardInterrupt)
    slept: list[int] = []

    def work() -> None:
        with heard():
            gc.collect(0)  # of the youngest objects: the others are many in a process of many tests
            assert met
            for i in range(500):
                time.sleep(0.01)
                slept.append(i)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(slept) < 500


def test_other_errors_go_their_way_and_the_hook_is_put_back(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    mine = sys.unraisablehook
    raising(ValueError)
    with heard():
        gc.collect(0)
        time.sleep(0.2)
    assert [lost.exc_type for lost in seen] == [ValueError]
    assert sys.unraisablehook is mine
