//! # Threats
//!
//! ## The hoarder
//!
//! He has every image of the data directory, objects included, every mirror and backup, and everything the service has today, the root key included. Why an erasure
//! holds against him, and where that ends, stands in [`erasure`](super::erasure).
//!
//! ## What others can do
//!
//! | who | what stands against it |
//! |---|---|
//! | disk thief without the root key | everything personal is sealed, names are keyed hashes. To be seen: numbers, sizes and instants of records |
//! | disk writer | whatever is sealed is bound to its place: rows swapped, cut or changed do not open; a database that does not contain the log that is pinned beside the root key is refused; so is one whose control rows (who was erased or is to be, roles, tokens, tenants, the digests of the key tree's pages, the root of the keys) do not match the audit log. A commitment to these rows is made under a key, for its position in the log, so none can be made or used again; no image shows the hash of a row, so no other rows with the same sum can be computed. A page of the key tree that was changed or replaced by an older one is refused when it is read, and costs the customers of that page only; what was decided in the seconds since the last pin can be taken back with the log's end. Entries of the log that were changed long before are noticed behind the start, when all of it is read, and before anything of them is shown, reported or signed. A row that would have data removed is executed only with a tag of ours, and only where no key opens what it removes; see [`erasure`](super::erasure). **Not prevented**: whoever writes to the disk while the job of an erased customer waits can edit the head of a living record, so that it names her, and plant a secret beside hers: the record, which the edit has made unreadable here, is then removed on the mirrors too. **Not noticed at start**: rows of content taken out (`oubliette verify` names records whose secret or content is gone though the customer lives), rows that only find something (a list by agent can be incomplete), counters of ceilings and quotas set back (the log has every read and erasure), or an older image put back together with its root key's medium |
//! | wrong role, other tenant | two questions to the policy; refusals that look like absence; each refusal is in the ledger |
//! | an agent who is curious | reads only on a case that the platform assigned, for as long as it is; broken glass is told at once; what is sensitive is masked for roles that do not need it |
//! | an insider who collects | ceilings of reads and of different customers a day, counted through restarts; told at half the way and at the end; a second person for more; a report of exposure names all that was touched |
//! | somebody who erases in anger, or with a stolen token | so many erasures a day alone (`erasures_per_day`), by list or one by one; each beyond is one that a second person approved, and its receipt names both |
//! | a forger of tokens | tokens of issuers are taken by asymmetric algorithms only, of the key that the issuer names, for one audience, within their time; keys are fetched from configured places only, rarely |
//! | who guesses tokens | 300 failures a minute from one address (`limits.failed_logins_per_minute`) (IPv6: one network of 64 bits) are enough to be refused for the rest of it, but for who was let in within the last hour; the ledger tells how many there were, those that were not looked at too |
//! | an operator who rewrites the log | copies and witnesses: a log that does not continue what was copied or cosigned is found by `audit verify` |
//! | an admin who wants to read | admins read nothing, but name those who may: one who makes a supervisor and a token for it reads as that one. Not prevented, and told: the ledger names admin, principal and roles of each such step |
//! | stolen certificate | its authority's list, read every 15 s, ends calls and streams; unknown status is a refusal where there are lists; sessions are never resumed |
//! | stolen token | it ends (after 90 days by default), is stored as a hash, and is worth nothing from the call after its revocation on |
//! | anonymous network | TLS; limits on connections, streams, headers, messages, bytes in flight and time |
//! | bugs in logs | only our own modules may speak below `info`; types that hold something personal print nothing |
//!
//! ## Memory
//!
//! The service writes no core dump, and no process of the same user may read its memory. Where it may lock its memory, nothing of it reaches the swap; where
//! not, it says so when it starts.
//!
//! Some seconds after an acknowledged erasure, the service's memory holds nothing readable of the customer:
//!
//! - The program's allocator wipes each block that it frees or moves. So the buffers of protobuf, HTTP/2, TLS and the database need not do it. zstd takes its
//!   workspaces from the same allocator. AWS-LC has its own heap and wipes what it frees.
//! - A connection keeps the last bytes that went over it, until others take their place. So after an erasure the service closes each
//!   connection once it was idle for five seconds: HTTP/2's GOAWAY tells the client, which connects again for its next call.
//! - Our own types wipe ids, texts and keys when they are dropped, also under another allocator.
//!
//! The test `no_erased_customer_is_found_in_memory` stores chats and recordings of 15 customers in a running service, reads, lists and masks them, breaks calls
//! off, erases the customers, and searches all memory of the process 12 s later. It finds 0 of 15 customers, in a debug and in a release build. Requests in
//! flight of a living customer show that it can find them. Without these measures it finds 15 of 15, by about 1,200 copies of their ids, case ids, tags,
//! request ids, reasons, texts and recordings. Each measure alone is needed:
//!
//! | taken out | customers found | copies |
//! |---|---|---|
//! | the allocator | 15 of 15 | 1,152, of every kind |
//! | zstd's use of it | 14 of 15 | 15, texts |
//! | closing idle connections | 15 of 15 | 86, in the last requests and answers |
//!
//! What can be left, and who holds it:
//!
//! | holder | what | until |
//! |---|---|---|
//! | a connection that has an open call whenever the service looks, once a second | in h2's read buffer the last requests, in rustls' the last record, in h2's write buffer the first 256 bytes of the last answers. Where each of four connections has an open call, the test finds ids, tags and reasons that were in the last requests, at most some dozen copies, and among them the ids in the requests for the erasure | other bytes take their place, the calls end, or `limits.connection_age_ms` is over and the calls have ended |
//! | h2, for a caller who does not read an answer | what it took of the answer before the erasure | `limits.stream_idle_timeout_ms` |
//! | the stacks of threads | some words that the compiler put there. The test has found none | the thread calls as deep again |
//! | the kernel | what went through sockets. `init_on_free=1` at boot wipes it | the memory is used again |
//! | a process that may trace the service, such as one of root | whatever it reads before the erasure | |
//!
//! ## What is not promised
//!
//! - That masking finds everything: names are not looked for, addresses only where they are asked for or announced, and a number that nothing
//!   speaks for stays, as does a password of common words only ("my password is correct horse"), unless it stands in quotes. Of several kinds
//!   the strictest counts in the order of the default policy: a policy that shows cards and hides e-mail addresses shows a card in one.
//!   Recordings are silenced where the platform says so, and only WAV files can be.
//! - That two people are two: whoever sets up principals can name the same person twice, which the ledger tells.
//! - Copies that were read out, and keys taken from live memory before the epoch.
//! - Images of the root key's own medium: a flash disk or a copy-on-write file system may keep its blocks, and a snapshot of the whole
//!   machine contains them.
//! - What two images taken moments apart tell by their differences.
//! - What the section on memory names as left.
//! - What had left already: of an answer that a caller asked for before the erasure, what HTTP/2 (one frame where the reader takes
//!   nothing, up to 400 KiB where the network is full), TLS and the kernel had taken may still arrive. All the rest is cut off.
//! - How long a list takes: a page looks at up to `limits.list_scan_rows` rows, also such as the caller may not see; a page that is not full
//!   and not the last tells that there are as many.
//! - Who knows a customer's case, and has an image from layout 1 or a record that it stored, and today's keys, finds by it the handle that
//!   stood for the customer, though nothing under it opens once she is erased. Since layout 2 no row leads from a case to a customer.
//! - What the log links. Its entries show the handle and the record in the clear, and their instants to the millisecond. They are the evidence
//!   in a report of exposure, which must say which records somebody read, also of customers who are gone, and whoever checks the log must
//!   be able to read it without keys. A pseudonym of the record in each entry, that dies with the customer, would hide nothing from someone
//!   with old images: the rows of records and secrets show the same pair, since a row must be found before a key is. So the entries
//!   of one handle belong together for ever, and the handle belongs to nobody once its customer is erased. Two things lead on from there.
//!   Someone who learned elsewhere which record was a person's finds the entries of that record. And where few people are served, the
//!   instants of entries may be compared with what somebody else wrote down about a person's calls: coarser instants would not help, because
//!   the order of the entries, on which the proofs rest, tells the same. Keep exports of the log as carefully as the log.
//! - For two days after an erasure, whoever knows the id of its request gets to the receipt, and so to the instant.
//! - What a mirror had not got yet when the disk was lost: some milliseconds of rows, a second or so of objects. Nothing that a receipt, a
//!   signed log or an erasure rests on.
//! - What a raw image of sled's log tells by the order in which it was written: it is as the differences of two images.
