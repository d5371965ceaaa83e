//! `oubliette case`: says who works on which case, and takes the right to read in an emergency.

use prost_types::Timestamp;
use serde::Serialize;

use super::client::Client;
use super::errors::CliError;
use super::output::{self, Cell, Output};
use super::pages::{self, PageArgs, Shape};
use super::time;
use crate::api::v1;

const ASSIGN_EXAMPLES: &str = "The principal can read the customer's records on this case until then: those of the case, of the principal's teams, and those that
the principal handled.

Example:
  oubliette case assign CASE-17 --customer c-1001 --to ana --until 2026-12-24T18:00:00Z";

const UNASSIGN_EXAMPLES: &str = "Example:
  oubliette case unassign CASE-17 --customer c-1001 --from ana";

const LIST_EXAMPLES: &str = "Example:
  oubliette case list --customer c-1001";

const BREAK_GLASS_EXAMPLES: &str =
    "For emergencies. All records of the customer can be read for a quarter of an hour, or for as long as --seconds says. The reason is kept,
and it is told to those who watch.

Example:
  oubliette case break-glass --customer c-1001 --reason \"ambulance on the line, needs the address\"";

/// What to do with cases.
#[derive(clap::Subcommand)]
pub enum CaseCommand {
    /// Assign a case to somebody
    #[command(after_help = ASSIGN_EXAMPLES)]
    Assign {
        /// The case
        case: String,
        /// The platform's id of the customer
        #[arg(long, value_name = "ID")]
        customer: String,
        /// Who works on it
        #[arg(long, value_name = "PRINCIPAL")]
        to: String,
        /// Until when, at most 90 days from now
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        until: Timestamp,
    },
    /// Take a case back
    #[command(after_help = UNASSIGN_EXAMPLES)]
    Unassign {
        /// The case
        case: String,
        /// The platform's id of the customer
        #[arg(long, value_name = "ID")]
        customer: String,
        /// Who works on it no more
        #[arg(long, value_name = "PRINCIPAL")]
        from: String,
    },
    /// List who works on a customer's cases
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// The platform's id of the customer
        #[arg(long, value_name = "ID")]
        customer: String,
        /// Which page.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Take the right to read a customer's records in an emergency
    #[command(after_help = BREAK_GLASS_EXAMPLES)]
    BreakGlass {
        /// The platform's id of the customer
        #[arg(long, value_name = "ID")]
        customer: String,
        /// Why, in words
        #[arg(long)]
        reason: String,
        /// For how long, at most 3600 [default: 900]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3_600))]
        seconds: Option<u32>,
    },
}

/// Which case the caller works on.
#[derive(clap::Args)]
pub struct OnCaseArgs {
    /// The case that you work on, if your role needs one
    #[arg(long, value_name = "CASE", default_value = "", hide_default_value = true)]
    pub on_case: String,
}

#[derive(Serialize)]
struct AssignmentView {
    case_id: String,
    customer_id: String,
    principal: String,
    expires_at: String,
}

impl From<v1::CaseAssignment> for AssignmentView {
    fn from(assignment: v1::CaseAssignment) -> Self {
        let v1::CaseAssignment { customer_id, case_id, principal, expires_at } = assignment;
        Self { case_id, customer_id, principal, expires_at: expires_at.as_ref().map(time::format).unwrap_or_default() }
    }
}

impl AssignmentView {
    const HEADER: &'static [Cell<'static>] = &[("CASE", 20), ("PRINCIPAL", 20), ("UNTIL", 0)];

    fn row(&self) -> String {
        output::row(&[(&self.case_id, 20), (&self.principal, 20), (&self.expires_at, 0)])
    }

    fn text(&self) -> String {
        output::fields(&[
            ("case", Some(self.case_id.clone())),
            ("customer", Some(self.customer_id.clone())),
            ("principal", Some(self.principal.clone())),
            ("until", Some(self.expires_at.clone())),
        ])
    }
}

#[derive(Serialize)]
struct BrokenView {
    expires_at: String,
}

/// Runs the command.
pub async fn run(client: &Client, command: CaseCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        CaseCommand::Assign { case, customer, to, until } => {
            let assignment =
                v1::CaseAssignment { customer_id: customer, case_id: case, principal: to, expires_at: Some(until) };
            let assigned = client.assign_case(v1::AssignCaseRequest { assignment: Some(assignment) }).await?;
            output.result(&AssignmentView::from(assigned), AssignmentView::text)
        }
        CaseCommand::Unassign { case, customer, from } => {
            let request = v1::UnassignCaseRequest { customer_id: customer, case_id: case, principal: from };
            client.unassign_case(request).await?;
            output.result(&serde_json::json!({}), |_| "taken back\n".to_owned())
        }
        CaseCommand::List { customer, page } => {
            let shape = Shape { name: "assignments", header: AssignmentView::HEADER, row: AssignmentView::row };
            pages::list(&page, output, shape, async |page_size, page_token| {
                let customer_id = customer.clone();
                let request = v1::ListCaseAssignmentsRequest { customer_id, page_size, page_token };
                let page = client.list_case_assignments(request).await?;
                let views = page.assignments.into_iter().map(AssignmentView::from).collect();
                Ok((views, page.next_page_token))
            })
            .await
        }
        CaseCommand::BreakGlass { customer, reason, seconds } => {
            let seconds = seconds.unwrap_or_default();
            let broken = client.break_glass(v1::BreakGlassRequest { customer_id: customer, reason, seconds }).await?;
            let view = BrokenView { expires_at: broken.expires_at.as_ref().map(time::format).unwrap_or_default() };
            output.result(&view, |view| format!("you can read the customer's records until {}\n", view.expires_at))
        }
    }
}
