"""Mutations of a session's parts: the A-ASSOCIATE-RQ, command sets, data sets."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.fuzz.drafts import Draft, Message, instance_uid, us
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, UNDEFINED, element
from tests.peers.data_sets import item as data_item
from tests.peers.malformed import BEFORE_ASSOCIATION, PECULIAR_REQUESTS
from tests.peers.raw import Context, item

# text that must not be quoted, must not forge a line, must not name a file
HOSTILE_TEXT = (
    b"Canary\n{}",
    b"\x1b[2JCanary",
    b"Canary\0\r\n",
    b"../../../../Canary",
    b"/etc/Canary",
    b"Canary%s%n\\",
    b"\xff\xfeCanary",
    "Canary\u202e\u00e9".encode(),
    b'{"event":"Canary"}',
    b"",
    b" ",
    b"Canary" * 300,
)
_UIDS = (b"1", b"1.", b".1", b"1..2", b"1.2.3.4", b"0.0", b"1." * 31 + b"12", b"1." * 32 + b"1", *HOSTILE_TEXT)
_NUMBERS = (0, 1, 2, 3, 0x20, 0x21, 0x30, 0x100, 0x110, 0x130, 0x140, 0x150, 0xFFF, 0x8001, 0x8030, 0x8130, 0xFFFF)


def _a_message(chance: random.Random, draft: Draft) -> Message | None:
    return chance.choice(draft.messages) if draft.messages else None


def _with_data(chance: random.Random, draft: Draft) -> Message | None:
    having = [message for message in draft.messages if message.data]
    return chance.choice(having) if having else None


def _even(content: bytes) -> bytes:
    return content + b"\0" * (len(content) % 2)


# the A-ASSOCIATE-RQ


def calling_title(chance: random.Random, draft: Draft) -> None:
    # one without "Canary": a printable AE title is told in the log, as it should be
    draft.calling = chance.choice([b"\n{}", b"\x1b[2J", b"A\0B\r\n", b"", b" " * 16, b"\xff" * 16, b"../..", b"a\\b"])[
        :16
    ]


def called_title(chance: random.Random, draft: Draft) -> None:
    draft.called = chance.choice(HOSTILE_TEXT)[:16]


def protocol_version(chance: random.Random, draft: Draft) -> None:
    draft.version = chance.randrange(1 << 16)


def application_context(chance: random.Random, draft: Draft) -> None:
    draft.application = chance.choice(_UIDS)


def peculiar_request(chance: random.Random, draft: Draft) -> None:
    draft.request = chance.choice([*PECULIAR_REQUESTS.values(), *BEFORE_ASSOCIATION.values()])


def another_address(chance: random.Random, draft: Draft) -> None:
    draft.source = f"127.0.0.{chance.randrange(2, 8)}"


def user_item_added(chance: random.Random, draft: Draft) -> None:
    content = chance.randbytes(chance.choice([0, 1, 3, 4, 30, 2000]))
    kind = chance.choice([0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, chance.randrange(256)])
    draft.user.insert(chance.randint(0, len(draft.user)), item(kind, content))


def user_item_lies(chance: random.Random, draft: Draft) -> None:
    draft.user.append(item(chance.choice([0x51, 0x54, 0x58]), bytes(8), length=chance.choice([0, 1, 7, 9, 0xFFFF])))


def user_item_left_out(chance: random.Random, draft: Draft) -> None:
    draft.user.pop(chance.randrange(len(draft.user)))


def roles_and_identity(chance: random.Random, draft: Draft) -> None:
    uid = chance.choice([context.abstract.encode() for context in draft.contexts] + [b"1.2.3"])
    role = struct.pack(">H", len(uid)) + uid + bytes([chance.randrange(3), chance.randrange(3)])
    identity = bytes([chance.randrange(7), chance.randrange(3)]) + struct.pack(">H", 6) + b"Canary" + b"\0\0"
    draft.user += [item(0x54, role) * chance.choice([1, 2, 200]), item(0x58, identity)]


def maximum_length(chance: random.Random, draft: Draft) -> None:
    draft.user[0] = item(0x51, struct.pack(">L", chance.choice([1, 2, 6, 7, 8, 11, 13, 0x7FFFFFFF])))


def items_after(chance: random.Random, draft: Draft) -> None:
    draft.extra = item(chance.randrange(256), chance.randbytes(chance.choice([0, 4, 500]))) * chance.choice([1, 20])


def many_contexts(chance: random.Random, draft: Draft) -> None:
    more = chance.choice([20, 126, 127, 128, 300])
    draft.contexts += [Context(CR_STORAGE, [EXPLICIT], number=chance.randrange(256)) for _ in range(more)]


def context_changed(chance: random.Random, draft: Draft) -> None:
    place = chance.randrange(len(draft.contexts))
    was = draft.contexts[place]
    draft.contexts[place] = chance.choice(
        [
            Context(was.abstract, []),
            Context(was.abstract, ["1.2.840.10008.1.2.1.99"]),
            Context(was.abstract, ["1.2.840.10008.1.2.2"]),
            Context(was.abstract, ["Canary\n", *was.transfer]),
            Context(was.abstract, [*["1.2.3.4"] * 500, *was.transfer]),
            Context("Canary\n" * 9, was.transfer),
            Context("1.2.840.10008.5.1.4.1.2.2.1", was.transfer),
            Context("1.2.840.10008.5.1.4.1.1.104.1", was.transfer),
            Context(was.abstract, was.transfer, number=chance.randrange(256)),
        ]
    )


# command sets


def element_left_out(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        message.elements.pop(chance.randrange(len(message.elements)))


def element_doubled(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        number, content = chance.choice(message.elements)
        other = chance.choice([content, _even(chance.randbytes(len(content))), us(chance.choice(_NUMBERS))])
        message.elements.insert(chance.randint(0, len(message.elements)), (number, other))


def element_huge(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        number = chance.choice([chance.choice(message.elements)[0], 0x0902, 0x0600, 0x1031])
        size = chance.choice([64, 66, 1000, 10_000, 16_400, 70_000])
        message.elements = [one for one in message.elements if one[0] != number] + [(number, b"Canary"[:1] * size)]


def element_value(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        place = chance.randrange(len(message.elements))
        content = chance.choice([b"", b"\0", b"\0\0\0", us(chance.choice(_NUMBERS)), chance.randbytes(4)])
        message.elements[place] = (message.elements[place][0], content)


def element_number(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        place = chance.randrange(len(message.elements))
        message.elements[place] = (chance.randrange(1 << 16), message.elements[place][1])


def elements_shuffled(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        chance.shuffle(message.elements)


def group_length(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        message.group_length = chance.choice([0, 1, 2, 0xFFFF, 0xFFFFFFFF])


def _set(message: Message, number: int, content: bytes) -> None:
    message.elements = [(one, content if one == number else was) for one, was in message.elements]


def command_field(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        _set(message, 0x0100, us(chance.choice([*_NUMBERS, chance.randrange(1 << 16)])))


def instance_in_command(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        for number in (0x1000, 0x1001):
            _set(message, number, _even(chance.choice(_UIDS)))


def class_in_command(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        for number in (0x0002, 0x0003):
            _set(message, number, _even(chance.choice([*_UIDS, b"1.2.840.10008.5.1.4.1.1.2"])))


def action_type(chance: random.Random, draft: Draft) -> None:
    for message in draft.messages:
        _set(message, 0x1008, us(chance.choice([0, 2, 0xFFFF])))


def data_set_type(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        _set(message, 0x0800, us(1 if message.data is None else 0x0101))


def message_on_another_context(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        message.context = chance.choice([chance.randrange(256), 2 * chance.randrange(len(draft.contexts)) + 1])


def message_repeated(chance: random.Random, draft: Draft) -> None:
    if message := _a_message(chance, draft):
        draft.messages += [message] * chance.choice([1, 1, 5])


# data sets


def data_cut(chance: random.Random, draft: Draft) -> None:
    if (message := _with_data(chance, draft)) and message.data:
        message.data = message.data[: chance.randrange(len(message.data))]


def data_left_out(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        message.data = chance.choice([b"", b"\0", bytes(7), bytes(100)])


def data_extended(chance: random.Random, draft: Draft) -> None:
    if (message := _with_data(chance, draft)) and message.data:
        message.data += chance.choice([bytes(1), bytes(7), bytes(100), chance.randbytes(50), message.data])


def data_bits(chance: random.Random, draft: Draft) -> None:
    if (message := _with_data(chance, draft)) and message.data:
        changed = bytearray(message.data)
        for _ in range(chance.choice([1, 2, 10])):
            # most bits lie in pixels, where they change nothing
            place = chance.randrange(min(len(changed), chance.choice([50, 300, len(changed)])))
            changed[place] ^= 1 << chance.randrange(8)
        message.data = bytes(changed)


def data_garbage(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        message.data = chance.choice([chance.randbytes(500), b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", b"Canary" * 50])


def _insert(chance: random.Random, message: Message, content: bytes) -> None:
    data = message.data or b""
    # after (0008,0005), before whatever follows; or anywhere
    place = chance.choice([18, 18, chance.randrange(len(data) + 1)])
    message.data = data[:place] + content + data[place:]


def nested_deep(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        level = element(0x00081140, "SQ", data_item(b"", length=UNDEFINED), length=UNDEFINED)
        _insert(chance, message, level * chance.choice([5, 63, 64, 65, 500, 5000]))


def element_lies(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        length = chance.choice([1, 3, 0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFE, UNDEFINED])
        _insert(chance, message, element(0x00091001, chance.choice(["OB", "UN", "SQ", "UT"]), b"Canary", length=length))


def hostile_text(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        text = chance.choice(HOSTILE_TEXT)
        tag = chance.choice([0x00080016, 0x00080018, 0x00080005, 0x00100010, 0x00080050])
        _insert(chance, message, element(tag, "UI" if tag in {0x00080016, 0x00080018} else "LO", text))


def stray_delimiter(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        number = chance.choice([0xE000, 0xE00D, 0xE0DD])
        _insert(chance, message, struct.pack("<HHL", 0xFFFE, number, chance.choice([0, 0, 8, UNDEFINED])))


def many_elements(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        _insert(chance, message, element(0x00091001, "LO", b"") * chance.choice([1000, 30_000, 100_000]))


def another_instance(chance: random.Random, draft: Draft) -> None:
    if (message := _with_data(chance, draft)) and message.data:
        was = instance_uid("").encode()
        message.data = message.data.replace(was, was[:-2] + b"8.", 1)


def too_long(chance: random.Random, draft: Draft) -> None:
    if message := _with_data(chance, draft):
        filling = bytes(chance.choice([900_000, 1_048_576, 1_200_000]))
        _insert(chance, message, element(0x00091001, "OB", filling))
        message.data_size = 100_000


ALL: dict[str, Callable[[random.Random, Draft], None]] = {
    one.__name__: one
    for one in (
        calling_title,
        called_title,
        protocol_version,
        application_context,
        peculiar_request,
        another_address,
        user_item_added,
        user_item_lies,
        user_item_left_out,
        roles_and_identity,
        maximum_length,
        items_after,
        many_contexts,
        context_changed,
        element_left_out,
        element_doubled,
        element_huge,
        element_value,
        element_number,
        elements_shuffled,
        group_length,
        command_field,
        instance_in_command,
        class_in_command,
        action_type,
        data_set_type,
        message_on_another_context,
        message_repeated,
        data_cut,
        data_left_out,
        data_extended,
        data_bits,
        data_garbage,
        nested_deep,
        element_lies,
        hostile_text,
        stray_delimiter,
        many_elements,
        another_instance,
        too_long,
    )
}
