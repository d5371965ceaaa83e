//! The ledger for those who examine it: its entries, in their order, and the proofs that go with them. Whoever belongs to a tenant sees the
//! entries of that tenant; whoever belongs to `system` sees all, and with them those about the log itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::core::Core;
use super::format::decode_principal;
use super::people::{alias_of, open_row};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::merkle::{self, Hash, Node};
use crate::audit::note::Checkpoint;
use crate::audit::{Entry, Event, Shown};
use crate::domain::action::Action;
use crate::domain::approval::{Approved, Wanted};
use crate::domain::clock::Timestamp;
use crate::domain::codec::hex;
use crate::domain::ids::{BlindIndex, PrincipalName, TenantId};
use crate::domain::{Invalid, Problem};
use crate::store::{LogTree, rows};

/// Rows read in one go.
const AT_ONCE: usize = 1_024;
/// The most principals whose names are told; of more, only what stands for them in the ledger.
const MAX_NAMES: usize = 10_000;

/// An entry, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its place in the log, from 0.
    pub position: u64,
    /// When it was entered.
    pub entered: Timestamp,
    /// Of which tenant; all zeros for none.
    pub tenant: TenantId,
    /// What happened, as a word.
    pub event: &'static str,
    /// By which operation.
    pub action: Option<Action>,
    /// What stands for the caller.
    pub alias: Option<BlindIndex>,
    /// The caller's name, where it is told and still known.
    pub name: Option<PrincipalName>,
    /// What else it says: fields and their values. Nothing personal.
    pub fields: Vec<(&'static str, String)>,
    /// Its bytes: a leaf of the Merkle tree.
    pub bytes: Vec<u8>,
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Only of this caller.
    pub principal: Option<PrincipalName>,
    /// Only of this event.
    pub event: Option<String>,
}

/// Entries, and where the next page begins.
pub struct LogPage {
    /// The entries.
    pub entries: Vec<Logged>,
    /// The position behind the last one that was looked at.
    pub next: u64,
    /// Whether there is more by now; else the log ends here for now.
    pub has_more: bool,
}

/// Looks at the ledger for somebody. It is made once for a list or a watch.
pub struct Reader {
    core: Arc<Core>,
    /// `None`: of all tenants.
    tenant: Option<TenantId>,
    names: HashMap<BlindIndex, PrincipalName>,
    filter: LogFilter,
    alias: Option<BlindIndex>,
}

impl Vault {
    /// Lets somebody look at the ledger. That stands in it, too.
    pub async fn read_ledger(&self, permit: Permit<TenantScope>, filter: LogFilter) -> Result<Reader, VaultError> {
        self.note(&permit).await?;
        let tenant = permit.resource().tenant;
        let sees_all = permit.principal().is_of_system();
        let core = Arc::clone(&self.core);
        let make = move |_: &Arc<Core>| {
            let names = core.names(tenant)?;
            let keys = core.tenant_keys(tenant)?;
            let alias = filter.principal.as_ref().map(|name| alias_of(&keys, name));
            Ok(Reader { tenant: (!sees_all).then_some(tenant), names, filter, alias, core })
        };
        self.core.blocking(make).await
    }

    /// The log as it stands, signed.
    pub async fn checkpoint(&self, permit: Permit<TenantScope>) -> Result<String, VaultError> {
        self.note(&permit).await?;
        let log = self.core.committer.settled_log().ok_or(VaultError::NotSettled)?;
        let checkpoint = Checkpoint { origin: self.core.log.origin.clone(), size: log.size(), root: log.root() };
        Ok(self.core.log.with_key(|key| checkpoint.sign(key)))
    }

    /// The proof that the entry at `position` is in the log of `size` entries, and the hash of the entry.
    pub async fn inclusion_proof(
        &self,
        permit: Permit<TenantScope>,
        (position, size): (u64, u64),
    ) -> Result<(Hash, Vec<Hash>), VaultError> {
        self.note(&permit).await?;
        let prove = move |core: &Arc<Core>| {
            core.refuse_unsettled("tree_size", size)?;
            if position >= size {
                let allowed = "it must lie below tree_size";
                return Err(Invalid::new("position", Problem::OutOfRange { allowed }).into());
            }
            let tree = LogTree::new(core.db.as_ref());
            let leaf = merkle::Nodes::hash(&tree, Node { level: 0, index: position })?;
            Ok((leaf, merkle::inclusion(&tree, position, size)?))
        };
        self.core.blocking(prove).await
    }

