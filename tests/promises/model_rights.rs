//! The rights of the model: who works on which case, how many erasures one may ask for alone, and a tenant that is frozen for a while. Each stands
//! as it was acknowledged, through kills and restarts.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use oubliette::api::v1;
use oubliette::cli::client::Client;
use oubliette::cli::errors::CliError;
use tonic::Code;

use crate::fixture::{AGENT, PURPOSES, Server};
use crate::wire::from_now;

/// So many erasures a day need nobody else.
pub const ALONE: u32 = 3;
/// And so many more each approval gives.
const MORE: u32 = 5;

/// The rights of a tenant as they must be.
pub struct Rights {
    /// Customers whose case is assigned to the agent.
    assigned: BTreeSet<String>,
    erased: u32,
    room: u32,
    day: u64,
}

impl Rights {
    pub fn new() -> Self {
        Self { assigned: BTreeSet::new(), erased: 0, room: ALONE, day: today() }
    }

    /// Assigns the case of a customer, or takes it back.
    pub async fn turn(&mut self, ingest: &Client, customer: &str) -> &'static str {
        let (customer_id, case_id, principal) = (customer.to_owned(), case_of(customer), AGENT.to_owned());
        if self.assigned.remove(customer) {
            ingest.unassign_case(v1::UnassignCaseRequest { customer_id, case_id, principal }).await.unwrap();
            return "take a case back";
        }
        let assignment = v1::CaseAssignment { customer_id, case_id, principal, expires_at: Some(from_now(3_600)) };
        ingest.assign_case(v1::AssignCaseRequest { assignment: Some(assignment) }).await.unwrap();
        self.assigned.insert(customer.to_owned());
        "assign a case"
    }

    /// The agent sees a record if the case is assigned, and else nothing.
    pub async fn check(&self, agent: &Client, customer: &str, record: &str) -> &'static str {
        let seen = look(agent, record, case_of(customer)).await;
        match (self.assigned.contains(customer), seen) {
            (true, seen) => {
                seen.unwrap();
                "read on a case"
            }
            (false, seen) => {
                assert_eq!(
                    refused(seen),
                    (Code::NotFound, "NOT_FOUND".to_owned()),
                    "the case of {customer} is not assigned"
                );
                "read without a case"
            }
        }
    }

    /// Has more approved, if one more erasure needs it: until then it is refused.
    pub async fn make_room(&mut self, officer: &Client, second: &Client, customer: &str) {
        if self.erased >= self.room {
            let early = crate::paper::erase(officer, customer, format!("too-many-{}", self.erased)).await;
            // At midnight the day begins anew.
            assert_eq!(self.day, today(), "it was midnight while this ran; it has to run again");
            assert_eq!(refused(early), (Code::FailedPrecondition, "APPROVAL_NEEDED".to_owned()));
            let ground = v1::ApprovalGround::CustomersAsked.into();
            let more = v1::RequestApprovalRequest { erasures: MORE, ground, ..Default::default() };
            let asked = officer.request_approval(more).await.unwrap().approval.unwrap();
            let id = || v1::GiveApprovalRequest { approval_id: asked.approval_id.clone() };
            assert_eq!(
                refused(officer.give_approval(id()).await),
                (Code::PermissionDenied, "SECOND_PERSON".to_owned())
            );
            second.give_approval(id()).await.unwrap();
            self.room += MORE;
        }
        self.erased += 1;
    }

    /// Of who is erased no case is left.
    pub fn forget(&mut self, customer: &str) {
        self.assigned.remove(customer);
    }
}

/// Freezes a tenant, finds that nothing is read, also by a process that is new, and lets it go on.
pub async fn freeze(server: &mut Server, officer: &str, tenant: &str, record: &str, is_killed: bool) {
    let client = server.client(officer).await;
    look(&client, record, String::new()).await.unwrap();
    client.freeze_tenant(v1::FreezeTenantRequest::default()).await.unwrap();
    if is_killed {
        server.kill9();
        server.restart().await;
    }
    let client = server.client(officer).await;
    let seen = look(&client, record, String::new()).await;
    assert_eq!(refused(seen), (Code::FailedPrecondition, "TENANT_FROZEN".to_owned()));
    let name = tenant.to_owned();
    server.admin_client().await.unfreeze_tenant(v1::UnfreezeTenantRequest { name }).await.unwrap();
    look(&client, record, String::new()).await.unwrap();
}

async fn look(client: &Client, record: &str, reader_case_id: String) -> Result<v1::Record, CliError> {
    let (record_id, purpose) = (record.to_owned(), PURPOSES[0].to_owned());
    client.get_record(v1::GetRecordRequest { record_id, purpose, reader_case_id }).await
}

fn case_of(customer: &str) -> String {
    crate::paper::details(customer).case_id
}

fn refused<T>(outcome: Result<T, CliError>) -> (Code, String) {
    let Err(error) = outcome else { panic!("it was let through") };
    let refusal = error.refusal().unwrap_or_else(|| panic!("no answer: {error}"));
    (refusal.code, refusal.reason.clone().unwrap_or_default())
}

fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400
}
