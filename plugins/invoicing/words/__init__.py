"""The project's words, Spanish and English side by side. Pages, JSON API, command line and logs take them from here.

Pure data and the choice between two languages: nothing here knows anything else of the project. Who edits a text
sees its translation and cannot lose it.
"""

from typing import Literal, TypeAlias

Language: TypeAlias = Literal["es", "en"]

Text: TypeAlias = tuple[str, str]
"""Spanish and English."""


def choose(text: Text, language: Language) -> str:
    """One of both."""
    return text[1] if language == "en" else text[0]
