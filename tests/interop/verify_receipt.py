#!/usr/bin/env python3
"""Checks a receipt of an erasure, from the published texts alone: c2sp.org/tlog-proof, c2sp.org/tlog-checkpoint,
c2sp.org/signed-note, RFC 6962, and the layout of the entry in Oubliette's manual. It shares no code with Oubliette.

usage: verify_receipt.py RECEIPT KEY [CUSTOMER OPENING [RECORD [REVISION]]]

KEY is a verifier's key, `name+id+key`. RECORD is the id of the record that was erased, REVISION the number of its revision. Prints the statement as JSON; exits with 1 and a reason on standard error if anything is wrong.
"""

import base64
import binascii
import hashlib
import json
import struct
import sys
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    pass


def unbase64(text):
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Refused(f"not base64: {error}") from error
    if base64.b64encode(decoded).decode() != text:
        raise Refused("not the one way to write this in base64")
    return decoded


def decimal(text):
    if not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise Refused(f"not a decimal number: {text!r}")
    return int(text)


def verifier(text):
    name, key_id, encoded = text.split("+", 2)
    typed = unbase64(encoded)
    expected = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    if typed[0] != 1 or len(typed) != 33 or expected.hex() != key_id:
        raise Refused("not an Ed25519 verifier key")
    return name, expected, Ed25519PublicKey.from_public_bytes(typed[1:])


def checkpoint(note, key):
    name, key_id, public = key
    text, separator, signatures = note.partition("\n\n")
    text += "\n"
    if not separator or not signatures.endswith("\n"):
        raise Refused("not a signed note")
    signed = False
    for line in signatures[:-1].split("\n"):
        if not line.startswith("\u2014 "):
            raise Refused("not a signature line")
        signer, _, blob = line[2:].partition(" ")
        blob = unbase64(blob)
        if signer == name and blob[:4] == key_id:
            try:
                public.verify(blob[4:], text.encode())
            except InvalidSignature as error:
                raise Refused("the signature does not verify") from error
            signed = True
    lines = text.split("\n")
    if not signed or lines[0] != name or len(lines) != 4:
        raise Refused("not signed by the log's key")
    return decimal(lines[1]), unbase64(lines[2])


def root_of(leaf, index, size, hashes):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise Refused("the index is behind the end of the log")
    fn, sn, node = index, size - 1, leaf
    for sibling in hashes:
        if sn == 0:
            raise Refused("the proof is too long")
        if fn & 1 or fn == sn:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        fn >>= 1
        sn >>= 1
    if sn != 0:
        raise Refused("the proof is too short")
    return node


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, count):
        if count > len(self.data):
            raise Refused("the entry ends too early")
        head, self.data = self.data[:count], self.data[count:]
        return head

    def number(self, bytes_):
        return int.from_bytes(self.take(bytes_), "big")

    def option(self, read):
        flag = self.number(1)
        if flag > 1:
            raise Refused("not an option")
        return read() if flag else None


def statement(entry):
    r = Reader(entry)
    if r.number(1) != 1:
        raise Refused("an entry of another version")
    stated = {"entered_ms": r.number(8), "tenant": r.take(16).hex()}
    if r.option(lambda: r.take(32)) is not None or r.number(1) != 6:
        raise Refused("not the entry of an erasure")
    stated["receipt"] = r.take(16).hex()
    stated["subject"] = {1: "customer", 2: "record", 3: "tenant", 4: "revision"}[r.number(1)]
    stated["commitment"] = r.take(32).hex()
    stated["epoch"] = r.number(8)
    stated["requested_by"] = r.take(16).hex()
    stated["approved_by"] = r.option(lambda: r.take(16).hex())
    stated["provider"] = r.take(r.number(4)).decode()
    stated["medium"] = {1: "file", 2: "hsm"}[r.number(1)]
    stated["shares_device"] = {0: False, 1: True}[r.number(1)]
    stated["lost_replicas"] = r.number(4)
    stated["final_ms"] = r.number(8)
    stated["kept_under"] = [r.number(1) for _ in range(r.number(4))]
    if r.data:
        raise Refused("the entry runs on")
    return stated


def commitment(customer, opening, record=None, revision=None):
    customer = customer.encode()
    committed = struct.pack(">I", len(customer)) + customer
    if record is not None:
        committed += uuid.UUID(record).bytes
    if revision is not None:
        committed += struct.pack(">I", decimal(revision))
    return hashlib.sha256(b"oubliette erasure commitment v1\n" + bytes.fromhex(opening) + committed).hexdigest()


def verify(receipt, key, customer=None, opening=None, record=None, revision=None):
    head, separator, note = receipt.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(lines) < 3 or lines[0] != "c2sp.org/tlog-proof@v1":
        raise Refused("not a tlog-proof")
    if not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise Refused("not a tlog-proof with its entry")
    entry, index = unbase64(lines[1][6:]), decimal(lines[2][6:])
    size, root = checkpoint(note, verifier(key))
    leaf = hashlib.sha256(b"\x00" + entry).digest()
    if root_of(leaf, index, size, [unbase64(line) for line in lines[3:]]) != root:
        raise Refused("the entry is not in the log")
    stated = statement(entry)
    if customer is not None and commitment(customer, opening, record, revision) != stated["commitment"]:
        raise Refused("about somebody else")
    return {**stated, "log_index": index, "log_size": size}


def main():
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        receipt = file.read()
    try:
        print(json.dumps(verify(receipt, *sys.argv[2:])))
    except (Refused, KeyError, ValueError) as refused:
        sys.exit(f"refused: {refused!r}")


if __name__ == "__main__":
    main()
