//! What a permit says, put to Cedar as a request with its entities. No names of people go in: ids and roles are enough.

use std::collections::{HashMap, HashSet};

use cedar_policy::entities_errors::EntitiesError;
use cedar_policy::{
    Context, ContextCreationError, Entities, Entity, EntityAttrEvaluationError, EntityId, EntityTypeName, EntityUid,
    Request, RequestValidationError, RestrictedExpression as Value, Schema,
};

use super::permit::TenantScope;
use crate::domain::action::Action;
use crate::domain::codec::hex;
use crate::domain::grant::{Grants, Why};
use crate::domain::ids::{
    BlindIndex, Handle, PrincipalName, Purpose, RecordId, Revision, TenantId, TenantName, TokenId,
};
use crate::domain::principal::{Principal, Role};
use crate::domain::record::{RecordFacts, RecordKind};
use crate::domain::sensitive::SensitiveKind;

/// The words of our questions in Cedar's types, made once.
pub(super) struct Vocabulary {
    types: Types,
    /// Each action, with the groups of the schema that it is in.
    actions: HashMap<Action, Entity>,
    see_sensitive: Entity,
}

/// What is asked for each kind of what is sensitive in a record: no method of its own, it comes with reading.
pub(super) const SEE_SENSITIVE: &str = "SeeSensitive";

pub(super) struct Types {
    tenant: EntityTypeName,
    principal: EntityTypeName,
    record: EntityTypeName,
}

