//! # Formats
//!
//! Integers are big-endian. `text` and `framed` have their length in front (4 bytes). `option` is a byte 0, or a byte 1 and the
//! value. A list has its number of items in front (4 bytes). Every stored thing that is not sealed as a whole begins with a version byte; a
//! newer one than this program knows is refused with words ([`Decode::NewerVersion`](crate::domain::codec::Decode)).
//!
//! ## The data directory
//!
//! `db/` is sled's; `objects/<handle>/<record>/<object>` holds parts of content, all three in hexadecimal. The keys of rows stand in
//! one table: [`store::rows`](crate::store::rows).
//!
//! ## Sealing
//!
//! | what | how |
//! |---|---|
//! | page of the key tree | AES-256-GCM (nonce, ciphertext, tag) under the node's key; bound to `text("oubliette page")`, kind (1), node id (16) |
//! | top key | the same, under the root key; bound to `text("oubliette top key")`, epoch (8), root key id (16) |
//! | record secret | the same, under the customer key; bound to `text("oubliette secret")`, tenant, handle, record, revision |
//! | segment's key | the same, under the customer key; bound to `text("oubliette segment")`, tenant, handle, first record |
//! | who works on a case, who broke the glass | until when: AES-256-GCM under the tenant's settings key; the words: under HKDF-SHA256 of the profile's secret; both bound to the row's key |
//! | index entry, what is pending | AES-256-GCM under HKDF-SHA256 of the secret (of a customer: of the profile's secret, or where that is damaged of the customer key; of a tenant: of its settings key); bound to the row's key |
//! | metadata, content, manifest, part, profile | [Cobblestone-256](https://c2sp.org/chunked-encryption) under HKDF-SHA256 of the secret; info: label, tenant, handle, record, revision, each framed |
//! | answer to an erasure's request | AES-256-GCM under HKDF-SHA256 of an answer key of the tenant; info: `oubliette erasure answer`, caller's alias, request id, customer id (of a list) or nothing, record (16) and revision (4) or nothing, each framed; bound to the row's key. Of a record or revision, inside it: the same under HKDF-SHA256 of the profile's secret |
//! | request | the record: AES-256-GCM under HKDF-SHA256 of the profile's secret; the fingerprint: under HKDF-SHA256 of the record's secret; the day: under the settings key; all bound to the row's key, label `oubliette request` |
//! | tenant, principal, tombstone, approval | AES-256-GCM under the tenant's settings key; bound to the row's key |
//! | erasure of a tenant | the same, under the system's settings key |
//! | token | the same, under the system's settings key; bound to tenant and the row's key |
//!
//! Contexts of Cobblestone: of metadata the record's head, of a part its number (4 bytes), otherwise none.
//!
//! ## Rows
//!
//! **root**: version, then epoch (8), root key id (16) and framed wrapped top key of now, and the option of the same of the epoch before,
//! which the probe tries.
//!
//! **page**, opened: version, shape (1 inner, 2 leaf), count (2), entries, zeros up to 512, 1,024, 2,560 or 3,584 bytes. An entry of
//! an inner page: slot (1), page id (16), key (32). Of a leaf page: label (16), payload (32); in the directory the payload is the
//! handle and 16 zero bytes. A tenant's page has the slots 0 index key, 1 settings key, 2 directory, 3 customers, 4 and 5 answer keys, the
//! current and the earlier one. Their ids name no page: 12 bytes of 0xff, and the UTC day since 1970 from which on the key is used (4).
//!
//! **request**: version (3), framed sealed day, option of two framed parts: the sealed record and the sealed fingerprint. The day: days since
//! 1970 (4). The record: version, record (16), revision (4). The fingerprint (16): a keyed hash of all that was asked. Without the option,
//! an upgrade found what the request stored erased.
//!
//! **erasure request**: version (2), framed sealed day, framed sealed answer: version, receipt (16), opening (32). Of a record or revision the
//! answer is: version, handle (16), framed sealed answer of the form before.
//!
//! **record**: head, sealed metadata, sealed content or manifest, together cut into pieces of 4,096 bytes. Head: version (2), kind (1
//! transcript, 2 recording), form (1 inline, 2 parts), handle (16), created in ms (8), purposes as bits (8), options of the blinded
//! team, agent and case (16 each), length of metadata (4) and of content (4), bytes of sealed content (8). The case is blinded under
//! HKDF-SHA256 of the record's secret (label `oubliette case`); in version 1 under the tenant's index key.
//!
//! **secret**: version, wrapped secret (60): under the customer key, or under that of the segment in which the record lies. The reserved
//! record id of all zeros holds the secret of the customer's profile.
//!
//! **Jobs** (reclaim, reclaim record, reclaim pages, upload) end with a tag (32): `HMAC-SHA256(key, framed("job"), framed(row's key), framed(what
//! stands in front of the tag))`. The key is HKDF-SHA256 of the system's settings key; info: `framed("oubliette job")`. In front of the tag: of reclaim
//! version (2), tenant (16); of reclaim record version (2), tenant, handle (16 each); of reclaim pages version (2), list of page ids (16 each);
//! of upload version (2), handle (16), created in ms (8). **refused job**: the value of the job, up to 4,096 bytes; its key ends with the job's.
//!
//! **erasure of a tenant**, sealed: version (2), who asked (16), from when on it can be approved in ms (8), state (1: 1 requested, 2 erased, 3
//! gone), from version 2 on the option of the tenant in which it was asked for (16), and of the alias of who called for the one who asked (16).
//!
//! **segment**: the wrapped key (60) of all secrets from its first record up to the first one of the next segment.
//!
//! **profile**: tenant (16), sealed customer id.
//!
//! **index**: handle (16), then, sealed under a key of the record's own secret: version, kind, revision (4), started in ms (8).
//!
//! **assignment** and **glass**: version, tenant (16), framed sealed term, framed sealed words. The term: version, expires in ms (8), alias of
//! who gave it (16). The words: version, list of texts: case and principal; or principal and reason. The key of an assignment's row ends
//! with case and principal blinded together, under HKDF-SHA256 of the profile's secret (label `oubliette case`).
//!
//! **seen**: empty; its key says which principal (16, the alias) read something of which customer on which day (4, since 1970). **reads**: how
//! many reads that were (8). **erased by**: how many erasures a principal asked for alone on a day (8). **approved**: how many an approval was used for (8).
//!
//! **approval**, sealed; its key says who asked (16, the alias) and which it is (8): version, who asked (text), option of the alias of who called for that one (16),
//! asked in ms (8), how many erasures more in all, and reads and customers more a day (4 each), ground (1: 1 customers asked, 2 retention over, 3 legal claim, 4 incident,
//! 5 review, 6 migration), until in ms (8), option of who gave it (text, alias of 16).
//!
//! **token**: tenant (16), then, sealed: version (2), SHA-256 of the secret (32), the principal's name (text), created and ends in ms (8 each),
//! whether revoked (1), from version 2 on the option of a certificate's name (text); with one the row's id is a keyed hash of it, and there is no secret.
//!
//! **transcript**, before sealing: zstd of version (2), list of turns: speaker (1), option of ms (8), text; then the list of what is sensitive in
//! them: turn (4), first byte (4), byte behind the last (4), kind (1). In version 1, without that list, it is looked for when the chat is read.
//!
//! **metadata**, before sealing: version (2), channel (1), options of language, agent, case and team (texts), started in ms (8), option of ended (8),
//! legal basis (1), list of tags (texts), bytes of content (8), options of the content's SHA-256 (32) and of its media type (text), and, from
//! version 2 on, the list of what is sensitive in a recording: from ms (8), until ms (8), kind (1).
//!
//! **manifest**, before sealing: version, list of parts: object (16), commitment (32), plaintext length (8).
//!
//! **format**: version of the layout (2), text `oubliette`. Layout 1 had no page digests, and the row below in version 2. It is upgraded at the
//! first start; a mirror of layout 1 is restored as it is, and upgraded at the start that follows.
//!
//! **page digest**: `SHA-256(0x00 || key of the page's row || stored page)` (32). The committer writes it with each write of a page and removes
//! it with the page. A page is compared with it whenever it is read.
//!
//! **deciding**: version (3), position of the ledger's newest entry of kind 12 (8), salt (32), and, framed and sealed, the sum (32) over all
//! control rows. These are the rows of the kinds format, page digest, root, tombstone, erasing, duty, tenant erasure, log key, token, principal,
//! tenant, assignment, glass and approval. The sum is taken modulo 2^256 over `HMAC-SHA256(key, framed("control row"), framed(row's key),
//! framed(row's value))`. The entry of kind 12 holds the commitment (32): `HMAC-SHA256(key, framed("control rows"), framed(position),
//! framed(salt), framed(sum))`. The key is HKDF-SHA256 of the system's settings key; info: `framed("oubliette control rows")`. The sum is sealed
//! with AES-256-GCM, bound to `oubliette sum of control rows`, under a key of its own: HKDF-SHA256, info `framed("one sum"), framed(position),
//! framed(salt)`, of HKDF-SHA256 of the system's settings key; info: `framed("oubliette sum of control rows")`. In version 2, of layout 1, the sum
//! stood in the clear, without the kinds format and page digest; `deciding row`, `deciding rows` and `oubliette deciding rows` were the fields and info.
//!
//! **position**: version, how many groups the committer wrote (8), and the random name of the run of the service that wrote the last one (16).
//!
//! ## Mirrors and backups
//!
//! A directory: `rows/` with the row files, `objects/` as in the data directory. A row file is named by its generation (8 hexadecimal
//! digits), `w` (everything) or `k` (keys only), and its number (8 digits), joined by `-`; about 64 MiB later the next one begins. The file
//! `<generation>-<sort>-complete` says that the generation's base is whole; in it stand a version (2), the leaf hash of the ledger's first
//! entry, which tells one vault's mirrors from another's, and 16 random bytes, which tell this generation from all others. One whose mark is
//! cut does not count.
//!
//! A row file is a sequence of frames: length (4), `SHA-256(0x00 || body)`, body. Body: 1 and a list of rows of the base (framed key, framed
//! value); or 2, position, list of writes (framed key, option of the framed value: none removes the row); or 3 and a position: the base is
//! whole, and all groups up to there are in. Applied in order they give the rows as they stood after the last group. What follows the last
//! whole frame of the last file was cut by a crash. A backup is a copy of one generation, and of the objects.
//!
//! `objects-complete` says up to where the objects are complete: version (1), the leaf hash of the ledger's first entry (32), the generation's
//! random name (16), a position (8 and 16), and `SHA-256(0x00 || all before)`. Every object that rows up to the position name, and whose key is still
//! there, is in `objects/`. A mark that is not there, is cut, or names another generation says nothing, and one behind the rows says less
//! than they need. `objects-progress` is for people, and nothing is decided by it.
//!
//! ## The root key's file
//!
//! Six pages of 4,096 bytes, each a text filled up with spaces, overwritten in place and synced:
//!
//! ```text
//! oubliette-root-key 3                                    pages 0 and 5; the newer counts
//! head <check sum> serial <how often it was changed>
//! this <id of the replica, 32 hexadecimal digits>
//! lost <how many replicas were retired that nobody saw destroyed>
//! replica <id> <path at which it was made>                one line a replica
//!
//! key <check sum> <id, 32 digits> <epoch> <key, 64 digits>      pages 1 and 2; two only while an epoch runs
//!
//! pin <check sum> <epoch> <entries of the log> <root of their tree, 64 digits>      pages 3 and 4; the newer counts
//! ```
//!
//! A check sum is the first eight digits of the SHA-256 of what follows it and a space on the page. A page whose check sum does not match was
//! cut by a power cut, and counts as empty. Both heads say the same but while they are changed: the older is written first.
//!
//! `oubliette-root-key 2` had one head, on page 0, whose second line was `this`, and no page 5. It is read, and becomes 3 when its list of
//! replicas changes. `oubliette-root-key 4` is written once a replica was retired: behind `lost` it has up to eight lines `retired <id>`, the newest
//! last, by which a repeat of the command is known.
//!
//! ## The ledger
//!
//! Entry *n* stands under position *n*, from 0, without gaps: version, instant in ms (8), tenant (16), option of the caller's alias
//! and token id (16 each; of an issuer's token, the first half of a hash), from version 2 on the option of the alias of whoever called for that one (16), in
//! version 3 the option of that one's token id (16),
//! kind of event (1), its fields ([`audit`](crate::audit)):
//!
//! | kind | what | fields |
//! |---|---|---|
//! | 1, 13 | stored | operation (1), handle (16), record (16), of 13 the revision (4) |
//! | 2, 14, 15 | read | operation, handle, record, from 14 on the revision, purpose's place (1), of 15 as bits what let the caller (1: 1 a case, 2 broken glass) |
//! | 3, 18 | listed | option of the handle, of 3 how many (4), of 18 the list of handles and records, purpose's place |
//! | 4 | refused | operation, option of the record |
//! | 5, 6 | erasure asked for, final | see below |
//! | 7 | administered | operation, tenant (16), options of the principal's alias (16) and its roles as bits (2) |
//! | 8 | repeated | operation, handle, record |
//! | 9 | key of the log | see below |
//! | 10, 11 | replica of the root key; readmitted | whether new (1), whether the medium was seen destroyed (1); nothing |
//! | 12 | deciding | see above |
//! | 16 | granted | operation, handle, alias of who may, option of until in ms (8) |
//! | 21 | approval | operation, whose (16) and which (8), how many erasures more in all, and reads and customers more a day (4 each), ground (1), until in ms (8) |
//! | 22 | cases listed | handle |
//! | 17 | alert | sort (1: 1 glass broken, 2 unusual reading, 3 ceiling met, 4 a job refused, about zeros), alias of whom it is about |
//! | 19 | policy | SHA-256 of its text (32), whether it decides (1) |
//! | 20 | failed logins | reason (text), how many (4), from how many sources (4) |
//!
//! An entry's bytes are one leaf of a tree of RFC 6962 ([`audit::merkle`](crate::audit::merkle)). Stored of it are the hashes of the
//! subtrees with 256, 256^2, ... entries; what lies between is hashed when it is asked for.
//!
//! **The log's files**: `log/` in the data directory has the checkpoint (`checkpoint`) and the tiles of
//! [c2sp.org/tlog-tiles](https://c2sp.org/tlog-tiles), written as the log grows, every ten seconds at most. Nothing rests on them: they are made again from the
//! entries. `oubliette audit export` copies them; `audit verify` and `tests/interop/verify_log.py` check a copy. Cosignatures are those of
//! [c2sp.org/tlog-cosignature](https://c2sp.org/tlog-cosignature), what a witness is asked is the body of
//! [c2sp.org/tlog-witness](https://c2sp.org/tlog-witness)'s `add-checkpoint`.
//!
//! **A report of exposure** is lines of JSON, the first of which says what was asked; a blank line; and a signed note whose text is
//! `oubliette exposure report v1`, the log's name, the number of lines, and the base64 of the SHA-256 of the lines.
//!
//! ## Receipts
//!
//! A receipt is a file of [c2sp.org/tlog-proof](https://c2sp.org/tlog-proof); its checkpoint is one of
//! [c2sp.org/tlog-checkpoint](https://c2sp.org/tlog-checkpoint), signed with Ed25519. `extra` is the ledger's entry, whose leaf
//! (`SHA-256(0x00 || entry)`) the proof includes. The entry of an erasure that is final: version (1), entered in ms (8), tenant (16), option
//! of a caller (never there: 0), kind (1, always 6), receipt (16), what was erased (1: 1 customer, 2 record, 3 tenant, 4 revision), commitment (32),
//! epoch (8), who asked (16), option of who approved (16), text of the provider, medium (1: 1 file, 2 HSM), whether the root key stood on
//! the device of the data or of a mirror (1), how many copies of earlier root keys were lost (4), final from in ms (8), list of grounds under which
//! something was kept (1 each: 1 expression, 2 legal obligation, 3 public health, 4 archiving, 5 legal claims).
//!
//! The commitment is SHA-256 of `oubliette erasure commitment v1` and a line feed, the opening (32), the framed customer id (empty for a record whose customer's profile was damaged), and where one
//! record or a revision of one was erased the record's id (16), and of a revision its number (4). `tests/interop/verify_receipt.py` checks all that from this text alone.
//!
//! ## The signing key's file
//!
//! ```text
//! oubliette-signing-key 1
//! key <seed of RFC 8032, 64 hexadecimal digits>
//! ```
//!
//! It is replaced by exchanging it with a new file, and overwriting the old one before it goes. Two lines only while one key replaces the other; which of them counts, the ledger says: an
//! entry of kind 9 names the log (text), the public key (32), and the option of the position where the key before it is named (8).
