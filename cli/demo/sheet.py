"""The contact sheet: every image sent, with what became of it burnt in below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cli.demo.account import Account
from cli.output import likelihood
from core.errors import LungwatchError
from core.files import make_directories
from db.vocabulary import Outcome, ReceiptState

_TILE: Final = 300
_CAPTION: Final = 104
_GAP: Final = 12
_HEAD: Final = 64
_COLUMNS: Final = (4, 8)  # fewest and most, as far as there are tiles
_PAPER: Final = (18, 20, 24)
_INK: Final = (226, 228, 232)
_FAINT: Final = (150, 156, 166)
# no green: a sheet that looks reassuring at a glance is read as one
_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    Outcome.SUSPECTED: (214, 94, 52),
    Outcome.NOT_SUSPECTED: (86, 130, 184),
    Outcome.NO_RESULT: (206, 166, 44),
    Outcome.OUT_OF_SCOPE: (112, 118, 128),
    Outcome.PENDING: (206, 166, 44),
    ReceiptState.DUPLICATE: (112, 118, 128),
    ReceiptState.HEADER_REVISION: (112, 118, 128),
    ReceiptState.CONFLICT: (206, 166, 44),
}
_ASIDE: Final = frozenset({ReceiptState.DUPLICATE, ReceiptState.HEADER_REVISION, ReceiptState.CONFLICT})


def headline(account: Account) -> str:
    """Return the one word that stands for an instance: its outcome, or why it has none of its own."""
    if account.receipt is None:
        return "NOT ACKNOWLEDGED" if not account.answer.acknowledged else "UNACCOUNTED"
    if account.receipt.state in _ASIDE:
        return account.receipt.state
    return str(account.result.outcome) if account.result and account.result.outcome else account.receipt.state


def draw(accounts: Sequence[Account], masters: Path, title: str) -> Image.Image:
    """Draw the sheet.

    Parameters
    ----------
    accounts : sequence of Account
        One tile each, in order.
    masters : Path
        Where master images lie, for what came without a picture.
    title : str
        Stands above all.
    """
    columns = min(max(_COLUMNS[0], math.isqrt(len(accounts) - 1) + 1), _COLUMNS[1]) if len(accounts) > 1 else 1
    columns = min(columns, max(1, len(accounts)))
    lines = -(-len(accounts) // columns)
    width = columns * (_TILE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _HEAD + lines * (_TILE + _CAPTION + _GAP) + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP + 2, 10), title, fill=_INK, font=ImageFont.load_default(22))
    note = "Research, not a medical device. No outcome here says that a child is well."
    pen.text((_GAP + 2, 38), note, fill=_FAINT, font=ImageFont.load_default(14))
    for index, account in enumerate(accounts):
        line, column = divmod(index, columns)
        _tile(sheet, _GAP + column * (_TILE + _GAP), _HEAD + line * (_TILE + _CAPTION + _GAP), account, masters)
    return sheet


def save(sheet: Image.Image, path: Path) -> None:
    """Write the sheet as PNG, making the folder if need be."""
    make_directories(path.absolute().parent)
    sheet.save(path, "PNG", optimize=True)


def _tile(sheet: Image.Image, left: int, top: int, account: Account, masters: Path) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + _TILE - 1, top + _TILE + _CAPTION - 1), fill=(0, 0, 0))
    picture = account.sending.thumbnail or _master(account, masters)
    if picture is None:
        pen.text((left + 90, top + 140), "no picture", fill=_FAINT, font=ImageFont.load_default(20))
    else:
        shown = picture.convert("RGB")
        shown.thumbnail((_TILE, _TILE))
        sheet.paste(shown, (left + (_TILE - shown.width) // 2, top + (_TILE - shown.height) // 2))
    word = headline(account)
    colour = _COLOURS.get(word, _COLOURS[Outcome.NO_RESULT])
    pen.rectangle((left, top + _TILE, left + _TILE - 1, top + _TILE + 29), fill=colour)
    result = account.result
    own = account.receipt is not None and account.receipt.state not in _ASIDE
    chance = likelihood(result.probability) if own and result else ""
    pen.text((left + 8, top + _TILE + 4), f"{word.replace('_', ' ')}   {chance}", fill=(255, 255, 255), font=_font(18))
    captions = [account.sending.title, account.sending.syntax, _remark(account)]
    for number, text in enumerate(captions):
        _fit(pen, (left + 8, top + _TILE + 36 + 21 * number), text, _INK if number == 0 else _FAINT)


def _remark(account: Account) -> str:
    if account.problem:
        return account.problem
    if account.receipt and account.receipt.state in _ASIDE:
        return "the first stays in force" if account.receipt.state is ReceiptState.CONFLICT else "the score stays"
    result = account.result
    if result is None:
        return account.receipt.reason or "" if account.receipt else ""
    words = [*([result.reason] if result.reason else []), *result.flags, *result.annotations]
    return ", ".join(dict.fromkeys(word for word in words if word != result.outcome))


def _fit(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
    font = _font(14)
    while text and pen.textlength(text, font=font) > _TILE - 16:
        text = text[:-2].rstrip(" .…") + "…"
    pen.text(place, text, fill=colour, font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _master(account: Account, masters: Path) -> Image.Image | None:
    """Return the master image the ledger names, where there is one."""
    # only needed for DICOM files of the user's own
    from imaging.master import load_master  # noqa: PLC0415

    digest = account.receipt.master_digest if account.receipt else None
    if digest is None:
        return None
    try:
        values = load_master(masters, digest)
    except (LungwatchError, OSError):
        return None
    return Image.fromarray((values >> 8).astype(np.uint8))
