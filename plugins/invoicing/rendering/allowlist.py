"""Lists of what is allowed, written to be read."""


def listed(names: str) -> frozenset[str]:
    """Names, with blanks between them."""
    return frozenset(names.split())
