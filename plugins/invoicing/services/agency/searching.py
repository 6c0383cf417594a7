"""Words that a person types, as the database looks for them: without case, without accents."""

import unicodedata


def patterns(search: str) -> list[str]:
    """A LIKE pattern a word, for columns that are kept plain (``tenant.words``); those that tell most come first."""
    words = sorted(plain(search).split(), key=len, reverse=True)
    return [f"%{_escaped(word)}%" for word in words]


def plain(text: str) -> str:
    """Lower case, without accents."""
    decomposed = unicodedata.normalize("NFD", text.replace("\0", " ").lower())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _escaped(word: str) -> str:
    """``word`` for LIKE, meaning itself."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
