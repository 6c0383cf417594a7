"""What the JSON API's codes mean: where ``type`` of its problem details (RFC 9457) leads."""

from fastapi import APIRouter
from pydantic import BaseModel

from invoicing.web.door.duties import Duty, needs
from invoicing.words.failures import FAILURES

router = APIRouter()


class ProblemWords(BaseModel):
    """A failure in both languages; its values go where the braces are."""

    es: str
    en: str


@router.get("/problems")
@needs(Duty.READ_AMOUNTS)
def get_problems() -> dict[str, ProblemWords]:
    """Every code that a refusal may carry, with its words."""
    return {code: ProblemWords(es=es, en=en) for code, (es, en) in FAILURES.items()}
