"""Where a message's pictures may come from: out of the message itself."""

from invoicing.words.failures import Fault

# The formats that mail readers show. SVG is not among them, and is more than a picture.
PICTURE_TYPES = ("png", "jpeg", "jpg", "gif", "webp")
_BEGINNINGS = ("cid:", *(f"data:image/{kind}{end}" for kind in PICTURE_TYPES for end in ";,"))


def picture_fault(address: str) -> Fault | None:
    """Why a message cannot show the picture at ``address``; None where it can.

    A picture on a server tells its owner who opened which invoice, and when; and most readers do not show it.
    """
    beginning = address.strip()[:40].lower()
    if beginning.startswith(_BEGINNINGS):
        return None
    if beginning.startswith("data:image/svg"):
        return Fault("mail_svg_not_shown")
    return Fault("mail_resource_blocked", url=address.strip()[:200])
