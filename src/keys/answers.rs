//! The keys under which answers to erasures are sealed. An answer must outlive the customer for a while, since a caller who missed
//! it asks again; so its key is of the tenant. It must not lead from a person to a receipt for ever; so the key is replaced every
//! day, by an epoch, and a day later it is destroyed like every key of an earlier epoch.

use super::draft::{Change, Draft};
use super::page::{Child, Page};
use super::view::{key_in, tenant_slot};
use super::{NodeId, TreeError};
use crate::crypto::kdf;
use crate::crypto::secret::Key;
use crate::domain::ids::TenantId;

/// The keys for answers of a tenant.
pub struct AnswerKeys {
    /// Seals what is answered now.
    pub current: Key,
    /// Opens what was answered before the last replacement.
    pub earlier: Key,
    /// The UTC day from which on `current` is used, counted from 1970; 0 for the first key.
    pub day: u32,
    /// The same of `earlier`. What was answered before that day opens no more.
    pub earlier_day: u32,
}

impl AnswerKeys {
    /// The keys in a tenant's page. A page of layout 1 has none; until the upgrade adds them, others take their place.
    pub(super) fn of(page: &Page, node: NodeId) -> Result<Self, TreeError> {
        let Some(child) = page.child(tenant_slot::ANSWERS) else {
            let settings = key_in(page, tenant_slot::SETTINGS, node)?;
            let stand_in = kdf::derive(&settings, "oubliette answers before layout 2", &[]);
            return Ok(Self { earlier: stand_in.duplicate(), current: stand_in, day: 0, earlier_day: 0 });
        };
        let earlier = page.child(tenant_slot::EARLIER_ANSWERS).ok_or(TreeError::CannotOpen(node))?;
        Ok(Self {
            current: child.key.duplicate(),
            earlier: earlier.key.duplicate(),
            day: day_of(child),
            earlier_day: day_of(earlier),
        })
    }
}

/// A fresh key for answers. It seals no page, so its id holds the day from which on it is used.
pub(super) fn answer_key(slot: u8, day: u32) -> Child {
    let mut id = [0xff; 16];
    id[12..].copy_from_slice(&day.to_be_bytes());
    Child { slot, id: NodeId(id), key: Key::random() }
}

fn day_of(child: &Child) -> u32 {
    let day = child.id.0.last_chunk().expect("an id has 16 bytes");
    u32::from_be_bytes(*day)
}

impl Draft<'_> {
    /// Adds keys for answers to the page of a tenant that has none; says whether it had none.
    pub fn add_answer_keys(&mut self, tenant: TenantId) -> Result<bool, TreeError> {
        let node = self.tenant_node(tenant)?;
        let tenant = self.node(node);
        let Page::Inner(children) = &mut tenant.page else { return Err(TreeError::CannotOpen(node)) };
        if children.iter().any(|child| child.slot == tenant_slot::ANSWERS) {
            return Ok(false);
        }
        children.extend([answer_key(tenant_slot::ANSWERS, 0), answer_key(tenant_slot::EARLIER_ANSWERS, 0)]);
        tenant.change = tenant.change.max(Change::Rewritten);
        Ok(true)
    }

    /// Replaces a tenant's keys for answers, unless that was done on `day` or later; says whether it replaced them. The pages on
    /// the way to them get fresh keys, so the key that goes is destroyed with the epoch.
    pub fn replace_answer_keys(&mut self, tenant: TenantId, day: u32) -> Result<bool, TreeError> {
        let path = self.tenant_path(tenant)?;
        let node = *path.last().ok_or(TreeError::NoSuchLeaf)?;
        let Page::Inner(children) = &mut self.node(node).page else { return Err(TreeError::CannotOpen(node)) };
        let place = |slot| children.iter().position(|child| child.slot == slot).ok_or(TreeError::CannotOpen(node));
        let (current, earlier) = (place(tenant_slot::ANSWERS)?, place(tenant_slot::EARLIER_ANSWERS)?);
        if day_of(&children[current]) >= day {
            return Ok(false);
        }
        let replaced = std::mem::replace(&mut children[current], answer_key(tenant_slot::ANSWERS, day));
        children[earlier] = Child { slot: tenant_slot::EARLIER_ANSWERS, ..replaced };
        self.rekey(&path);
        Ok(true)
    }

    fn tenant_node(&mut self, tenant: TenantId) -> Result<NodeId, TreeError> {
        self.tenant_path(tenant)?.last().copied().ok_or(TreeError::NoSuchLeaf)
    }
}
