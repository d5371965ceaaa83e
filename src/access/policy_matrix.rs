//! The whole matrix of roles, actions and resources, as the policy decides it, held against the committed `policy/matrix.txt`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::permit::{Permit, TenantScope};
use super::policy::Policies;
use super::{Access, Refused};
use crate::domain::action::Action;
use crate::domain::grant::{Grants, Why};
use crate::domain::ids::{
    BlindIndex, Handle, PrincipalName, Purpose, RecordId, Revision, TeamName, TenantId, TenantName, TokenId,
};
use crate::domain::principal::{Principal, Role};
use crate::domain::record::{RecordFacts, RecordKind};
use crate::domain::sensitive::SensitiveKind;

const OWN: TenantId = TenantId([1; 16]);
const OTHER: TenantId = TenantId([2; 16]);

#[test]
fn the_matrix_is_the_committed_one() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/access/policy/matrix.txt");
    let matrix = matrix(&Access::new(Policies::default_policy()));
    if std::env::var_os("OUBLIETTE_BLESS").is_some() {
        std::fs::write(file, &matrix).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    let differs = matrix.lines().zip(committed.lines()).find(|(now, then)| now != then);
    assert!(
        matrix == committed,
        "the policy decides otherwise than {file} says (first difference: {differs:?}).\n\
         If that is meant, write it anew with `OUBLIETTE_BLESS=1 cargo test --lib policy_matrix` and have the difference reviewed."
    );
}

#[test]
fn no_combination_of_roles_reads_as_admin_or_auditor_or_crosses_tenants() {
    let access = Access::new(Policies::default_policy());
    for bits in 0_u32..1 << Role::ALL.len() {
        let roles: Vec<Role> =
            Role::ALL.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, role)| role).collect();
        let one = principal("acme", &roles);
        let examines = roles.contains(&Role::Admin) || roles.contains(&Role::Auditor);
        for action in Action::ALL {
            let allowed_in = |tenant| access.door(&one, action, tenant, purpose("support")).is_ok();
            assert!(!allowed_in(OTHER), "{roles:?} {action:?}");
            assert!(!(examines && action.needs_purpose() && allowed_in(OWN)), "{roles:?} {action:?}");
            let system = access.door(&principal("system", &roles), action, OWN, purpose("support"));
            assert!(!(action.touches_records() && system.is_ok()), "{roles:?} {action:?}");
        }
    }
}

#[test]
fn a_policy_that_allows_everything_still_cannot_cross_tenants_or_turn_a_write_into_a_read() {
    let everything = "permit (principal, action, resource);";
    let policies = Policies::load(include_str!("policy/schema.cedarschema"), everything).unwrap();
    let access = Access::new(policies);
    let supervisor = principal("acme", &[Role::Supervisor]);
    let door = |action, tenant| access.door(&supervisor, action, tenant, purpose("support"));
    assert_eq!(door(Action::GetTenant, OTHER).unwrap_err(), Refused::NotAllowed);
    assert_eq!(
        access.door(&principal("system", &[]), Action::ListRecords, OTHER, purpose("support")).unwrap_err(),
        Refused::NotAllowed
    );
    assert_eq!(access.door(&supervisor, Action::GetRecord, OWN, None).unwrap_err(), Refused::NoPurpose);
    let read = door(Action::GetRecord, OWN).unwrap();
    let permit = access.record(&read, record(Relation::NEAR)).unwrap();
    assert_eq!((permit.resource().id, permit.why()), (record(Relation::NEAR).id, purpose("support").as_ref()));
    assert_eq!(access.record(&read, facts(OTHER, Relation::NEAR)).unwrap_err(), Refused::NotThisRecord);
    let write = door(Action::CreateTranscript, OWN).unwrap();
    assert_eq!(write.why(), None);
    assert_eq!(access.record(&write, record(Relation::NEAR)).unwrap_err(), Refused::NotThisRecord);
}

#[test]
fn the_policy_alone_keeps_records_of_other_tenants_apart() {
    let policies = Arc::new(Policies::default_policy());
    for role in Role::ALL {
        let caller = principal("acme", &[role]);
        let door = Permit::through_door(&policies, &caller, Action::GetRecord, OWN, purpose("support"));
        assert!(!policies.allow(&door.narrowed(facts(OTHER, Relation::NEAR))), "{role:?}");
        let door = Permit::<TenantScope>::through_door(&policies, &caller, Action::GetTenant, OTHER, None);
        assert!(!policies.allow(&door), "{role:?}");
    }
}

/// A record, seen from the caller, and a purpose for which it is asked.
#[derive(Clone, Copy)]
struct Relation {
    in_team: bool,
    handled: bool,
    of_case: bool,
    assigned: bool,
    glass: bool,
    purpose: &'static str,
}

impl Relation {
    /// Of no team of the caller's, handled by another, no case stated.
    const STRANGE: Self =
        Self { in_team: false, handled: false, of_case: false, assigned: false, glass: false, purpose: "support" };
    /// As near as can be.
    const NEAR: Self = Self { in_team: true, handled: true, of_case: true, assigned: true, ..Self::STRANGE };

    fn all() -> Vec<Self> {
        let bit = |bits: u32, place: u32| bits >> place & 1 == 1;
        let by_bits = |bits: u32| Self {
            in_team: bit(bits, 0),
            handled: bit(bits, 1),
            of_case: bit(bits, 2),
            assigned: bit(bits, 3),
            ..Self::STRANGE
        };
        let mut all: Vec<_> = (0..16).map(by_bits).collect();
        all.push(Self { glass: true, ..Self::STRANGE });
        all.push(Self { purpose: "training", ..Self::NEAR });
        all.push(Self { glass: true, purpose: "training", ..Self::NEAR });
        all
    }

