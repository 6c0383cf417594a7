"""The real stack, started and ended through the command line."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_stack import Stack, lives, own_processes


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A running stack, shared by the session's tests: none may take its data for granted."""
    folder = tempfile.TemporaryDirectory(prefix="inv-e2e-", ignore_cleanup_errors=True)
    running = Stack(Path(folder.name) / "state")
    try:
        running.run("up")
        yield running
        processes = own_processes(running)
        running.run("down")
        assert [process for process in processes if lives(process)] == []
    finally:
        running.remove()
        folder.cleanup()


@pytest.fixture
def other_stack() -> Iterator[Stack]:
    """A stack that was never started, for a test of its own."""
    folder = tempfile.TemporaryDirectory(prefix="inv-e2e-", ignore_cleanup_errors=True)
    fresh = Stack(Path(folder.name) / "state")
    try:
        yield fresh
    finally:
        fresh.remove()
        folder.cleanup()
