#!/usr/bin/env python3
"""Checks a whole copy of a log, from the published texts alone: c2sp.org/tlog-tiles, c2sp.org/tlog-checkpoint,
c2sp.org/signed-note, c2sp.org/tlog-cosignature, RFC 6962 and RFC 9162. It shares no code with Oubliette, and does not
read what the entries say.

usage: verify_log.py DIRECTORY --key KEY ... [--witness KEY ...] [--earlier NOTE ...]
                     [--inclusion FILE ...] [--consistency FILE ...]

DIRECTORY has `checkpoint`, `tile/...` and `tile/entries/...`. A KEY is a verifier's key, `name+id+key`. The log must
continue each checkpoint NOTE that was kept from before. A proof of inclusion is a c2sp.org/tlog-proof, or JSON with
"index", "size" and "hashes"; one of consistency is a request to a witness (c2sp.org/tlog-witness), or JSON with
"earlier", "size" and "hashes"; hashes are in base64. Prints what was found as JSON; exits with 1 and a reason on
standard error if anything is wrong.
"""

import argparse
import base64
import binascii
import hashlib
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PLAIN, TIMED = 1, 4
WIDTH, HASH, MOST_SIGNATURES = 256, 32, 64


class Refused(Exception):
    pass


def unbase64(text, length=None):
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"not base64: {error}") from error
    if base64.b64encode(decoded).decode() != text:
        raise Refused("not the one way to write this in base64")
    if length is not None and len(decoded) != length:
        raise Refused(f"{len(decoded)} bytes where {length} are expected")
    return decoded


def decimal(text):
    if not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise Refused(f"not a decimal number: {text!r}")
    return int(text)


def whole(value):
    if type(value) is not int or value < 0:
        raise Refused(f"not a whole number: {value!r}")
    return value


# --- Signed notes and checkpoints -------------------------------------------------------------------------------------


def is_name(text):
    return text != "" and "+" not in text and not any(c.isspace() or ord(c) < 0x20 for c in text)