    fn words(self) -> String {
        let marks = [
            (self.in_team, "team"),
            (self.handled, "handled"),
            (self.of_case, "case"),
            (self.assigned, "assigned"),
            (self.glass, "glass"),
            (self.purpose == "training", "other purpose"),
        ];
        let words: Vec<_> = marks.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect();
        if words.is_empty() { "other".to_owned() } else { words.join(" ") }
    }
}

fn matrix(access: &Access) -> String {
    let mut text = String::from(
        "Who may do what by the default policy. Written by a test from the policy itself; see default.cedar for the rules.\n\n\
         At the door. own: in the caller's tenant; others: in every other tenant; all: in both; -: nowhere.\n\n",
    );
    for tenant in ["acme", "system"] {
        let kind = if tenant == "system" { "of `system`" } else { "of a tenant" };
        table(
            &mut text,
            &format!("a principal {kind}"),
            &Action::ALL.map(|action| (action.name().to_owned(), action)),
            |role, action| door_cell(access, &principal(tenant, &[role]), *action),
        );
    }
    text.push_str(
        "Each record, in the caller's tenant. team: of one of the caller's teams; handled: by the caller; case: it belongs to the case\n\
         that the caller states; assigned: that case is one of this customer's, and was assigned to the caller; glass: the caller broke it\n\
         for this customer; other: none of these; other purpose: asked for a purpose that the record does not allow.\n\n",
    );
    let reads = Action::ALL.into_iter().filter(|action| action.needs_purpose());
    let rows: Vec<_> = reads
        .flat_map(|action| Relation::all().into_iter().map(move |relation| (action, relation)))
        .map(|(action, relation)| (format!("{}, {}", action.name(), relation.words()), (action, relation)))
        .collect();
    table(&mut text, "a principal of a tenant", &rows, |role, (action, relation)| {
        record_cell(access, &principal("acme", &[role]), *action, *relation)
    });
    text.push_str("What is sensitive in a record that may be read: seen and heard, or replaced and silent (-).\n\n");
    table(
        &mut text,
        "a principal of a tenant",
        &SensitiveKind::ALL.map(|kind| (kind.name().to_owned(), kind)),
        |role, kind| if sees(access, role, *kind) { "seen" } else { "-" },
    );
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn table<T>(text: &mut String, title: &str, rows: &[(String, T)], cell: impl Fn(Role, &T) -> &'static str) {
    let line = |text: &mut String, head: &str, cells: [&str; 6]| {
        let cells: String = cells.iter().fold(String::new(), |line, cell| format!("{line}  {cell:<15}"));
        writeln!(text, "{head:<52}{}", cells.trim_end()).unwrap();
    };
    line(text, title, Role::ALL.map(Role::name));
    for (head, row) in rows {
        line(text, &format!("  {head}"), Role::ALL.map(|role| cell(role, row)));
    }
    text.push('\n');
}

fn door_cell(access: &Access, principal: &Principal, action: Action) -> &'static str {
    let allowed_in = |tenant| access.door(principal, action, tenant, purpose("support")).is_ok();
    match (allowed_in(OWN), allowed_in(OTHER)) {
        (true, true) => "all",
        (true, false) => "own",
        (false, true) => "others",
        (false, false) => "-",
    }
}

fn record_cell(access: &Access, principal: &Principal, action: Action, relation: Relation) -> &'static str {
    let door = access.door(principal, action, OWN, purpose(relation.purpose));
    if door.is_ok_and(|door| access.record(&door, record(relation)).is_ok()) { "yes" } else { "-" }
}

/// Of a record that is as near as can be, if the role reads it at all.
fn sees(access: &Access, role: Role, kind: SensitiveKind) -> bool {
    let door = access.door(&principal("acme", &[role]), Action::GetTranscript, OWN, purpose("support"));
    door.and_then(|door| access.record(&door, record(Relation::NEAR))).is_ok_and(|permit| permit.sees(kind))
}

fn principal(tenant: &str, roles: &[Role]) -> Principal {
    Principal {
        tenant: OWN,
        tenant_name: TenantName::parse(tenant).unwrap(),
        name: PrincipalName::parse("ana").unwrap(),
        alias: BlindIndex([3; 16]),
        roles: roles.iter().copied().collect(),
        teams: [TeamName::parse("billing").unwrap()].into(),
        token: TokenId([4; 16]),
        actor: None,
        actor_token: None,
    }
}

fn record(relation: Relation) -> RecordFacts {
    facts(OWN, relation)
}

fn facts(tenant: TenantId, relation: Relation) -> RecordFacts {
    RecordFacts {
        tenant,
        id: RecordId::from_bytes([5; 16]),
        revision: Revision::FIRST,
        kind: RecordKind::Recording,
        handle: Handle([6; 16]),
        callers_team: relation.in_team.then(|| TeamName::parse("billing").unwrap()),
        handled_by_caller: relation.handled,
        is_of_stated_case: relation.of_case,
        grants: Grants { case_is_assigned: relation.assigned, glass_is_broken: relation.glass },
        purposes: vec![Purpose::parse("support").unwrap(), Purpose::parse("claims").unwrap()],
    }
}

fn purpose(name: &str) -> Option<Why> {
    Some(Why { purpose: Purpose::parse(name).unwrap(), case: None })
}
