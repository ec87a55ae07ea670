"""Chakra files of a few operators, written field by field."""

import json

ATTRIBUTE_FIELDS = {int: 9, bool: 27, str: 29}
JSON_FIELDS = {int: "int64Val", bool: "boolVal", str: "stringVal"}
COMPUTES, GATHERS = 4, 7


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def attribute(name, value):
    return field(1, name) + field(ATTRIBUTE_FIELDS[type(value)], value)


def framed(message):
    return varint(len(message)) + message


def chakra(nodes):
    """Write a ``.et`` file of (rf_id, name, inputs, outputs, schema, is_cpu_op)."""
    parts = [framed(field(1, "0.0.4") + field(2, attribute("schema", "1.1.0")))]
    for number, name, inputs, outputs, schema, on_host in nodes:
        facts = {"rf_id": number, "op_schema": schema, "is_cpu_op": on_host}
        sides = (field(8, field(1, str(inputs))), field(9, field(1, str(outputs))))
        parts.append(framed(
            field(1, number + 2) + field(2, name) + field(3, COMPUTES)
            + field(5, varint(1) + varint(number)) + field(7, 3) + b"".join(sides)
            + b"".join(field(10, attribute(*fact)) for fact in facts.items())
        ))  # fmt: skip
    return b"".join(parts)


def jsonized(nodes):
    """Write what Chakra's jsonizer makes of the same."""
    parts: list[dict[str, object]] = [{"version": "0.0.4"}]
    for number, name, inputs, outputs, schema, on_host in nodes:
        facts = {"rf_id": number, "op_schema": schema, "is_cpu_op": on_host}
        attributes = [
            {"name": key, JSON_FIELDS[type(v)]: str(v) if type(v) is int else v}
            for key, v in facts.items()
        ]
        parts.append({
            "id": str(number + 2), "name": name, "type": "COMP_NODE", "dataDeps": ["1"],
            "inputs": {"values": str(inputs)}, "outputs": {"values": str(outputs)}, "attr": attributes,
        })  # fmt: skip
    return "".join(json.dumps(part, indent=2) for part in parts).encode()
