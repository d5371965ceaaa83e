//! # Operations
//!
//! ## Setting up
//!
//! `oubliette init --dir DIR --root-key FILE` makes everything and touches nothing that exists: `DIR/oubliette.toml` (each setting with
//! its meaning, unit, default and range), `DIR/tls/` (a private CA and the server's certificate), `DIR/data/`, `DIR/profile.toml` for
//! clients, the root key, and one admin token of the tenant `system`, shown once.
//!
//! `oubliette serve --config DIR/oubliette.toml` serves until SIGTERM or SIGINT, then drains: health says "not serving", no new calls come in,
//! open ones may end within `limits.shutdown_grace_ms`. On SIGHUP it takes mirrors, policy, the server's
//! certificate, and the authorities and revocation lists of clients over from the configuration, and nothing else.
//!
//! ## Clients with certificates
//!
//! - `listen.tls.client_ca` names the authorities whose clients may come with a certificate, and `client_certificates` whether they must. A
//!   client is known by the SPIFFE ID in its certificate, or else by its subject as RFC 4514 writes it; a certificate whose name could be read
//!   in two ways is refused in the handshake. Give each authority a name of its own, also when its key is renewed: lists are found by that name.
//! - `listen.tls.client_crls` names the revocation lists, one of each authority in the chains, the root too. With one, a certificate that
//!   no list covers is refused, and so is one whose list has expired: put the next list there before (write it beside, and rename it). Lists are
//!   read again every 15 s and on SIGHUP; what was revoked is refused within a minute, also on open connections. A list that cannot be used, or
//!   is older than the one in use, changes nothing, and the log says so every time; `oubliette_alerts_total` counts `client_trust_refused`,
//!   `client_crl_expired` and `tls_certificate_refused`.
//! - Why a client is not let in, `oubliette_handshake_failures_total` tells by reason, and the log at `info,oubliette::api=debug` by address.
//! - Whom a certificate stands for, an admin of `system` says: `oubliette token bind-certificate platform spiffe://example.org/platform --tenant acme`. (Not
//!   the tenant's own admins: they could claim the client of another.) It is listed, ends and is revoked as a token. A token that comes over such
//!   a connection decides, and the ledger names both; the two must be of one tenant. A certificate that is bound to nobody, or not any more, adds nothing to a token.
//!   Names are taken whichever of the authorities vouches for them: **each authority in `client_ca` can be every client that is bound**.
//! - The command line comes with one by `--client-certificate` and `--client-key` (or the profile), and needs no token then.
//! - A certificate that is not believed any more is refused, whatever comes with it, on the next call and out of open streams.
//! - The server's own certificate is read again on SIGHUP. Sessions are not resumed: each connection has a whole handshake.
//!
//! ## The root key
//!
//! - It stands in a file (or replicas of one) on another device than the data, or in a security module (`init --pkcs11-module ...`). On the
//!   data's own device, or on a file system that never overwrites in place (btrfs, ZFS, ...), it is refused unless
//!   `root_key.may_share_device` accepts it.
//! - Every erasure replaces it. **A copy of it is worthless after the next erasure, and dangerous before it**: with the copy and an
//!   image of the data, every erasure after the copy is undone. So it does not belong in ordinary backups.
//! - The service refuses to start with a missing or older one, and says which key it needs; and with a database that is older than the log
//!   that is pinned beside the root key.
//! - How not to lose it, and what to do when a part of it is lost: [`erasure`](super::erasure), the runbook.
//!
//! `DIR/signing.key` signs the log, and so every receipt. Keep it out of the backups of the data too.
//!
//! ## Mirrors, backups, restores
//!
//! An erasure makes every older copy of the keys useless, also those that one would like to restore from. So an ordinary copy of the data
//! directory is no backup. What is:
//!
//! - A *mirror* is a directory on another disk that gets every committed group of rows and every object, sealed as they are:
//!   `oubliette mirror add /mnt/b/oubliette --config ...`, then SIGHUP to the service (`kill -HUP`, `systemctl reload`); it makes the first copy
//!   while it serves. (Only a directory that was made so is written to: the mount point of a disk that is not mounted is not.) Rows are on it
//!   some milliseconds later, objects a moment later. Roles, tokens, settings, receipts and erasures are acknowledged only when all mirrors have
//!   them, and so not before a new one has its first copy. `--keys-only` goes without content: small, and enough to open a backup of the
//!   content. `mirror status` shows how far each is.
//! - *A mirror is complete* once it has every object that its rows name. Rows come first, so a new mirror has all groups while its objects are still
//!   being copied, for hours where there are recordings. A durable mark in its directory (`objects-complete`) says up to which group the objects are
//!   complete; it is written only after they are synced, and bound to the generation of the rows, and what has no mark is not complete. `mirror
//!   status` shows `complete`, how many objects and bytes were compared, and about how long the rest takes; the metrics
//!   `oubliette_mirror_objects_behind` and `oubliette_mirror_objects_complete` show it for each mirror, also the lag after quick uploads. `backup`
//!   copies no incomplete mirror (exit code 7) unless `--allow-incomplete` is given, and gives a backup a mark of its own; `mirror remove`
//!   does not remove the last complete mirror while another one of everything is incomplete, unless `--force` is given.
//! - *A mirror that fails* (unmounted, full, too slow) stops erasures and changes of roles and tokens (`NOT_MIRRORED`, and the log says which and
//!   why), and nothing else; the metrics `oubliette_mirrors_failing` and `oubliette_mirror_groups_behind` show it. It is tried again every five
//!   seconds, and goes on where it was; if it missed something, with a new copy.
//!   To go on without it: `oubliette mirror remove`, and SIGHUP. Objects that it has and that are missing in the data directory are never deleted
//!   there while a record may need them; the log and `oubliette_mirrors_failing` tell of them.
//! - A *backup* is a copy of a mirror: `oubliette backup --to /mnt/tape/oubliette`, while the service goes on; a second one copies what is new.
//!   **It opens only together with the newest mirror**, at least one of the keys: so keep that mirror somewhere else than the data. Objects of
//!   what was erased stay in it as noise until `--prune` removes what the mirror does not have any more.
//! - *Restoring*: stop the service, and see that `data.dir` is empty or gone; it may be a disk of its own. It can be interrupted and begun again:
//!   nothing but the data directory is changed, and erasures that were under way are finished at the next start.
//!   `oubliette restore --from-mirror DIR` brings back the newest state;
//!   `oubliette restore --from BACKUP --mirror DIR` takes all keys and everything that decides from the mirror, and content from the backup. It opens
//!   every record, and names those that it could not bring back: then the exit code is 7, although the data directory is in its place and can be
//!   served; `--allow-missing` accepts the loss with exit code 0. Objects that the mirror lacks are taken from the other mirrors of everything
//!   in the configuration, so it loses nothing that one of them holds. Nobody who was erased comes back, whatever the age of the backup. A mirror
//!   that is not the newest is refused, because its log does not contain the pinned one or the root key does not open it; nothing is
//!   changed then. After a restore from keys and a backup the mirrors begin anew with what was restored; so it is refused while a mirror of
//!   everything has more, or is not there to be looked at.
//! - `oubliette verify` has the running service open every record, in steps, and names what does not open; it needs a token of an admin of
//!   `system`, and shows nothing of them.
//! - *Exit codes* of all commands: 0 done, 1 other failure, 2 usage, 3 refused, 4 not found, 5 unavailable (try again), 6 bad input, 7 incomplete
//!   (records or objects are missing).
//! - *A command that was killed is repeated.* `root-key add`, `root-key retire`, `mirror add`, `signing-key replace` and `compact` finish what
//!   was interrupted, and exit with 0 where it was finished already. `signing-key rotate` rotates once more. `mirror remove` of a directory that
//!   is not among the mirrors (any more) exits with 2, as one that never was. `init` never touches what exists: remove what it lists.
//!
//! ## Disk space
//!
//! sled keeps what was replaced or removed in its log, and its file never shrinks. So erasing adds to the file at first.
//!
//! - A running service looks every `limits.compact_check_s` (an hour; the first time a minute after its start) how much of the database counts.
//!   Once `limits.compact_dead_percent` (50) of the file and `limits.compact_dead_bytes` (256 MiB) are dead, it compacts the database while reads
//!   and writes go on: the rows that count are copied to `db.compact` in chunks of 64, and the two folders are exchanged. A write waits for one
//!   chunk at most, and once for the sync of what was written last and the exchange; the log says how long that was (`longest_pause_ms`).
//!   The metrics `oubliette_database_file_bytes`, `_live_bytes` and `_reclaimable_bytes` show the last look, `oubliette_compactions_total` and
//!   `oubliette_compactions_failed_total` what came of it. A crash at any moment leaves the old or the new database, both complete.
//! - It needs room for the rows that count, about 1.6 times their bytes (small databases more; the first compaction
//!   measures it), and 32 MiB that stay free. It may use `limits.disk_reserve_bytes`, since it
//!   gives space back. Without room it is refused, with the bytes that it needs and that are free, and the service goes on as it was.
//! - `oubliette compact` does the same for a stopped service. Where there is no room for a second database, `oubliette compact --via DIR` makes the copy
//!   on another disk, reads it back, removes the old database and puts the copy in its place. If that is interrupted, no start opens the vault
//!   until the command was repeated: the database counts in `DIR` then.
//! - No erasure waits for a compaction, and none needs it: of what was erased, the old file holds ciphertext whose keys are gone.
//!
//! The root key is in none of these. Without it they are noise.
//!
//! ## Tenants and people
//!
//! Admins of `system` create tenants and set quotas; admins of a tenant manage its settings, principals and tokens. Neither reads
//! content. The roles are `ingest`, `agent`, `supervisor`, `privacy_officer`, `auditor` and `admin`. What each may do stands in
//! `src/access/policy/default.cedar`, written to be read by people, with the whole table beside it in `matrix.txt`.
//!
//! - A policy of your own goes to `policy.file`: `oubliette policy check FILE` says whether it fits, SIGHUP takes it over. One that cannot be
//!   used changes nothing: the log says so as an error, `oubliette_alerts_total{sort="policy_refused"}` counts it, and so does the ledger, which
//!   names each policy that decides by the SHA-256 of its text. `oubliette policy explain --as ana --action GetTranscript ...` tells by which
//!   rules a decision comes about.
//! - An agent reads on a *case*: the platform (or a supervisor) assigns a case of a customer to a principal until a time (`oubliette case
//!   assign`, at most 90 days), and a read that states it (`--on-case`) sees what belongs to that case, to the agent's teams or to the agent.
//!   A case that is merely stated counts for nothing.
//! - *Breaking the glass* (`oubliette case break-glass`) lets an agent read one customer's records for up to an hour, with a written reason. It
//!   is an alert at once. Whether there is such a customer is not told.
//! - *Freezing* a tenant (`oubliette tenant freeze`, for its admins and privacy officers) ends all reading of its content, downloads that run and
//!   lists of cases included; `oubliette verify` passes it over; storing and erasing go on. Its admins unfreeze it.
//! - A token that is revoked, a role or case that is taken, a policy that changes: it counts from the next call on, and a download or upload
//!   that is open ends within `limits.access_recheck_ms` (15 s; 30 s at most).
//!
//! ## Issuers of tokens
//!
//! Besides its own tokens the service takes those of issuers of OpenID Connect, one section `[[identity.issuers]]` each: `issuer` and
//! `audience` must be exactly those of the token, keys come from `keys_file` or `keys_url` (https), and the claims that name principal, roles,
//! teams and tenant are configured. Only RS, PS, ES and EdDSA; `exp` is required; 60 s of leeway; no token of an issuer is of the tenant `system`, or lives
//! longer than `max_life_s` (a day). `tenants` bounds what `tenant_claim` may name. Names of principals are one space for a tenant: two issuers that may name the
//! same tenant need a `name_prefix` each, or the service does not start.
//! Keys are fetched again after `refresh_s`, or when a token names an unknown one, but not more often than every `pause_s`.
//!
//! - A platform that calls for its agent sends its own token in `authorization` and the agent's in `on-behalf-of`, or a token with the claim `act`
//!   (RFC 8693), in which `actor_claim` (as `name_claim`, if not set) names the platform. The agent decides what may be seen; the ledger names both.
//! - `oubliette principal set --blocked` keeps somebody out whatever an issuer says, from the next call on and out of open streams. A principal that the tenant
//!   knows has none of an issuer's roles that the tenant does not give: so `principal set` takes a role back at once. One token that was stolen is revoked by
//!   what the ledger shows as its `credential` (`oubliette token revoke ID --issued-to ana`). What is taken back at the issuer alone ends with the token.
//! - An address with too many failed logins is refused for the rest of the minute, but for those who were let in from anywhere within the last hour.
//!
//! ## Ceilings
//!
//! `[ceilings.agent]`, `[ceilings.supervisor]` and `[ceilings.privacy_officer]` say how much one principal may read in a minute and a day, and how many
//! different customers in a day (UTC); a list counts as many reads as it may show, and each range of a recording counts. What is above is refused with
//! `READ_CEILING`. Half the way to one of a day's is an alert (`unusual_reading`), a refusal is one (`ceiling_met`), once a day each and principal (a refusal
//! once more after a restart): in the ledger, and in `oubliette_alerts_total`. Every refusal is an entry. A page of a list is at most as long as may be read in a minute.
//!
//! ## What needs two people
//!
//! `erasures_per_day` says how many erasures one principal may ask for alone in a day; a list beyond it is refused as a whole with `APPROVAL_NEEDED`. Whoever
//! needs more, of erasing or of reading, asks (`oubliette approval request --erasures 400 --ground retention_over`), and somebody else gives it
//! (`approval give ID`): a supervisor, a privacy officer or an admin of the tenant. Not the one who asked, nor who comes through the same platform's account.
//! Whoever asked may then ask for so many erasures more in all, or read so much more on each day (UTC), for a working day or as long as was asked, at most 24 hours; the ceilings of
//! a minute and of a tenant's hour (`limits.erasures_per_hour`) stay. `approval withdraw` ends it with the next call. Each step is in the ledger (`approval`), and the receipt of an
//! erasure that needed it names who approved. Why it is needed is one word of a list, as a text could name customers, and would outlive them.
//!
//! ## The ledger
//!
//! - `oubliette audit list` and `watch` show it to auditors and privacy officers, `watch --from-position N` goes on where a collector stopped. Names of principals are
//!   shown as long as their tenant knows them.
//! - `oubliette audit export --to DIR` copies the log, and copies only what is new the next time. `oubliette audit verify DIR --key FILE --earlier CHECKPOINT` holds the
//!   copy to itself, to the keys, and to a checkpoint from before.
//! - A witness runs `oubliette audit witness` with a key of its own on what `audit request` writes; `audit cosign` adds its answer to the
//!   checkpoint. `verify --witness KEY` fails where one of the witnesses that are named has not cosigned, or fewer than `--quorum`.
//! - After a leak: `oubliette audit exposure --principal ana --from T --before T -o FILE` names every customer and record that was touched by somebody,
//!   or through somebody who called for others (a platform, by its name or its token), signed; `verify-exposure` checks it offline. Nobody reports about oneself.
//!   Two are made at once. Of a tenant that is frozen it names handles only.
//! - After each start the whole log is read in the background and held against its tree; whatever is shown, reported or signed of it is held against it
//!   before. If it is not as it was logged, the log of the service says so, and the alert `log_damaged`.
//! - Before anything is read its entry is durable. So while the log cannot be written (`CLOSED_TO_WRITES`), nothing is read. The service then begins anew by
//!   itself, reads from the disk what is there, and tries every few seconds until it can write again; the alert is `store_closed`.
//!
//! ## When something is wrong
//!
//! | words | what to do |
//! |---|---|
//! | closed to writes after a failed write | look at the disk; the service begins anew until it can write; what was acknowledged is there |
//! | full up to its reserve | erasure, audit and reads go on; free space, or lower `limits.disk_reserve_bytes` for a while |
//! | memory is not locked | set `LimitMEMLOCK=infinity` for the service, or run without swap or with an encrypted one |
//! | the erasure is not final (`ERASURE_NOT_FINAL`) | the log says why, most often the root key's medium; the customer is refused to everybody meanwhile. Repeat the request: it goes on where it stopped. After a restart it goes on by itself |
//! | it is not on its mirrors yet (`NOT_MIRRORED`) | `oubliette mirror status`, and the log: the mirror's disk. Repeat the call then |
//! | the mirror is not there, or has more (at a restore) | mount its disk, or restore from it alone; `mirror remove` if it is lost |
//! | objects are not there, or missing | mount the disk of `data/objects`; if it is lost, stop the service and copy `objects` of a mirror there |
//! | the root key's medium remembers no log | it is not the one of this vault, or was written to past the service: put the right one back |
//! | the token refuses the PIN, or is locked | the PIN was tried once and is not tried again, because tokens count. Write the right one to `root_key.pin_file`; a PIN that is written again is tried again, without a restart. Let nothing restart the service in a loop: each start tries once |
//! | the root key in the token is not made in the module, or not kept from being extracted | somebody put a key under our label; see who. The service starts when it is gone |
//! | the mirror is newer than this database | this database is an older copy: restore from the mirror |
//! | integrity check failed: control rows do not match the audit log | somebody or something wrote to the database past the service: keep a copy, and restore from a mirror |
//! | integrity check failed: page ... of the key tree (`KEY_TREE_DAMAGED`, alert `key_tree_damaged`) | the same, or the disk lost a write. The customers of this page are refused until it is mended, all others are served. Keep a copy, stop, and restore from a mirror |
//! | the database is upgraded to a new layout | nothing: it happens once, at the first start of a newer program, and continues after an interruption. An earlier program refuses the data afterwards. Mirrors follow by themselves |
//! | does not verify | the record was damaged or tampered with; nothing of it was released |
//!
//! ## sled
//!
//! The embedded engine is sled 0.34.7, with what it lacks added in `store/sled_engine.rs`: an fsync after its flush, directories synced,
//! leftover snapshots removed, a replay without snapshots where it cannot open. That replay can find nothing (seen in about one of fifty
//! databases that were opened three times), and sled then overwrites the log: so the log is copied aside first, and put back. Where it
//! succeeds, the copy stays in `data/db/set-aside-N` until you remove it. Its unmaintained dependencies `fxhash`
//! (RUSTSEC-2025-0057) and `instant` (RUSTSEC-2024-0384) are known.