    /// The proof that the log of `to` entries continues that of `from`.
    pub async fn consistency_proof(
        &self,
        permit: Permit<TenantScope>,
        (from, to): (u64, u64),
    ) -> Result<Vec<Hash>, VaultError> {
        self.note(&permit).await?;
        let prove = move |core: &Arc<Core>| {
            core.refuse_unsettled("to_size", to)?;
            if from > to {
                let allowed = "it must not lie above to_size";
                return Err(Invalid::new("from_size", Problem::OutOfRange { allowed }).into());
            }
            Ok(merkle::consistency(&LogTree::new(core.db.as_ref()), from, to)?)
        };
        self.core.blocking(prove).await
    }
}

impl Reader {
    /// Up to `limit` entries from `from` on, looking at no more rows than the limits allow. Each is held against the signed tree.
    pub async fn page(&self, from: u64, limit: usize) -> Result<LogPage, VaultError> {
        let (mut found, mut next, mut looked_at) = (Vec::new(), from, 0);
        let end = self.core.committer.log().size();
        while next < end && found.len() < limit && looked_at < self.core.limits.list_scan_rows {
            let until = end.min(next + AT_ONCE as u64);
            let span = (rows::ledger(next), rows::ledger(until));
            let read = move |core: &Arc<Core>| {
                core.check_ledger(next, until)?;
                Ok(core.db.range(&span.0, &span.1, AT_ONCE)?)
            };
            let some = self.core.blocking(read).await?;
            if some.len() as u64 != until - next {
                return Err(VaultError::damaged("the ledger"));
            }
            for (key, bytes) in some {
                if rows::parse_ledger(&key) != Some(next) {
                    return Err(VaultError::damaged("the ledger"));
                }
                found.extend(self.show(next, bytes)?);
                (next, looked_at) = (next + 1, looked_at + 1);
                if found.len() == limit {
                    break;
                }
            }
        }
        Ok(LogPage { entries: found, next, has_more: next < end })
    }

    /// Where the log ends for now: durable entries only.
    pub fn end(&self) -> u64 {
        self.core.committer.log().size()
    }

    /// The entry, if it is for this reader and fits what is asked for.
    fn show(&self, position: u64, bytes: Vec<u8>) -> Result<Option<Logged>, VaultError> {
        let Entry { at, tenant, caller, event } = Entry::decode(&bytes)?;
        // Of another tenant, and not done to this one.
        let subject = if let Event::Administered { subject, .. } = event { subject } else { tenant };
        if self.tenant.is_some_and(|own| own != tenant && own != subject) {
            return Ok(None);
        }
        let (word, action, mut fields) = (event.name(), event.action(), fields_of(&event));
        let alias = caller.map(|caller| caller.alias);
        if let Some(caller) = caller {
            fields.push(("credential", caller.token.to_string()));
            fields.extend(caller.actor_token.iter().map(|token| ("actor_credential", token.to_string())));
            fields.extend(caller.actor.iter().map(|actor| {
                ("actor", self.names.get(actor).map_or_else(|| actor.to_string(), |name| name.as_str().to_owned()))
            }));
        }
        let is_asked = self.filter.event.as_ref().is_none_or(|asked| asked == word)
            && self.alias.is_none_or(|asked| caller.is_some_and(|caller| caller.is(asked)));
        let name = alias.and_then(|alias| self.names.get(&alias).cloned());
        let logged = Logged { position, entered: at, tenant, event: word, action, alias, name, fields, bytes };
        Ok(is_asked.then_some(logged))
    }
}

