from __future__ import annotations

import random
import struct
from io import BytesIO

import pytest
from pydicom import dcmread
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF

from bench import encoding
from bench.encoding import Sample
from bench.samples import sample

CHANCE = random.Random(1)


@pytest.fixture(scope="module")
def small() -> Sample:
    return sample(1)


def pdus(content: bytes) -> list[bytes]:
    found = []
    while content:
        length = 6 + encoding.parse_header(content[:6])[1]
        found.append(content[:length])
        content = content[length:]
    return found


@pytest.mark.parametrize("maximum_length", [4096, 16382, 16384, encoding.LARGEST_PDU])
def test_another_implementation_reads_the_patched_message(small: Sample, maximum_length: int) -> None:
    message = encoding.encode(small, maximum_length)
    head = bytearray(message.head)
    uid = encoding.new_uid(CHANCE)
    encoding.patch(head, message.places, uid)

    read = C_STORE_RQ()
    complete = []
    for content in pdus(bytes(head) + message.tail):
        assert len(content) - 6 <= maximum_length
        one = P_DATA_TF()
        one.decode(content)
        complete.append(read.decode_msg(one.to_primitive()))
    primitive = read.message_to_primitive()

    assert complete == [False] * (len(complete) - 1) + [True]
    assert primitive.AffectedSOPInstanceUID == uid
    assert primitive.AffectedSOPClassUID == small.sop_class_uid
    data_set = dcmread(BytesIO(primitive.DataSet.getvalue()), force=True)
    assert (data_set.SOPInstanceUID, data_set.SOPClassUID) == (uid, small.sop_class_uid)
    assert len(data_set.PixelData) == 2 * data_set.Rows * data_set.Columns == 1_000_000
    assert len(primitive.DataSet.getvalue()) == len(small.data_set)


def test_only_the_uid_differs_after_patching(small: Sample) -> None:
    message = encoding.encode(small, 16384)
    head = bytearray(message.head)
    encoding.patch(head, message.places, encoding.new_uid(CHANCE))
    encoding.patch(head, message.places, small.sop_instance_uid)
    assert head == message.head


def test_uids_are_valid_different_and_fit_each_others_place() -> None:
    uids = {encoding.new_uid(CHANCE) for _ in range(1000)}
    assert len(uids) == 1000
    assert {len(uid) for uid in uids} == {44}
    assert all(int(uid.removeprefix("2.25.")) < 2**128 for uid in uids)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_uid_that_does_not_stand_twice_is_told(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} times"):
        encoding.find_uid(b"..".join([b"2.25.1"] * count), "2.25.1")


def test_the_association_request_is_read_by_another_implementation(small: Sample) -> None:
    request = A_ASSOCIATE_RQ()
    request.decode(encoding.associate_request(small.sop_class_uid, called="LUNGWATCH", calling="BENCH"))
    assert (request.called_ae_title, request.calling_ae_title) == ("LUNGWATCH", "BENCH")
    (context,) = request.presentation_context
    assert (context.context_id, context.abstract_syntax) == (encoding.CONTEXT_ID, small.sop_class_uid)
    assert request.user_information is not None
    assert request.user_information.maximum_length == encoding.LARGEST_PDU


def acceptance(result: int, maximum_length: int) -> bytes:
    request = A_ASSOCIATE_RQ()
    request.decode(encoding.associate_request("1.2.840.10008.1.1", called="A", calling="B"))
    primitive = request.to_primitive()
    primitive.result = 0
    (context,) = primitive.presentation_context_definition_list
    context.result = result
    primitive.presentation_context_definition_results_list = [context]
    primitive.user_information[0].maximum_length_received = maximum_length
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    return bytes(answer.encode())[6:]


@pytest.mark.parametrize(
    ("maximum_length", "used"), [(16382, 16382), (0, encoding.LARGEST_PDU), (1 << 20, encoding.LARGEST_PDU)]
)
def test_the_longest_pdu_is_the_receivers_or_ours(maximum_length: int, used: int) -> None:
    read = encoding.parse_acceptance(acceptance(0, maximum_length))
    assert (read.accepted, read.maximum_length) == (True, used)


def test_a_refused_context_is_seen() -> None:
    assert not encoding.parse_acceptance(acceptance(3, 0)).accepted


@pytest.mark.parametrize("status", [0x0000, 0xA700, 0xC211])
def test_a_status_is_found_wherever_it_stands(status: int) -> None:
    elements = {0x0002: b"1.2.3\0", 0x0100: b"\x01\x80", 0x0900: struct.pack("<H", status), 0x1000: b"1.2"}
    (content,) = encoding.fragments(encoding.command_set(elements), 16384, command=True)
    assert encoding.parse_status(content[6:]) == status


def test_a_response_without_status_has_none() -> None:
    (content,) = encoding.fragments(encoding.command_set({0x0100: b"\x01\x80"}), 16384, command=True)
    assert encoding.parse_status(content[6:]) is None
