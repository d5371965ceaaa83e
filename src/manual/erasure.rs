//! # Erasure
//!
//! After an acknowledged erasure, someone who holds every past image of the data directory, every backup and mirror, and everything the
//! service has today, the root key included, recovers nothing of what was erased; and everybody else's records still open. This chapter
//! says how, why it holds, how to check it, and where it ends.
//!
//! ## What can be erased
//!
//! | what | by whom | with what guard |
//! |---|---|---|
//! | a customer, with all records | privacy officer | a ceiling an hour for each tenant (`limits.erasures_per_hour`); so many a day without a second person (`ceilings.privacy_officer.erasures_per_day`) |
//! | a list of customers, up to 1,000 | privacy officer | each counts towards both, and succeeds or fails for itself; a list that needs a second person and has none is refused as a whole |
//! | one record, with all its revisions | privacy officer | counts towards both |
//! | one revision of a record that is not the newest | privacy officer | counts towards both |
//! | a whole tenant | an admin of `system` asks, another approves | a delay between the two (`limits.tenant_erasure_delay_minutes`), in which it can be taken back |
//!
//! All take the same path, and cost what a path in the key tree costs, whatever lies under it.
//!
//! ## The steps
//!
//! | step | durable effect | if we crash right after |
//! |---|---|---|
//! | 1 | ledger entry, tombstone, what is pending; the fence is closed: reads and writes are refused, open streams are cut off | resumed at start |
//! | 2 | the provider stages a new root key under a random id | the database does not name it: destroyed, then 2 again with another |
//! | 3 | one batch: every page on the path under a fresh key, the top key under the staged root key, what is owed | goes on with 5 |
//! | 4 | every mirror has every row up to here | waited for again |
//! | 5 | the provider destroys the old root key, and is probed: listed afresh, and every key it has tried on what the old key wrapped | goes on with 5 |
//! | 6 | ledger entry with all that the receipt states | repeated; one entry |
//!
//! Answered only after 6. Erasures that arrive while an epoch runs share the next one, and their fences close as it begins;
//! `root_key.epoch_window_ms` makes them wait for more of them, for slow or metered providers (one second for a security module). After a
//! crash the same functions go on, from what the database names and the provider holds. A staged key is never used again: whatever is left
//! unnamed is destroyed and probed first.
//!
//! Step 4 waits for rows and not for objects, also where a mirror's objects are not complete. What must not be lost before the old root key goes is
//! what opens under the new one: pages, the top key, tombstones, what is owed. Objects hold content only. Those of the erased person need not be
//! on a mirror, and open nowhere; those of others are sealed under secrets that this epoch leaves as they are, and follow in their own time.
//! Waiting for them would let a large upload hold up every erasure. Whether a mirror has them all, its mark says (see
//! [`operations`](super::operations)).
//!
//! What is pending is carried out before anything else, and all of it: a record that waits must not lose its customer to a later epoch. An
//! epoch without erasures runs once a day, so that no root key lives longer.
//!
//! ## The key graph
//!
//! ```text
//! root key          outside the data; wraps exactly one key
//!  top key          new at every epoch
//!   tenant          index key, settings key
//!    directory      trie: pseudonym -> handle
//!    customers      trie: handle -> customer key
//!      segment      past 1,024 secrets: keys of 1,024 secrets each, wrapped under the customer key
//!       secret      32 random bytes for one revision of one record
//!        content, metadata, manifest, index entries, what is pending    each under a key derived from the secret
//! ```
//!
//! Erasing a record or a revision replaces the customer key and wraps anew what was wrapped beside its secret: the keys of the segments, and the
//! secrets of one segment. An epoch takes secrets out of three segments at most, so that it fits one batch; what is more waits for the next one,
//! and customers go behind what is left of them. What finds a record (by agent) is sealed under the record's own secret, so that it ends with it.
//!
//! A handle is a keyed hash of the pseudonym under the key that the customer's page of the directory had when she came: as good as random to
//! whom that key is gone, and her erasure replaces it. It is not drawn at random because of what is lost: an insert that a power cut took back may
//! stand on the disk all the same. Who comes again gets the same handle, and her erasure then takes along the pages that held the lost key.
//!
//! ## Why it holds
//!
//! 1. A record opens only with its secret, the secret only with the customer key or that of its segment, and the customer key stands in one
//!    leaf page of the customers trie only.
//! 2. A key only ever stood in pages of nodes on its own path from the top: a split lengthens a path, nothing else changes it, and keys never
//!    move.
//! 3. Every node of that path gets a fresh key in the epoch, up to the top key, which a fresh root key wraps; the old root key is destroyed.
//! 4. So every page on the path that opens today was sealed afterwards and never held the erased key; and no older page on the path opens,
//!    because its key stood only in older pages above it, up to the root key that is gone.
//!
//! After a restore every page of the tree gets a fresh key before anything is called erased again, as a rule at the first start: what the lost
//! disk had and no mirror knew of may stand in an image of it, and no erasure would reach what nobody knows of.
//!
//! The link from a person to her handle stands in the directory and dies in the same epoch. Nothing else leads from one to the other, or from
//! the person to a time: a tombstone says only that it is one; what is pending names the pseudonym and is sealed under a key that ends
//! with the customer; a reclaim job has a handle and no pseudonym; what answers a repeat of the request opens only to who knows the request's id, and only for
//! two days: it is sealed under an answer key of the tenant, which an epoch replaces every day, so that images of it die as every erased key
//! does. Where the service is stopped, or its epochs fail, the keys live on until the next epoch that succeeds. The answer to the erasure of a record ends with its customer too. The row of a request that stored a record ends with the customer,
//! and its fingerprint with the record. The table of [row kinds](super::rows) says it for each kind. (A tombstone that named its receipt would give the person a time, and times sort the
//! orphaned handles. So who wants the receipt of an erasure again asks for it by the receipt's id.)
//!
//! Control rows are tied to the log. They are tombstones, what is pending or owed, roles, tokens, tenants, the root of the keys, and the digests
//! of the key tree's pages. With every change of one, the log gets an entry that commits to all of them as they are then, under a key of the key
//! tree and for its position in the log. A start compares, and hashes the log behind that entry again, up to the root that the pin remembers.
//! A row that is changed on the disk while the service runs does not spoil the commitment: a start reads all control rows and keeps the
//! hash of each (of the first 262,144), and a row that is replaced or removed is taken out of the sum by that hash. With that write the log
//! gets an alert (`control_row_changed`, also in `oubliette_alerts_total`). A pending erasure and a duty are compared with their hash before
//! they are carried out: one that was changed or planted is reported, and neither carried out nor removed.
//!
//! The commitment is salted and only the newest salt is kept, so the entries of the past do not tell which tombstone came when. An epoch
//! changes the root, so the newest commitment is a day old at most.
//!
//! Pages are compared with their digests when they are read, not at the start: at a million customers a start reads about 7 MB of digests and
//! not 300 MB of pages. So an older page of the same epoch, which still opens under its key, is not taken for the page of now. It is an error
//! of that page (`KEY_TREE_DAMAGED`): its customers are neither served nor reported as unknown or erased, all others are served. An
//! erasure that finds no customer looks for rows of the customer under the handle that the directory's page would give; if there are
//! any, it raises the same alarm and does not answer `NOT_FOUND`.
//!
//! Why a sum is enough: what is committed to is a multiset hash, the sum modulo 2^256 of a keyed hash of each row, so one changed row costs two
//! hashes and not a pass over all rows. Clarke et al. (ASIACRYPT 2003) prove the additive hash secure if the hash of an element is a
//! pseudo-random function under a secret key, and the sum itself is hidden. HMAC-SHA256 is the function. The sum is hidden: it is
//! stored under AES-256-GCM, each time under a new key, and the log has only an HMAC of it. It must be: from sums in the clear, the
//! difference of two images is the hash of one row, and with many of those, sets of rows with equal sums are found by Wagner's algorithm
//! (CRYPTO 2002) much faster than by search. A sealed sum hides the hash of each row, and another set of rows has the same sum with
//! probability 2^-256. The sum of an earlier time does not help, because the commitment is for one position in the log. Layout 1 had the
//! sums in the clear: the upgrade takes another key, so hashes from its images are worth nothing.
//!
//! Reardon, Ritzdorf, Basin, Capkun: *Secure Data Deletion from Persistent Media*, CCS 2013.
//!
//! ## What is removed afterwards
//!
//! Rows and objects of what is erased are noise. They are removed by jobs: rows that the epoch writes. Somebody who can write to the disk can
//! write such a row too, so a job is executed only if two things hold:
//!
//! 1. It carries a tag (HMAC-SHA256) under a key of the key tree. That key must outlive the customer, because the job comes after her; it must
//!    not change with an epoch; and it must come back with a restore. The system's settings key does all three, and every mirror has it. The
//!    jobs are not among the control rows: a planted one would then stop every start, and each removal would add to the log.
//! 2. No key of today opens what it removes. The customer has no key in her tenant's tree; no secret of the record opens; the record of an
//!    upload is not stored; the pages are used by no tenant. So an older job of ours that is put back removes nothing either.
//!
//! A job that fails is moved to a row of its own, logged, counted (`oubliette_alerts_total{sort="job_refused"}`) and entered in the log as an alert.
//! A job that cannot be judged, because a page on the way is damaged, stays until it can. A mirror keeps every object that only a refused job
//! would remove.
//!
//! ## Damage
//!
//! | what does not open | what an erasure does |
//! |---|---|
//! | a secret or a segment of the customer's | erasing another record of hers drops it: it is noise, and stays it under the fresh key |
//! | the secret of the customer's profile | refused for single records of hers: under the fresh key it would be lost on the mirrors too. The customer can be erased |
//! | the customer's profile | a record of hers is erased; its receipt names nobody: `receipt verify --customer ""` |
//! | a record's secret, when the record is erased | the customer's key is replaced all the same; the receipt is as usual |
//! | the secret under which a pending erasure is sealed | it is carried out; who asked cannot be told any more, so there is no receipt |
//! | a page on the customer's path | refused for the customers of that page: dropping the page would destroy the others on it. Restore first |
//! | a page below an erased tenant | reported; pages below it stay on the disk |
//! | the page of a tenant | the tenant can be erased, and nothing else is done with it |
//! | a pending erasure, a duty (a receipt that is owed) | it stays, is reported, and keeps no other back; the next start is refused |
//! | a page, when a restore gives all pages fresh keys | it keeps its key, and so does what is below it |
//!
//! All of it is logged with the row, counted (`sort="row_damaged"`), and named by `oubliette verify`. A damaged control row lets the service run
//! and refuses the next start, which says how to go on: restore from a mirror. Where the service replaced or removed the row by then,
//! the log vouches for what it wrote, and the start goes on.
//!
//! ## Receipts
//!
//! A receipt is the ledger's entry with the proof that it is in the log which the service has signed: see [`formats`](super::formats). It
//! states what was erased, the epoch, who asked and who approved, the provider and the class of its medium, whether the root key stood on
//! the device of the data or of a mirror (also where that cannot be told), how many copies of earlier root keys were lost, and from when on
//! it is final. It names nobody. The opening, which only the answer to the request holds, shows whom it is about.
//!
//! ```text
//! oubliette receipt keys > log.keys                      once, and kept elsewhere
//! oubliette receipt verify anna.tlog-proof --key log.keys --customer c-1001 --opening 5f0c...
//! ```
//!
//! `verify` works offline. `tests/interop/verify_receipt.py` does the same from the published texts alone. It is the operator's signed
//! statement: it does not prove that no copy of the root key was made, and until others sign the log too, the operator could show
//! different people different logs.
//!
//! ## What each medium can forget
//!
//! | medium | destruction is final | what it keeps |
//! |---|---|---|
//! | `file` on a disk that overwrites in place | when it was overwritten and synced | nothing but what the disk remaps |
//! | `file` on a flash disk | the same, as far as the host can tell | worn blocks that the host cannot reach; somebody with the chip may |
//! | `file` on a file system that never overwrites in place (btrfs, ZFS, bcachefs, F2FS, NILFS2, UBIFS, JFFS2), or under snapshots | not until the blocks are reused and the snapshots gone | every key ever: a key is not made there, unless `may_share_device` accepts any medium |
//! | `file` in a container's own layer (overlayfs), on NFS, SMB, FUSE | as on the file system below, which the host of the container or the server knows | the same; the log warns at every start. Put it on a volume of its own |
//! | `pkcs11` | when the module has destroyed the object, lists it no more after a fresh start, and no AES key of the token opens what it wrapped, whatever its label | what the module's own backups keep: have none of these keys. A copy that may not decrypt cannot be tried; keys are made so that the token copies none, where it knows such keys |
//! | a cloud's key service (no provider yet) | after its waiting window, of days | what the cloud says |
//!
//! An erasure states the provider, the class of the medium and the instant; nothing more is promised than the medium keeps.
//!
//! ## The runbook of the root key
//!
//! - *Not losing it.* `file`: two or three replicas on different devices (`oubliette root-key add`, then name them in `root_key.replicas`).
//!   Every change goes to all of them. `pkcs11`: a cluster of modules that replicates, and that you trust to destroy.
//! - *Never* copy it into backups. A copy that lives on undoes every erasure since for whoever also has an image of its time.
//! - *A replica is gone.* Erasures stop with `ERASURE_NOT_FINAL`, reads and writes go on. Put it back, or stop the service, take it out of the
//!   configuration, and `oubliette root-key retire <id>` (`status` shows the ids); with `--destroyed` only if somebody saw its medium
//!   destroyed. Otherwise every later receipt states it as lost: whoever finds it opens images of its time. A file of which nothing can be
//!   made counts as gone.
//! - *`add` or `retire` was stopped midway.* Repeat it with the same file or id: it is finished, and exits with 0, also where it was finished
//!   already. A new replica is named by all others before a key stands in it, so erasures stop until then, and `status` shows it. Where the
//!   file is gone meanwhile, `retire` it (`--destroyed` only if somebody saw it destroyed).
//! - *A copy of the old key is in the module*, under another label, or it came back: an erasure is not final while one opens what the old key
//!   wrapped; reads and writes go on, also after a restart. What has our label is destroyed again by itself; destroy the other with the token's own tools.
//! - *All of it is gone.* Then every record is gone, as if all were erased. There is no back door.
//! - *The service says that the database is an older copy.* The pin beside the root key remembers a log that this database does not contain.
//!   Put the newest data back, or restore from the newest mirror.
//!
//! The signing key is another matter: it opens nothing. `oubliette signing-key rotate` replaces it, `replace` makes a new one where it is lost;
//! both are entries of the log, and old receipts check under the old public key.
//!
//! ## What it costs
//!
//! `cargo bench --bench erasure` on two shared cores, root key in a file, receipt, ledger and pin included; customers of 10,000 records are
//! erased between those of one:
//!
//! | customers | mirrors | one alone, p50 / p99 | of 10,000 records, p50 | batches of 1,000 |
//! |---|---|---|---|---|
//! | 1,000 | none | 3.0 / 3.8 ms | 3.0 ms | 5,600/s (of 333) |
//! | 1,000 | one, on the same disk | 3.7 / 4.5 ms | 3.5 ms | 6,000/s (of 333) |
//! | 6,000 | none | 2.8 / 4.0 ms | 2.9 ms | 5,200/s |
//! | 6,000 | one, on the same disk | 3.8 / 4.6 ms | 3.8 ms | 5,400/s |
//! | 1,000,000 | none | 3.6 / 4.8 ms | 3.2 ms | 2,300/s |
//! | 1,000,000 | one, on the same disk | 4.1 / 6.4 ms | 4.0 ms | 2,300/s |
//!
//! The million with `limits.database_cache_bytes` at 1 GiB, where the process took 1.95 GB at its highest: pages that are not in memory are
//! read from the disk, and a batch touches thousands of them. With the default of 32 MiB one alone takes 4.6 / 6.5 ms, and a batch goes at
//! 1,100/s.
//!
//! The table is of layout 1. What layout 2 adds (a digest of each page, sealed sums, hashes of the control rows in memory), both measured
//! one after the other on a slower machine, at 1,000,000 customers without a mirror and with a cache of 1 GiB:
//!
//! | | layout 1 | layout 2 |
//! |---|---|---|
//! | first chats of new customers, a million of them | 1,985/s | 1,444/s |
//! | one customer alone, p50 / p99 | 4.0 / 8.3 ms | 4.7 / 8.6 ms |
//! | of 10,000 records, p50 | 3.9 ms | 4.8 ms |
//! | batches of 1,000 | 1,993/s | 1,183/s |
//! | a start, p50 / p99 | 0.9 / 1.3 s | 3.0 / 3.4 s |
//!
//! A start reads the digests of all pages; with 1,000 customers it takes the same time as before.
//!
//! A mirror takes up to a quarter of the rate at which chats are stored: 5,261/s without and 4,037/s with one in the first seconds, 3,582/s
//! and 3,073/s over 100,000 chats. Readers who take what they get are cut off 1.6 to 2.9 ms after the request (p99 3.5 to 6.0 ms).
//!
//! ## How an auditor checks it
//!
//! - `cargo test hoarder` keeps every version of every row that was ever handed to the disk, through erasures of records, customers and
//!   tenants, failures, restarts, lost disks, restores and compactions, and all that stands in the files of mirrors and backups, and tries
//!   every key that today's root key reaches on all of it: nothing of the erased opens, all of the living does. Exhaustively for small trees (8,008 histories for each choice of names); and with four
//!   faults planted, each of which must let it win. It also compares the orders of all that erased people and orphaned handles show, and
//!   fails if any two go together.
//! - `cargo test crash_matrix` fails disk and provider at every operation, before its effect and behind it, with providers that lie and
//!   inserts that race.
//! - `cargo test restore_drill` loses the disk at every step of an epoch and restores it from a mirror, grafts backups 0 to 50 epochs old onto
//!   the newest keys, and tries stale mirrors.
//! - `cargo test protocol` checks the protocol as a model in all its states in small, with a mirror, crashes, lost disks and restores; and finds
//!   nine wrong orders of steps.
//! - `cargo test old_bytes` finds old pages in sled's raw file, and fails to open them.
//! - `oubliette demo` attacks its own disk image.
//! - Receipts, checked with keys from elsewhere.
//!
//! ## What is not promised
//!
//! - Copies that were read out before, and keys taken from live memory before the epoch.
//! - Images of the root key's own medium. A root key on the device of the data is refused unless accepted, and then every receipt says so.
//! - What the differences between two images taken moments apart tell. The order in which sled wrote its log tells the same; so does a mirror,
//!   which keeps the groups in their order until a new base is made: which tombstone was written shortly before which reclaim job can be
//!   seen there, so whoever has a mirror of that time and today's keys may tie an erased person to the orphaned handle, and to the times of
//!   its records. Their content stays noise.
//! - One case of the power cut: a customer's first write that was *not* acknowledged, and whose pages reached the disk without the database
//!   knowing. If before she comes again her page of the directory gets a fresh key, or another insert that is lost as well had split
//!   it, she gets another handle, and pages of the first that are on no later path keep their keys until an epoch happens to renew them.
//! - An upload that broke off: its secret's row is removed, and the secret is shredded with its customer, not by an epoch of its own.
