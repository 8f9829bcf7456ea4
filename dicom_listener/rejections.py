"""Why we reject an association: every A-ASSOCIATE-RJ this product sends, in one table.

Logs, metrics and the conformance statement call them by the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

PERMANENT: Final = 1
TRANSIENT: Final = 2
SERVICE_USER: Final = 1
PROVIDER_ACSE: Final = 2
PROVIDER_PRESENTATION: Final = 3

RESULTS: Final = {PERMANENT: "rejected-permanent", TRANSIENT: "rejected-transient"}
SOURCES: Final = {
    SERVICE_USER: "DICOM UL service-user",
    PROVIDER_ACSE: "DICOM UL service-provider (ACSE related function)",
    PROVIDER_PRESENTATION: "DICOM UL service-provider (presentation related function)",
}
# by source; PS3.8 reserves all others
REASONS: Final = {
    (SERVICE_USER, 1): "no-reason-given",
    (SERVICE_USER, 2): "application-context-name-not-supported",
    (SERVICE_USER, 3): "calling-AE-title-not-recognized",
    (SERVICE_USER, 7): "called-AE-title-not-recognized",
    (PROVIDER_ACSE, 1): "no-reason-given",
    (PROVIDER_ACSE, 2): "protocol-version-not-supported",
    (PROVIDER_PRESENTATION, 1): "temporary-congestion",
    (PROVIDER_PRESENTATION, 2): "local-limit-exceeded",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an A-ASSOCIATE-RJ says, and when we say it.

    Attributes
    ----------
    result, source, reason : int
        The fields of the PDU.
    when : str
        The occasion, for a person; free of received text.
    """

    result: int
    source: int
    reason: int
    when: str


class Rejection(Enum):
    """The reasons for which an association is rejected.

    A permanent one says that asking again is of no use until somebody changes
    something, here or there; a transient one, that asking again may succeed.

    An association of which no presentation context can be accepted is no
    member: it is accepted with each of its contexts rejected (PS3.8 9.3.3.2).

    References
    ----------
    DICOM PS3.8 9.3.4, Table 9-21.
    """

    APPLICATION_CONTEXT = Refusal(
        PERMANENT, SERVICE_USER, 2, "The application context is not DICOM's (1.2.840.10008.3.1.1.1)"
    )
    CALLING_AE_TITLE = Refusal(
        PERMANENT, SERVICE_USER, 3, "No entry of the peers file binds this calling AE title to this address"
    )
    CERTIFICATE = Refusal(
        PERMANENT, SERVICE_USER, 3, "The peer's entry names a client certificate, and this is another one or none"
    )
    CALLED_AE_TITLE = Refusal(PERMANENT, SERVICE_USER, 7, "The called AE title is not ours")
    PROTOCOL_VERSION = Refusal(PERMANENT, PROVIDER_ACSE, 2, "Bit 0 of the protocol version is not set")
    NO_SPACE = Refusal(TRANSIENT, PROVIDER_PRESENTATION, 1, "Free disk space is below the lower mark")
    DRAINING = Refusal(TRANSIENT, PROVIDER_PRESENTATION, 1, "The listener is stopping")
    LIMIT = Refusal(
        TRANSIENT, PROVIDER_PRESENTATION, 2, "As many associations are served as may be, or as unknown peers may hold"
    )
    PEER_LIMIT = Refusal(TRANSIENT, PROVIDER_PRESENTATION, 2, "This peer holds as many associations as one may")

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Return result, source and reason/diag., as the PDU has them."""
        return self.value.result, self.value.source, self.value.reason

    @property
    def words(self) -> str:
        """Return what the three numbers mean by the standard."""
        return in_words(*self.numbers)


def in_words(result: int, source: int, reason: int) -> str:
    """Say what the numbers of an A-ASSOCIATE-RJ mean, whoever sent it.

    Parameters
    ----------
    result, source, reason : int
        As received; numbers the standard reserves are shown as such.

    Returns
    -------
    str
        For instance ``rejected-permanent by the DICOM UL service-user: called-AE-title-not-recognized (1/1/7)``.
    """
    by = SOURCES.get(source, "unknown source")
    why = REASONS.get((source, reason), "a reason the standard reserves")
    return f"{RESULTS.get(result, 'rejected')} by the {by}: {why} ({result}/{source}/{reason})"
