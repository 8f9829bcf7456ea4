from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as read_with_pydicom
from pynetdicom.dsutils import encode as write_with_pydicom

from dicom_listener.association import commands
from dicom_listener.association.commands import BadCommand, Command, decode, encode_response
from dicom_listener.status import ActionStatus, StoreStatus

CR = "1.2.840.10008.5.1.4.1.1.1"
STORE = Command(commands.C_STORE_RQ, 7, CR, "1.2.3", None, has_data_set=True)


def encoded(**elements: object) -> bytes:
    command = Dataset()
    for keyword, value in elements.items():
        setattr(command, keyword, value)
    return bytes(write_with_pydicom(command, True, True) or b"")


def request(**changes: object) -> bytes:
    elements: dict[str, object] = {
        "AffectedSOPClassUID": CR,
        "CommandField": 1,
        "MessageID": 7,
        "Priority": 0,
        "CommandDataSetType": 1,
        "AffectedSOPInstanceUID": "1.2.3",
    }
    return encoded(**{name: value for name, value in (elements | changes).items() if value is not None})


def test_a_store_request() -> None:
    assert decode(request()) == STORE


def test_an_action_names_what_it_is_about_otherwise() -> None:
    found = decode(
        encoded(
            RequestedSOPClassUID="1.2.840.10008.1.20.1",
            CommandField=0x0130,
            MessageID=1,
            CommandDataSetType=1,
            RequestedSOPInstanceUID="1.2.840.10008.1.20.1.1",
            ActionTypeID=1,
        )
    )
    assert (found.sop_class_uid, found.sop_instance_uid, found.action_type) == (
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.1.20.1.1",
        1,
    )


def test_an_echo_has_no_data_set() -> None:
    assert not decode(request(CommandField=0x30, CommandDataSetType=0x0101)).has_data_set


def test_a_uid_longer_than_a_uid_can_be_is_none() -> None:
    long = b"1." * 40
    raw = request(AffectedSOPInstanceUID=None) + struct.pack("<HHL", 0, 0x1000, len(long)) + long
    assert decode(raw).sop_instance_uid is None


def test_a_cancel_needs_no_message_id() -> None:
    assert decode(request(CommandField=0x0FFF, MessageID=None)).field == commands.C_CANCEL_RQ


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 7,
        request()[:-3],
        request(CommandField=None),
        request(MessageID=None),
        request(CommandDataSetType=None),
        request(CommandField=0x8001),
        b"\x08\0\x16\0\x02\0\0\x001." + request(),
        struct.pack("<HHL", 0, 0x0100, 4) + b"\1\0\0\0" + request(),
        struct.pack("<HHL", 0, 0x0100, 0xFFFFFFFF) + request(),
    ],
    ids=["empty", "short", "cut", "no field", "no id", "no type", "response", "other group", "wide number", "4 GiB"],
)
def test_what_is_no_request(raw: bytes) -> None:
    with pytest.raises(BadCommand):
        decode(raw)


def test_a_request_of_more_elements_than_there_are_is_none() -> None:
    """Thousands fit into a command set; going through them would cost us more than its sender."""
    # less its own
    room = commands.MOST_ELEMENTS - 6
    padding = b"".join(struct.pack("<HHL", 0, 0x2000 + number, 0) for number in range(room))
    assert decode(request() + padding) == STORE
    with pytest.raises(BadCommand):
        decode(request() + padding + struct.pack("<HHL", 0, 0x5000, 0))


def test_an_element_occurs_once() -> None:
    with pytest.raises(BadCommand):
        decode(request() + struct.pack("<HHLH", 0, 0x0110, 2, 8))


@given(st.binary(max_size=300))
def test_anything_is_a_command_or_refused(raw: bytes) -> None:
    try:
        decode(raw)
    except BadCommand:
        return


def test_a_response_is_what_pydicom_reads() -> None:
    answer = StoreStatus.MISMATCH.answer
    found = read_with_pydicom(BytesIO(encode_response(STORE, answer)), True, True)
    assert found.CommandGroupLength == len(encode_response(STORE, answer)) - 12
    assert (found.CommandField, found.MessageIDBeingRespondedTo, found.CommandDataSetType) == (0x8001, 7, 0x0101)
    assert (found.Status, found.ErrorComment) == (0xA900, answer.comment)
    assert (found.AffectedSOPClassUID, found.AffectedSOPInstanceUID) == (CR, "1.2.3")
    assert [element.tag for element in found] == sorted(element.tag for element in found)


def test_success_has_no_comment() -> None:
    found = read_with_pydicom(BytesIO(encode_response(STORE, StoreStatus.STORED.answer)), True, True)
    assert "ErrorComment" not in found


def test_what_is_no_uid_is_not_sent_back() -> None:
    forged = Command(commands.C_STORE_RQ, 7, CR, "../../x", None, has_data_set=True)
    assert b"../" not in encode_response(forged, StoreStatus.BAD_INSTANCE_UID.answer)


def test_the_response_to_an_action_names_it() -> None:
    action = Command(commands.N_ACTION_RQ, 3, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1", 1, has_data_set=True)
    found = read_with_pydicom(BytesIO(encode_response(action, ActionStatus.TAKEN.answer)), True, True)
    assert (found.CommandField, found.ActionTypeID) == (0x8130, 1)
