"""Why a message was not taken, in words: what it means, and what a person can do (`domain.refusal`)."""

from collections.abc import Mapping
from typing import NamedTuple

from invoicing.words import Text


class Explained(NamedTuple):
    """A refusal for a person.

    Args:
        meaning: A sentence.
        advice: Another: what helps.
    """

    meaning: Text
    advice: Text


_ANOTHER_ADDRESS: Text = (
    "Corrija la dirección y envíelo de nuevo.",
    "Mend the address and send it again.",
)
_LATER: Text = ("Suele pasar: envíelo de nuevo más tarde.", "It mostly passes: send it again later.")
_WHO_RUNS_THE_RELAY: Text = (
    "Muéstrele la respuesta a quien administra el servidor de correo.",
    "Show the answer to who runs the mail server.",
)

REFUSALS: Mapping[str, Explained] = {
    "address_unknown": Explained(
        ("Esta dirección no existe en su servidor.", "This address does not exist at its server."),
        _ANOTHER_ADDRESS,
    ),
    "address_refused": Explained(
        ("El servidor de la dirección no la acepta.", "The address’s server does not take mail for it."),
        (
            "Casi siempre es que no existe: confírmela con el tercero, corríjala y envíelo de nuevo.",
            "Mostly it does not exist: confirm it with the tenant, mend it and send it again.",
        ),
    ),
    "address_malformed": Explained(
        ("La dirección está mal escrita.", "The address is misspelt."), _ANOTHER_ADDRESS
    ),
    "address_moved": Explained(
        ("El buzón se mudó a otra dirección.", "The mailbox has moved to another address."),
        (
            "Pida al tercero la nueva, corríjala y envíelo de nuevo.",
            "Ask the tenant for the new one, mend it and send it again.",
        ),
    ),
    "address_not_ascii": Explained(
        (
            "La dirección tiene letras que el servidor de correo no sabe llevar.",
            "The address has letters that the mail server cannot carry.",
        ),
        (
            "Pida al tercero una dirección sin tildes ni eñes.",
            "Ask the tenant for an address without accents.",
        ),
    ),
    "domain_without_mail": Explained(
        (
            "Lo que sigue a la arroba no existe, o no recibe correo.",
            "What follows the @ does not exist, or takes no mail.",
        ),
        _ANOTHER_ADDRESS,
    ),
    "mailbox_disabled": Explained(
        ("El buzón está desactivado.", "The mailbox is switched off."),
        (
            "Pida al tercero otra dirección, corríjala y envíelo de nuevo.",
            "Ask the tenant for another address, mend it and send it again.",
        ),
    ),
    "mailbox_full": Explained(
        ("El buzón está lleno.", "The mailbox is full."),
        (
            "Avise al tercero, o use otra dirección, y envíelo de nuevo.",
            "Tell the tenant, or use another address, and send it again.",
        ),
    ),
    "server_full": Explained(
        ("El servidor no tiene espacio en este momento.", "The server has no room at the moment."), _LATER
    ),
    "too_large": Explained(
        ("El mensaje es más grande de lo que acepta.", "The message is larger than it takes."),
        (
            "Envíe un mensaje por factura, o use un logotipo más liviano.",
            "Send one message an invoice, or use a lighter logo.",
        ),
    ),
    "too_many_recipients": Explained(
        ("Son demasiados destinatarios a la vez.", "There are too many recipients at once."),
        ("Quite direcciones en copia y envíelo de nuevo.", "Take away addresses in copy and send it again."),
    ),
    "sender_refused": Explained(
        ("No acepta nuestra dirección de remitente.", "It does not take our sender’s address."),
        (
            "Revise la dirección del remitente en Automatización.",
            "Check the sender’s address under Automation.",
        ),
    ),
    "sender_unproven": Explained(
        (
            "No cree que el mensaje venga de nuestro dominio (SPF, DKIM o DMARC).",
            "It does not believe that the message comes from our domain (SPF, DKIM or DMARC).",
        ),
        (
            "Quien administra el dominio del remitente debe autorizar al servidor de correo.",
            "Who runs the sender’s domain has to authorise the mail server.",
        ),
    ),
    "policy": Explained(
        (
            "Lo rechazó por sus reglas: lo toma por correo no deseado o no nos conoce.",
            "Its rules refused it: it takes it for unwanted mail, or does not know us.",
        ),
        (
            "Pida al tercero que autorice la dirección del remitente, o use otra dirección suya.",
            "Ask the tenant to allow the sender’s address, or use another address of theirs.",
        ),
    ),
    "content": Explained(
        ("No acepta el contenido del mensaje.", "It does not take what the message contains."),
        ("Revise la plantilla y sus adjuntos.", "Check the template and what is attached."),
    ),
    "login": Explained(
        (
            "El servidor de correo no aceptó nuestra clave.",
            "The mail server did not take our login.",
        ),
        _WHO_RUNS_THE_RELAY,
    ),
    "route": Explained(
        (
            "El servidor de correo no encuentra el camino hasta el de la dirección.",
            "The mail server finds no way to the address’s server.",
        ),
        (
            "Revise lo que sigue a la arroba; si está bien, envíelo de nuevo más tarde.",
            "Check what follows the @; if that is right, send it again later.",
        ),
    ),
    "protocol": Explained(
        (
            "El servidor de correo no entendió lo que se le pidió.",
            "The mail server did not understand what it was asked.",
        ),
        _WHO_RUNS_THE_RELAY,
    ),
    "server_busy": Explained(
        ("El servidor no puede recibirlo en este momento.", "The server cannot take it at the moment."),
        _LATER,
    ),
    "relay_away": Explained(
        ("El servidor de correo no respondió.", "The mail server did not answer."),
        (
            "Se intenta de nuevo solo; si sigue así, avise a quien lo administra.",
            "It is tried again by itself; if it goes on, tell who runs it.",
        ),
    ),
    "not_built": Explained(
        ("El mensaje no se pudo armar: no salió.", "The message could not be built: it did not leave."),
        (
            "Corrija lo que dice la respuesta (la plantilla o el documento) y envíelo de nuevo.",
            "Mend what the answer names (the template or the document) and send it again.",
        ),
    ),
    "unknown": Explained(
        ("El servidor lo rechazó.", "The server refused it."),
        (
            "Su respuesta, en la página del envío, dice por qué.",
            "Its answer, on the delivery’s page, says why.",
        ),
    ),
}
"""Code of `Refusal` to its words."""

IN_DOUBT = Explained(
    (
        "No se sabe si llegó: el servidor calló después de recibirlo.",
        "Nobody knows whether it arrived: the server fell silent after it had it.",
    ),
    (
        "Búsquelo en el registro del servidor de correo y resuelva la duda.",
        "Look for it in the mail server’s log and settle the doubt.",
    ),
)
"""Of a delivery whose outcome nobody learnt."""
