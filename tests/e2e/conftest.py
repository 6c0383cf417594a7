"""A stack that a test may do anything to."""

from collections.abc import Iterator

import pytest

from support.running_stack import Stack, room_for_stack


@pytest.fixture
def other_stack() -> Iterator[Stack]:
    """A stack that was never started, for a test of its own."""
    with room_for_stack() as fresh:
        yield fresh
