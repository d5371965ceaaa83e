//! # Threats
//!
//! ## Why an erasure holds
//!
//! The hoarder has every image of the data directory, objects included, and everything the service has today, the root key included.
//!
//! 1. A record opens only with its secret, the secret only with the customer key, and the customer key stands in one leaf page of the
//!    customers trie only.
//! 2. A key only ever stood in pages of nodes on its own path from the top. A split makes a path longer; nothing else changes it.
//! 3. An erasure gives every node on the path a fresh key, the top included, wraps the new top key under a fresh root key, has the old
//!    root key destroyed, and looks, after opening the medium afresh, that it is gone, before it answers.
//! 4. So every page on that path that opens today was sealed after the erasure and never held the erased key; and no older image of
//!    a page on that path opens, because its key stood only in older images of the pages above it, up to the root key that is gone.
//!
//! The link from the person to the handle stands in the directory trie and dies in the same epoch. A tombstone says only that it is one: it
//! has no handle, no time and no receipt, since a receipt has a time, and times would sort the orphaned handles. A reclaim job has no
//! pseudonym, and what is pending is sealed under a key that ends with the customer key. What answers a repeat of the request is sealed
//! under the request's id, and forgotten after `limits.request_id_retention_hours`; so who wants a receipt again must know its id.
//!
//! ## What others can do
//!
//! | who | what stands against it |
//! |---|---|
//! | disk thief without the root key | everything personal is sealed, names are keyed hashes. To be seen: numbers, sizes and instants of records |
//! | disk writer | whatever is sealed is bound to its place: rows swapped, cut or changed do not open; a database that does not contain the log that is pinned beside the root key is refused. **Not noticed**: rows taken out, or an older image put back together with its root key's medium |
//! | wrong role, other tenant | two questions to the policy; refusals that look like absence; each refusal is in the ledger |
//! | an admin who wants to read | admins read nothing, but name those who may: one who makes a supervisor and a token for it reads as that one. Not prevented, and told: the ledger names admin, principal and roles of each such step |
//! | stolen token | it ends (after 90 days by default), is stored as a hash, and is worth nothing from the call after its revocation on |
//! | anonymous network | TLS; limits on connections, streams, headers, messages, bytes in flight and time |
//! | bugs in logs | only our own modules may speak below `info`; types that hold something personal print nothing |
//!
//! ## What is not promised
//!
//! - Copies that were read out, and keys taken from live memory before the epoch.
//! - Images of the root key's own medium. The file is overwritten and unlinked; a flash disk or a copy-on-write file system may keep
//!   its blocks, and a snapshot of the whole machine contains them.
//! - What two images taken moments apart tell by their differences.
//! - Memory that is not ours: the buffers of tonic and TLS are not wiped. Where the service may lock its memory, nothing of it reaches
//!   the swap; where not, it says so when it starts.
//! - What had left already: of an answer that a caller asked for before the erasure, what HTTP/2 (one frame where the reader takes
//!   nothing, up to 400 KiB where the network is full), TLS and the kernel had taken may still arrive. All the rest is cut off.
//! - How long a list takes: a page looks at up to `limits.list_scan_rows` rows, also such as the caller may not see; a page that is not full
//!   and not the last tells that there are as many.
//! - There is no mirror and no backup yet: a lost disk is lost data.
//! - What a raw image of sled's log tells by the order in which it was written: it is as the differences of two images.
//! - An upload that breaks off is removed with its secret's row; that secret is shredded with the customer, not by an epoch of its own.
