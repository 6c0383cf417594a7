"""The pages' two languages.

As in the documents' templates, both stand side by side: ``t('Guardar', 'Save')``. Who edits a text sees its
translation and cannot lose it.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from invoicing.domain.discretion import without_places
from invoicing.words import Language, Text, choose
from invoicing.words.failures import Failure, tell
from invoicing.words.ledger import REASONS, STARTERS, STATES, TRIALS, VERDICTS
from invoicing.words.refusals import IN_DOUBT, REFUSALS, Explained

COOKIE = "invoicing_language"


@dataclass(frozen=True, slots=True)
class Translator:
    """Chooses the visitor's language."""

    language: Language

    def __call__(self, es: str, en: str) -> str:
        """One of both."""
        return choose((es, en), self.language)

    def text(self, text: Text) -> str:
        """One of both."""
        return self(*text)

    def reason(self, reason: str) -> str:
        """Why a tenant gets no mail, in words."""
        return self(*REASONS.get(reason, (reason, reason)))

    def verdict(self, verdict: str | None) -> str:
        """What one attempt came to, in words; None where it is not known: the worker died."""
        return self(*VERDICTS.get(verdict or "", (verdict or "Desconocido", verdict or "Unknown")))

    def trial(self, outcome: str) -> str:
        """What became of a test message, in words."""
        return self(*TRIALS[outcome])

    def refusal(self, state: str, refusal: str | None) -> Explained | None:
        """What became of a delivery means for a person; None where there is nothing to explain."""
        if state == "in_doubt":
            return IN_DOUBT
        return REFUSALS.get(refusal or "")

    def starter(self, via: str | None, name: str) -> str:
        """Who started a run; empty where nobody told."""
        if not name:
            return self(*STARTERS.get(via or "", ("", "")))
        if via in ("command", "backfill"):
            return f"{name} ({self(*STARTERS[via])})"
        return name

    def failure(self, failure: Failure) -> str:
        """What is wrong, in words, without the server's places."""
        return tell_visitor(failure, self.language)

    def sentence(self, failure: Failure) -> str:
        """The same, beginning with a capital letter: it stands by itself, at a field."""
        told = self.failure(failure)
        return told[:1].upper() + told[1:]

    def state(self, state: str) -> str:
        """A state of a delivery, cycle, run or invoice, in words."""
        return self(*STATES.get(state, (state, state)))


def tell_visitor(failure: Failure, language: Language) -> str:
    """What is wrong, for somebody who looks at pages: where the server keeps things is for logs and command line."""
    is_of_a_store = bool({"uri", "root"} & failure.values.keys())
    return without_places(tell(failure, language), of_the_web_too=is_of_a_store)


def chosen_language(request: Request) -> Language:
    """What was asked for: by ``?lang=``, by the cookie it left, by the browser; else Spanish."""
    for asked in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if asked in ("es", "en"):
            return "en" if asked == "en" else "es"
    accepted = request.headers.get("accept-language", "")
    for part in accepted.split(","):
        language = part.split(";")[0].strip().lower().partition("-")[0]
        if language in ("es", "en"):
            return "en" if language == "en" else "es"
    return "es"


def _translator(request: Request) -> Translator:
    return Translator(chosen_language(request))


TranslatorDep = Annotated[Translator, Depends(_translator)]