def verifier(text, of_type):
    """c2sp.org/signed-note, "Verifier keys"."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not is_name(parts[0]):
        raise Refused(f"not a verifier's key: {text!r}")
    typed = unbase64(parts[2], 1 + 32)
    key_id = hashlib.sha256(parts[0].encode() + b"\n" + typed).digest()[:4]
    if typed[0] != of_type or key_id.hex() != parts[1]:
        raise Refused(f"not an Ed25519 verifier's key of type {of_type}: {text!r}")
    return parts[0], key_id, Ed25519PublicKey.from_public_bytes(typed[1:])


class Note:
    """c2sp.org/signed-note, with the text of c2sp.org/tlog-checkpoint."""

    def __init__(self, text):
        self.body, separator, signatures = text.rpartition("\n\n")
        self.body += "\n"
        if not separator or not signatures.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in text):
            raise Refused("not a signed note")
        lines = self.body[:-1].split("\n")
        if len(lines) < 3 or "" in lines:
            raise Refused("not a checkpoint")
        self.origin, self.size, self.root = lines[0], decimal(lines[1]), unbase64(lines[2], HASH)
        lines = signatures[:-1].split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise Refused("too many signatures")
        self.signatures = [self.signature(line) for line in lines]

    @staticmethod
    def signature(line):
        name, separator, blob = line.removeprefix("\u2014 ").partition(" ")
        blob = unbase64(blob)
        if not line.startswith("\u2014 ") or not separator or not is_name(name) or len(blob) < 5:
            raise Refused(f"not a signature line: {line!r}")
        return name, blob[:4], blob[4:]

    def by(self, name, key_id):
        return [blob for signer, found, blob in self.signatures if (signer, found) == (name, key_id)]

    def check_log(self, keys):
        signed = False
        for name, key_id, public in keys:
            for blob in self.by(name, key_id) if name == self.origin else []:
                signed = verified(public, blob, self.body.encode())
        if not signed:
            raise Refused("none of the given keys has signed the checkpoint")
        return self

    def times(self, name, key_id, public):
        """c2sp.org/tlog-cosignature, "Ed25519 signed message": the times at which a witness cosigned."""
        times = []
        for blob in self.by(name, key_id):
            time = int.from_bytes(blob[:8], "big")
            if len(blob) != 8 + 64 or time >= 1 << 63:
                raise Refused("not a cosignature")
            verified(public, blob[8:], f"cosignature/v1\ntime {time}\n{self.body}".encode())
            times.append(time)
        return times


def verified(public, signature, message):
    try:
        public.verify(signature, message)
    except InvalidSignature as error:
        raise Refused("a signature of a known key does not verify") from error
    return True


# --- The tree (RFC 6962, section 2.1; RFC 9162, sections 2.1.3.2 and 2.1.4.2) -----------------------------------------


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes, begin=0, end=None):
    """The root over hashes[begin:end]."""
    end = len(hashes) if end is None else end
    count = end - begin
    if count == 0:
        return hashlib.sha256(b"").digest()
    if count == 1:
        return hashes[begin]
    middle = begin + (1 << ((count - 1).bit_length() - 1))
    return node_hash(tree_hash(hashes, begin, middle), tree_hash(hashes, middle, end))


def check_inclusion(leaf, index, size, hashes, root):
    if index >= size:
        raise Refused("the index is behind the end of the log")
    fn, sn, node = index, size - 1, leaf
    for sibling in hashes:
        if sn == 0:
            raise Refused("the proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or node != root:
        raise Refused("the proof of inclusion does not lead to the root")


def check_consistency(first, first_root, second, second_root, hashes):
    if first > second:
        raise Refused("a log does not continue a larger one")
    if first == second or first == 0:
        is_empty = first_root == tree_hash([]) if first == 0 else True
        if hashes or not is_empty or (first == second and first_root != second_root):
            raise Refused("there is nothing to prove, and something is given, or the roots differ")
        return
    path = [first_root] * (first & (first - 1) == 0) + hashes
    if not path:
        raise Refused("the proof of consistency is empty")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            raise Refused("the proof of consistency is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or (fr, sr) != (first_root, second_root):
        raise Refused("the proof of consistency does not lead to both roots")


# --- The copy (c2sp.org/tlog-tiles) -----------------------------------------------------------------------------------


def tile_path(level, index, width):
    groups, index = [f"{index % 1000:03}"], index // 1000
    while index:
        groups, index = [f"x{index % 1000:03}", *groups], index // 1000
    return os.path.join("tile", level, *groups) + ("" if width == WIDTH else f".p/{width}")


def read(directory, path):
    try:
        with open(os.path.join(directory, path), "rb") as file:
            return file.read()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error


def tiles(count):
    """The index and width of each tile of a level with so many hashes or entries."""
    return [(index, min(WIDTH, count - index * WIDTH)) for index in range(-(-count // WIDTH))]


def unbundle(bundle, width, path):
    entries = []
    for _ in range(width):
        length = int.from_bytes(bundle[:2], "big")
        if len(bundle) < 2 + length:
            raise Refused(f"{path} ends within an entry")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    if bundle:
        raise Refused(f"{path} runs on behind its last entry")
    return entries


def read_leaves(directory, size):
    leaves = []
    for index, width in tiles(size):
        path = tile_path("entries", index, width)
        leaves += map(leaf_hash, unbundle(read(directory, path), width, path))
    return leaves


def check_tiles(directory, leaves):
    level, hashes = 0, leaves
    while hashes:
        for index, width in tiles(len(hashes)):
            path, begin = tile_path(str(level), index, width), index * WIDTH
            if read(directory, path) != b"".join(hashes[begin : begin + width]):
                raise Refused(f"{path} does not follow from the entries")
        full = range(0, len(hashes) - WIDTH + 1, WIDTH)
        level, hashes = level + 1, [tree_hash(hashes, begin, begin + WIDTH) for begin in full]


# --- Proofs -----------------------------------------------------------------------------------------------------------


def read_text(path):
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error


def in_json(text, *names):
    proof = json.loads(text)
    numbers = [whole(proof[name]) for name in names]
    return (*numbers, [unbase64(line, HASH) for line in proof["hashes"]])


def inclusion(text, keys):
    """The index, size and hashes of a proof; with the root where a signed checkpoint states it."""
    if text.startswith("{"):
        return (*in_json(text, "index", "size"), None)
    head, separator, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if lines and lines[0].startswith("extra "):
        unbase64(lines.pop(0).removeprefix("extra "))
    if first != "c2sp.org/tlog-proof@v1" or not separator or not lines or not lines[0].startswith("index "):
        raise Refused("not a proof of inclusion")
    note = Note(note).check_log(keys)
    hashes = [unbase64(line, HASH) for line in lines[1:]]
    return decimal(lines[0].removeprefix("index ")), note.size, hashes, note.root


def consistency(text, keys):
    if text.startswith("{"):
        return (*in_json(text, "earlier", "size"), None)
    head, separator, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if not first.startswith("old ") or not separator or len(lines) > 63:
        raise Refused("not a proof of consistency")
    note = Note(note).check_log(keys)
    return decimal(first.removeprefix("old ")), note.size, [unbase64(line, HASH) for line in lines], note.root


class Copy:
    def __init__(self, directory, keys):
        note = read(directory, "checkpoint").decode("utf-8")
        self.note = Note(note).check_log(keys)
        self.leaves = read_leaves(directory, self.note.size)
        check_tiles(directory, self.leaves)
        if tree_hash(self.leaves) != self.note.root:
            raise Refused("the entries do not have the root of the checkpoint")

    def root(self, size, stated=None):
        """The root of the first entries, which a signed checkpoint may have stated."""
        if size > len(self.leaves):
            raise Refused(f"the copy has {len(self.leaves)} entries, and {size} are spoken of")
        root = tree_hash(self.leaves, 0, size)
        if stated not in (None, root):
            raise Refused(f"the first {size} entries are not those of another checkpoint: the history was rewritten")
        return root

    def check_earlier(self, note):
        if note.origin != self.note.origin:
            raise Refused("an earlier checkpoint is of another log")
        self.root(note.size, note.root)

    def check_inclusion(self, index, size, hashes, stated):
        root = self.root(size, stated)
        if index >= size:
            raise Refused("the index is behind the end of the log")
        check_inclusion(self.leaves[index], index, size, hashes, root)

    def check_consistency(self, earlier, size, hashes, stated):
        check_consistency(earlier, self.root(earlier), size, self.root(size, stated), hashes)

    def witnesses(self, keys):
        """The latest time of each; one name or public key is one witness."""
        found = {}
        for name, key_id, public in keys:
            times = self.note.times(name, key_id, public)
            raw = public.public_bytes_raw()
            same = next((one for one in found if one[0] == name or one[1] == raw), (name, raw))
            if times:
                found[same] = max(times + [found.get(same, 0)])
        return [{"name": name, "time": time} for (name, _), time in found.items()]


def verify(arguments):
    keys = [verifier(key, PLAIN) for key in arguments.key]
    copy = Copy(arguments.directory, keys)
    for path in arguments.earlier:
        copy.check_earlier(Note(read_text(path)).check_log(keys))
    for path in arguments.inclusion:
        copy.check_inclusion(*inclusion(read_text(path), keys))
    for path in arguments.consistency:
        copy.check_consistency(*consistency(read_text(path), keys))
    witnesses = copy.witnesses([verifier(key, TIMED) for key in arguments.witness])
    note = copy.note
    root = base64.b64encode(note.root).decode()
    return {"origin": note.origin, "size": note.size, "root": root, "witnesses": witnesses}


def main():
    parser = argparse.ArgumentParser(description="Checks a whole copy of a log (c2sp.org/tlog-tiles).")
    parser.add_argument("directory")
    parser.add_argument("--key", action="append", required=True)
    for name in ["witness", "earlier", "inclusion", "consistency"]:
        parser.add_argument(f"--{name}", action="append", default=[])
    try:
        print(json.dumps(verify(parser.parse_args())))
    except (Refused, KeyError, TypeError, ValueError) as refused:
        sys.exit(f"refused: {refused!r}")


if __name__ == "__main__":
    main()
