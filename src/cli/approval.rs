//! `oubliette approval`: does more than one person may alone, with a second one.

use prost_types::Timestamp;
use serde::Serialize;

use super::client::Client;
use super::errors::CliError;
use super::names::Named as _;
use super::output::{self, Cell, Output};
use super::pages::{self, PageArgs, Shape};
use super::time;
use crate::api::v1;

const REQUEST_EXAMPLES: &str = "You may do so much more than alone, once somebody else gives it. Tell that one the id.

Example:
  oubliette approval request --erasures 400 --ground retention_over
  oubliette approval request --reads 2000 --customers 500 --ground incident --seconds 3600";

const GIVE_EXAMPLES: &str =
    "For a second person: not the one who asked. `oubliette approval list` shows what is asked for.

Example:
  oubliette approval give 3f0c2a9be1d04c5f8a7766554433221100ffeeddccbbaa99";

const WITHDRAW_EXAMPLES: &str = "Example:
  oubliette approval withdraw 3f0c2a9be1d04c5f8a7766554433221100ffeeddccbbaa99";

const LIST_EXAMPLES: &str = "Example:
  oubliette approval list";

/// What to do with approvals.
#[derive(clap::Subcommand)]
pub enum ApprovalCommand {
    /// Ask for more than you may do alone
    #[command(after_help = REQUEST_EXAMPLES)]
    Request {
        /// So many erasures more, in all
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        erasures: u32,
        /// So many reads more a day
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        reads: u32,
        /// So many different customers more a day of whom you read something
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        customers: u32,
        /// Why
        #[arg(long, value_name = "GROUND", value_parser = v1::ApprovalGround::parser())]
        ground: v1::ApprovalGround,
        /// For how long from now, at most 86400 [default: 28800]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=86_400))]
        seconds: Option<u32>,
    },
    /// Approve what somebody else asked for
    #[command(after_help = GIVE_EXAMPLES)]
    Give {
        /// The approval's id
        id: String,
    },
    /// Take an approval back, given or not
    #[command(after_help = WITHDRAW_EXAMPLES)]
    Withdraw {
        /// The approval's id
        id: String,
    },
    /// List what is asked for and approved
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Which page.
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Serialize)]
struct ApprovalView {
    approval_id: String,
    requested_by: String,
    requested_at: String,
    erasures: u32,
    reads: u32,
    customers: u32,
    ground: String,
    expires_at: String,
    approved_by: String,
}

impl From<v1::Approval> for ApprovalView {
    fn from(approval: v1::Approval) -> Self {
        let when = |at: Option<Timestamp>| at.as_ref().map(time::format).unwrap_or_default();
        Self {
            approval_id: approval.approval_id,
            requested_by: approval.requested_by,
            requested_at: when(approval.requested_at),
            erasures: approval.erasures,
            reads: approval.reads,
            customers: approval.customers,
            ground: v1::ApprovalGround::name_of(approval.ground),
            expires_at: when(approval.expires_at),
            approved_by: approval.approved_by,
        }
    }
}

impl ApprovalView {
    const HEADER: &'static [Cell<'static>] =
        &[("APPROVAL", 48), ("WHO ASKED", 20), ("MORE", 40), ("WHY", 16), ("UNTIL", 24), ("APPROVED BY", 0)];

    fn more(&self) -> String {
        let all = [(self.erasures, "erasures"), (self.reads, "reads a day"), (self.customers, "customers a day")];
        let some = all.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
        some.collect::<Vec<_>>().join(", ")
    }

    fn approved(&self) -> &str {
        if self.approved_by.is_empty() { "nobody yet" } else { &self.approved_by }
    }

    fn row(&self) -> String {
        output::row(&[
            (&self.approval_id, 48),
            (&self.requested_by, 20),
            (&self.more(), 40),
            (&self.ground, 16),
            (&self.expires_at, 24),
            (self.approved(), 0),
        ])
    }

    fn text(&self) -> String {
        output::fields(&[
            ("approval", Some(self.approval_id.clone())),
            ("who asked", Some(self.requested_by.clone())),
            ("more", Some(self.more())),
            ("why", Some(self.ground.clone())),
            ("until", Some(self.expires_at.clone())),
            ("approved by", Some(self.approved().to_owned())),
        ])
    }
}

/// Runs the command.
pub async fn run(client: &Client, command: ApprovalCommand, output: &mut Output) -> Result<(), CliError> {
    let show = |output: &mut Output, approval: Option<v1::Approval>| {
        let approval = approval.ok_or(CliError::Protocol { what: "no `approval` in it" })?;
        output.result(&ApprovalView::from(approval), ApprovalView::text)
    };
    match command {
        ApprovalCommand::Request { erasures, reads, customers, ground, seconds } => {
            let (ground, seconds) = (ground.into(), seconds.unwrap_or_default());
            let request = v1::RequestApprovalRequest { erasures, reads, customers, ground, seconds };
            show(output, client.request_approval(request).await?.approval)
        }
        ApprovalCommand::Give { id } => {
            show(output, client.give_approval(v1::GiveApprovalRequest { approval_id: id }).await?.approval)
        }
        ApprovalCommand::Withdraw { id } => {
            client.withdraw_approval(v1::WithdrawApprovalRequest { approval_id: id }).await?;
            output.result(&serde_json::json!({}), |_| "taken back\n".to_owned())
        }
        ApprovalCommand::List { page } => {
            let shape = Shape { name: "approvals", header: ApprovalView::HEADER, row: ApprovalView::row };
            pages::list(&page, output, shape, async |page_size, page_token| {
                let page = client.list_approvals(v1::ListApprovalsRequest { page_size, page_token }).await?;
                Ok((page.approvals.into_iter().map(ApprovalView::from).collect(), page.next_page_token))
            })
            .await
        }
    }
}
