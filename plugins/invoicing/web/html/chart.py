"""The chart of the months: where its bars stand. How they look is the style sheet's business."""

from collections.abc import Sequence
from dataclasses import dataclass

from invoicing.services.views.cycles import Month

HEIGHT = 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 12, 30
_SLOT, _FEWEST_SLOTS = 88, 4
_FEW = 6
"""So many months fit on a phone; of more, the newest are in sight."""
# From the ground up.
LAYERS = ("sent", "waiting", "trouble", "skipped")


@dataclass(frozen=True, slots=True)
class Bar:
    """One layer of a month's column."""

    layer: str
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """A month: its bars from the ground up, and where its name stands."""

    period: str
    middle: float
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns, and the lines across with the numbers beside them; as wide as its months need.

    Args:
        is_short: It fits on a phone as a whole.
    """

    width: int
    height: int
    ground: float
    columns: Sequence[Column]
    lines: Sequence[tuple[float, int]]
    is_short: bool


def months_chart(months: Sequence[Month]) -> Chart:
    """Lay out ``months`` (newest first, as the list has them), oldest on the left."""
    stacks = [(month.period, _layers(month)) for month in reversed(months)]
    step, top = _scale(max((sum(layers.values()) for _, layers in stacks), default=0))
    ground = HEIGHT - _BOTTOM
    unit = (ground - _TOP) / top
    width = 46.0
    columns = []
    for number, (period, layers) in enumerate(stacks):
        middle = _LEFT + _SLOT * (number + 0.5)
        bars = []
        y = float(ground)
        for layer in LAYERS:
            if not layers[layer]:
                continue
            # What must be seen is never thinner than a line.
            height = max(layers[layer] * unit, 2.0)
            y -= height
            bars.append(
                Bar(
                    layer,
                    layers[layer],
                    round(middle - width / 2, 1),
                    round(y, 1),
                    round(width, 1),
                    round(height, 1),
                )
            )
        columns.append(Column(period, round(middle, 1), bars))
    lines = [(round(ground - value * unit, 1), value) for value in range(0, top + 1, step)]
    whole = _LEFT + _SLOT * max(len(stacks), _FEWEST_SLOTS) + _RIGHT
    return Chart(whole, HEIGHT, ground, columns, lines, len(stacks) <= _FEW)


def _layers(month: Month) -> dict[str, int]:
    return {
        "sent": month.sent,
        "waiting": month.waiting,
        "trouble": month.failed + month.in_doubt,
        "skipped": month.tenants - month.to_send,
    }


def _scale(most: int) -> tuple[int, int]:
    """The distance of the lines across (1, 2 or 5 times a power of ten) and the highest of them."""
    step = 1
    for factor in (2, 2.5, 2) * 12:
        if most <= step * 4:
            break
        step = round(step * factor)
    return step, step * max(1, -(-most // step))
