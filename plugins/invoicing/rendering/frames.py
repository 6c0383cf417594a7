"""Documents on their way to a rendering process: pickles in which a long text travels once a process.

An agency's logo, a text of up to 387 kB, is part of every document of its month.
"""

import io
import pickle
from typing import Any

_LONG = 10_000
_MOST_REMEMBERED = 8

# A number, and with it, the first time, the text in bytes: texts are what is looked for.
_Named = tuple[int, bytes | None]


class FrameWriter:
    """The parent's end, for the life of one child: what it has been told it remembers."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def write(self, document: object) -> bytes:
        """``document`` for that child."""
        frame = io.BytesIO()
        _Pickler(frame, self._told).dump(document)
        return frame.getvalue()


class FrameReader:
    """The child's end. What its parent writes is trusted."""

    def __init__(self) -> None:
        self._told: dict[int, str] = {}

    def read(self, frame: bytes) -> Any:
        """The document, its long texts the same objects as before."""
        return _Unpickler(io.BytesIO(frame), self._told).load()


class _Pickler(pickle.Pickler):
    def __init__(self, frame: io.BytesIO, told: dict[str, int]) -> None:
        super().__init__(frame, protocol=pickle.HIGHEST_PROTOCOL)
        self._told = told

    def persistent_id(self, value: Any) -> _Named | None:
        if type(value) is not str or len(value) < _LONG:
            return None
        number = self._told.get(value)
        if number is not None:
            return number, None
        if len(self._told) == _MOST_REMEMBERED:
            return None
        number = self._told[value] = len(self._told)
        return number, value.encode(errors="surrogatepass")


class _Unpickler(pickle.Unpickler):
    def __init__(self, frame: io.BytesIO, told: dict[int, str]) -> None:
        super().__init__(frame)
        self._told = told

    def persistent_load(self, named: _Named) -> str:
        number, text = named
        if text is not None:
            self._told[number] = text.decode(errors="surrogatepass")
        return self._told[number]