impl Core {
    /// The names behind the aliases of a tenant's principals.
    fn names(&self, tenant: TenantId) -> Result<HashMap<BlindIndex, PrincipalName>, VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let (mut from, to) = rows::principals(tenant);
        let mut names = HashMap::new();
        while names.len() < MAX_NAMES {
            let some = self.db.range(&from, &to, AT_ONCE)?;
            let Some((last, _)) = some.last() else { break };
            from = rows::behind(last.clone());
            for (key, sealed) in &some {
                let name = decode_principal(&open_row(&keys.settings, key, sealed, "a principal")?)?.name;
                names.insert(alias_of(&keys, &name), name);
            }
        }
        Ok(names)
    }

    /// What binds the log outside must not be lost with a disk.
    fn refuse_unsettled(&self, field: &'static str, size: u64) -> Result<(), VaultError> {
        let settled = self.committer.settled_log().map_or(0, |log| log.size());
        if size <= settled {
            return Ok(());
        }
        Err(Invalid::new(field, Problem::OutOfRange { allowed: "at most the size of the newest checkpoint" }).into())
    }
}

type Fields = Vec<(&'static str, String)>;

fn text(value: &dyn std::fmt::Display) -> String {
    value.to_string()
}

/// What an event that a caller brought about says, beside its name and action.
fn fields_of(event: &Event) -> Fields {
    match event {
        Event::Stored { handle, record, revision, .. } => {
            vec![("handle", text(handle)), ("record", text(record)), ("revision", text(&revision.0))]
        }
        Event::Read { handle, record, revision, purpose, grants, .. } => vec![
            ("handle", text(handle)),
            ("record", text(record)),
            ("revision", text(&revision.0)),
            ("purpose", text(purpose)),
            ("case_assigned", text(&grants.case_is_assigned)),
            ("glass_broken", text(&grants.glass_is_broken)),
        ],
        Event::Listed { handle, shown, purpose } => {
            let mut fields: Fields = handle.iter().map(|handle| ("handle", text(handle))).collect();
            fields.push(("purpose", text(purpose)));
            match shown {
                Shown::Count(count) => fields.push(("count", text(count))),
                Shown::Records(records) => {
                    let ids: Vec<_> = records.iter().map(|(_, record)| record.to_string()).collect();
                    fields.extend([("count", text(&records.len())), ("records", ids.join(" "))]);
                }
            }
            fields
        }
        Event::Refused { record, .. } => record.iter().map(|record| ("record", text(record))).collect(),
        Event::Repeated { handle, record, .. } => vec![("handle", text(handle)), ("record", text(record))],
        Event::Administered { subject, principal, roles, .. } => {
            let mut fields = vec![("subject", text(subject))];
            fields.extend(principal.iter().map(|principal| ("about", text(principal))));
            fields.extend(roles.iter().map(|roles| ("roles", text(roles))));
            fields
        }
        Event::Granted { granted, .. } => {
            let mut fields = vec![("handle", text(&granted.handle)), ("to", text(&granted.to))];
            fields.extend(granted.until.iter().map(|until| ("until_ms", text(&until.as_ms()))));
            fields
        }
        Event::Approval { approved: Approved { id, wanted: Wanted { raise, ground, expires } }, .. } => vec![
            ("approval", text(id)),
            ("of", text(&id.of)),
            ("erasures", text(&raise.erasures)),
            ("reads", text(&raise.reads)),
            ("customers", text(&raise.customers)),
            ("ground", ground.name().to_owned()),
            ("until_ms", text(&expires.as_ms())),
        ],
        Event::CasesListed { handle } => vec![("handle", text(handle))],
        Event::Alert { sort, about } => vec![("sort", sort.name().to_owned()), ("about", text(about))],
        other => fields_of_the_house(other),
    }
}

/// What an event of the service itself says.
fn fields_of_the_house(event: &Event) -> Fields {
    match event {
        Event::ErasureAsked { receipt } => vec![("receipt", text(receipt))],
        Event::ErasureFinal(erased) => vec![("receipt", text(&erased.receipt)), ("epoch", text(&erased.epoch))],
        Event::Deciding { commitment } => vec![("commitment", hex(commitment))],
        Event::LogKey { public, .. } => vec![("public", hex(public))],
        Event::Policy { text_sha256, is_accepted } => {
            vec![("sha256", hex(text_sha256)), ("accepted", text(is_accepted))]
        }
        Event::AuthenticationFailed { reason, count, sources } => {
            vec![("reason", reason.clone()), ("count", text(count)), ("sources", text(sources))]
        }
        Event::Replica { is_added, was_destroyed } => {
            vec![("added", text(is_added)), ("destroyed", text(was_destroyed))]
        }
        _ => Vec::new(),
    }
}
