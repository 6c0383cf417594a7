"""A notifier of the operator's own. Imported only where Airflow has its home already."""

from typing import Any

from airflow.sdk import BaseNotifier

CALLS: list[tuple[str, str]] = []


class Pager(BaseNotifier):
    """Keeps what it is told of."""

    def __init__(self, channel: str) -> None:
        super().__init__()
        self.channel = channel

    def notify(self, context: Any) -> None:
        CALLS.append((self.channel, context["notice"]["subject"]))


def no_notifier(channel: str) -> Any:
    """Something else that may be called."""
    CALLS.append(("called", channel))
    return Pager(channel)
