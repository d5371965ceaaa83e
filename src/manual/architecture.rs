//! # Architecture
//!
//! One process, one data directory, one root key outside of it.
//!
//! ```text
//! api ── access ── vault ── keys ── crypto
//!                    ├───── store (rows in sled, objects in a folder)
//!                    ├───── audit (entries of the ledger)
//!                    ├───── masking (what is sensitive in chats and calls)
//!                    └───── root_key
//! ```
//!
//! | room | does | never does |
//! |---|---|---|
//! | [`domain`](crate::domain) | parses names, records, instants into types | I/O, ciphers |
//! | [`crypto`](crate::crypto) | seals, opens, derives, blinds | knows what it seals |
//! | [`keys`](crate::keys) | plans changes of the key tree, looks keys up | reads a disk, sees a root key |
//! | [`root_key`](crate::root_key) | holds the keys outside: the root key, in files or a security module, and the one that signs the log | decides which key counts: the database names it |
//! | [`access`](crate::access) | tells who calls and what they may | looks at records |
//! | [`audit`](crate::audit) | the bytes of ledger entries, their Merkle tree, signed checkpoints, tiles, proofs, witnesses and receipts | holds anything personal |
//! | [`masking`](crate::masking) | finds what is sensitive in a chat, hides it, silences spans of a WAV file | decides who sees what |
//! | [`store`](crate::store) | makes rows and objects durable, here and on mirrors | sees a secret |
//! | [`vault`](crate::vault) | knows the order of steps | names a cipher, sled or gRPC |
//! | [`tls`](crate::tls) | says which certificates are believed, and follows what is revoked | decides what a name may do |
//! | [`api`](crate::api) | speaks gRPC | decides |
//! | [`cli`](crate::cli) | speaks to people | opens the data of a running service |
//!
//! `tests/tidy.rs` holds the sources to this table.
//!
//! ## Three ideas
//!
//! **Proof before power.** A function that reads or writes for a caller takes a [`Permit`](crate::access::permit::Permit), which
//! only `access` can make, and takes tenant and record out of it, never out of the request.
//!
//! **One committer.** All batches go through one thread, which applies as many as wait as one, syncs once, and answers all. A batch
//! has preconditions; "no tombstone for this customer" is one of every record's. After a failed write or sync the store is
//! closed to writes, because it is not known then what is on the disk. The service restarts itself and reads what is there.
//!
//! **One writer of the key tree.** New customers and erasures go through one thread, so nothing changes between a plan and its
//! batch. A new customer is durable before its first record; a record that then fails leaves a customer without records, and
//! nothing else.
//!
//! ## Deciding before the content is opened
//!
//! Who may read a record is decided from its *head*, the part of its row that is not sealed: kind, handle, instant, purposes as
//! bits, keyed hashes of team, agent and case. The hash of the case is made with the record's secret, so that no key that outlives the
//! customer leads from a case to her; where a case is stated, that secret is unwrapped to compare it, or as much is done in vain. Neither
//! metadata nor content is opened for someone who is refused. The head is the context under which the metadata is sealed: a changed
//! head opens nothing.
//!
//! The policy is asked twice. The *door* asks whether the principal may do this in this tenant at all; its refusal is
//! `PERMISSION_DENIED` and depends on nothing stored. The *record* asks about this record; its refusal looks like a record that
//! is not there.
//!
//! A record that is not there takes the same questions as one that may not be seen: a head of nobody is asked about, and the answer not
//! listened to. So neither the bytes of a refusal nor its time tell what there is (`cargo bench --bench access` measures it: ten classes of
//! refusals, their medians within 3 % of one another).
//!
//! What is sensitive in a chat is found when it is stored, and sealed with it. The policy says by kind who sees it; what the reader
//! may not see is replaced on its way out, and what is stored stays whole. Where something is of several kinds, a card number within an
//! address, the strictest rules for just that part: password, payment card, national id, bank account, then the rest. A platform's own mark
//! adds to what is found and never takes away. How much is found, how much too much, and how much an agent does not see, by kind, stands in
//! `src/masking/table.txt`, measured on annotated chats.
//!
//! ## What one might expect otherwise
//!
//! - Erasures of one round share one epoch; lookups wait while its batch is written, some milliseconds.
//! - Opened keys are not cached, but for the keys of tenants, which go with their epoch.
//! - tonic's own time-outs and concurrency limits are not used: they answer without an `ErrorInfo`, or cut streams that go on
//!   well. [`api::manners`](crate::api::manners) has them instead.