/// A question that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unaskable {
    /// An attribute cannot be made.
    #[error(transparent)]
    Attribute(#[from] Box<EntityAttrEvaluationError>),
    /// The entities do not go together, or do not fit the schema.
    #[error(transparent)]
    Entities(#[from] Box<EntitiesError>),
    /// The context cannot be made.
    #[error(transparent)]
    Context(#[from] Box<ContextCreationError>),
    /// The request does not fit the schema.
    #[error(transparent)]
    Request(#[from] Box<RequestValidationError>),
}

/// What is asked of the policy.
pub(super) struct Asked<'a, R> {
    pub principal: &'a Principal,
    pub action: Action,
    pub why: Option<&'a Why>,
    pub resource: &'a R,
}

/// What a permit can be for.
pub(super) trait Resource {
    /// The entity that stands for it, with its attributes where the rules may ask for them.
    fn entity(&self, types: &Types) -> Result<Entity, Unaskable>;
}

impl Vocabulary {
    pub(super) fn of(schema: &Schema) -> Self {
        let type_name = |name: &str| name.parse::<EntityTypeName>().expect("a plain word is a type name");
        let action_type = type_name("Action");
        let in_schema = schema.action_entities().unwrap_or_else(|_| Entities::empty());
        let action = |action: Action| (action, with_groups(uid(&action_type, action.name()), &in_schema));
        Self {
            types: Types {
                tenant: type_name("Tenant"),
                principal: type_name("Principal"),
                record: type_name("Record"),
            },
            actions: Action::ALL.into_iter().map(action).collect(),
            see_sensitive: with_groups(uid(&action_type, SEE_SENSITIVE), &in_schema),
        }
    }

    /// What is asked, as a question to Cedar, held against `schema` where one is given.
    pub(super) fn question<R: Resource>(
        &self,
        asked: &Asked<'_, R>,
        schema: Option<&Schema>,
    ) -> Result<(Request, Entities), Unaskable> {
        let caller = self.types.caller(asked.principal)?;
        let resource = asked.resource.entity(&self.types)?;
        let purpose = asked.why.map(|why| ("purpose".to_owned(), string(why.purpose.as_str())));
        let action = &self.actions[&asked.action];
        let context = Context::from_pairs(purpose).map_err(Box::new)?;
        let request = Request::new(caller.uid(), action.uid(), resource.uid(), context, schema).map_err(Box::new)?;
        // The groups themselves are left out: nothing asks for more than whether the action is in them, and each entity costs.
        let entities = Entities::from_entities([action.clone(), caller, resource], schema).map_err(Box::new)?;
        Ok((request, entities))
    }

    /// Whether whoever asks sees what is of a kind in the record, as a question to Cedar.
    pub(super) fn sensitive(
        &self,
        asked: &Asked<'_, RecordFacts>,
        kind: SensitiveKind,
        schema: Option<&Schema>,
    ) -> Result<(Request, Entities), Unaskable> {
        let caller = self.types.caller(asked.principal)?;
        let resource = asked.resource.entity(&self.types)?;
        let purpose = asked.why.map(|why| ("purpose".to_owned(), string(why.purpose.as_str())));
        let kind = ("kind".to_owned(), string(kind.name()));
        let context = Context::from_pairs(purpose.into_iter().chain([kind])).map_err(Box::new)?;
        let action = &self.see_sensitive;
        let request = Request::new(caller.uid(), action.uid(), resource.uid(), context, schema).map_err(Box::new)?;
        let entities = Entities::from_entities([action.clone(), caller, resource], schema).map_err(Box::new)?;
        Ok((request, entities))
    }

    /// Holds the form of that question against `schema`.
    pub(super) fn try_out_sensitive(&self, schema: &Schema) -> Result<(), Unaskable> {
        let (principal, record, why) = (any_principal(), any_record(), Why { purpose: any_purpose(), case: None });
        let action = Action::GetTranscript;
        let asked = Asked { principal: &principal, action, why: Some(&why), resource: &record };
        self.sensitive(&asked, SensitiveKind::Other, Some(schema)).map(drop)
    }

    /// Holds every form of question that `action` can lead to against `schema`.
    pub(super) fn try_out(&self, action: Action, schema: &Schema) -> Result<(), Unaskable> {
        let why = action.needs_purpose().then(|| Why { purpose: any_purpose(), case: None });
        let (principal, why) = (any_principal(), why.as_ref());
        let door = TenantScope { tenant: ANY_TENANT };
        self.question(&Asked { principal: &principal, action, why, resource: &door }, Some(schema))?;
        if action.needs_purpose() {
            let record = any_record();
            self.question(&Asked { principal: &principal, action, why, resource: &record }, Some(schema))?;
        }
        Ok(())
    }
}

impl Resource for TenantScope {
    fn entity(&self, types: &Types) -> Result<Entity, Unaskable> {
        Ok(Entity::with_uid(types.tenant(self.tenant)))
    }
}

impl Resource for RecordFacts {
    fn entity(&self, types: &Types) -> Result<Entity, Unaskable> {
        let kind = match self.kind {
            RecordKind::Transcript => "transcript",
            RecordKind::Recording => "recording",
        };
        let attributes = [
            ("tenant", Value::new_entity_uid(types.tenant(self.tenant))),
            ("kind", string(kind)),
            ("in_callers_team", Value::new_bool(self.callers_team.is_some())),
            ("handled_by_caller", Value::new_bool(self.handled_by_caller)),
            ("of_stated_case", Value::new_bool(self.is_of_stated_case)),
            ("case_assigned", Value::new_bool(self.grants.case_is_assigned)),
            ("glass_broken", Value::new_bool(self.grants.glass_is_broken)),
            ("purposes", strings(self.purposes.iter().map(Purpose::as_str))),
        ];
        entity(uid(&types.record, &hex(self.id.as_bytes())), attributes)
    }
}

impl Types {
    fn caller(&self, principal: &Principal) -> Result<Entity, Unaskable> {
        let attributes = [
            ("tenant", Value::new_entity_uid(self.tenant(principal.tenant))),
            ("roles", strings(principal.roles.iter().map(|role| role.name()))),
            ("of_system", Value::new_bool(principal.is_of_system())),
        ];
        entity(uid(&self.principal, &hex(principal.alias.as_bytes())), attributes)
    }

    fn tenant(&self, id: TenantId) -> EntityUid {
        uid(&self.tenant, &hex(id.as_bytes()))
    }
}

fn with_groups(action: EntityUid, in_schema: &Entities) -> Entity {
    let groups = in_schema.ancestors(&action).into_iter().flatten().cloned().collect();
    Entity::new_no_attrs(action, groups)
}

fn entity<const N: usize>(uid: EntityUid, attributes: [(&str, Value); N]) -> Result<Entity, Unaskable> {
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Entity::new(uid, attributes, HashSet::new()).map_err(Box::new)?)
}

fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    Value::new_set(texts.map(string))
}

fn string(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

const ANY_TENANT: TenantId = TenantId([1; 16]);

fn any_purpose() -> Purpose {
    Purpose::parse("support").expect("a plain word is a purpose")
}

fn any_principal() -> Principal {
    Principal {
        tenant: ANY_TENANT,
        tenant_name: TenantName::parse("any").expect("a plain word is a tenant's name"),
        name: PrincipalName::parse("any").expect("a plain word is a principal's name"),
        alias: BlindIndex([2; 16]),
        roles: Role::ALL.into(),
        teams: [].into(),
        token: TokenId([3; 16]),
        actor: None,
        actor_token: None,
    }
}

fn any_record() -> RecordFacts {
    RecordFacts {
        tenant: ANY_TENANT,
        id: RecordId::from_bytes([4; 16]),
        revision: Revision::FIRST,
        kind: RecordKind::Transcript,
        handle: Handle([5; 16]),
        callers_team: None,
        handled_by_caller: false,
        is_of_stated_case: false,
        grants: Grants::default(),
        purposes: vec![any_purpose()],
    }
}
