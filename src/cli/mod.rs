//! The command line: parses commands, speaks to the service through the generated client, prints results.
//!
//! It keeps no state, opens no data directory, and decides nothing about access: the service does.

use std::io::Write as _;

use clap::CommandFactory as _;

mod admin;
mod approval;
mod audit;
pub mod bench;
mod call;
mod case;
mod chat;
pub mod client;
mod customer;
pub mod demo;
mod details;
pub mod errors;
mod files;
pub mod init;
mod mirror;
mod names;
pub mod output;
mod pages;
mod policy;
mod receipt;
mod record;
mod restore;
mod root_key;
pub mod serve;
pub mod settings;
mod signing_key;
mod time;
mod views;

use client::{Client, Connection};
use errors::CliError;
use output::Output;
use settings::{ConnectionArgs, Settings};

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 other failure, 2 usage, 3 refused, 4 not found, 5 unavailable (try again), 6 bad input,
7 incomplete (records or objects are missing).";

/// A vault for call recordings and chat transcripts, where forgetting holds.
#[derive(clap::Parser)]
#[command(name = "oubliette", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Client(Box<ClientCommand>),
    /// Make a new vault: configuration, certificates, root key, data, and the first admin's token
    Init(init::InitArgs),
    /// Serve a vault until told to stop
    Serve(serve::ServeArgs),
    /// Look after the replicas of a root key in files
    #[command(subcommand)]
    RootKey(root_key::RootKeyCommand),
    /// Change the key that signs the log
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// Look after the mirrors of the data
    #[command(subcommand)]
    Mirror(mirror::MirrorCommand),
    /// Copy a mirror to a backup, while the service goes on
    #[command(after_help = restore::BACKUP_EXAMPLES)]
    Backup(restore::BackupArgs),
    /// Restore lost data from a mirror, or from a backup and the newest mirror
    #[command(after_help = restore::RESTORE_EXAMPLES)]
    Restore(restore::RestoreArgs),
    /// Give disk space back
    #[command(after_help = restore::COMPACT_EXAMPLES)]
    Compact(restore::CompactArgs),
    /// Measure a service of its own on this machine
    Bench(bench::BenchArgs),
    /// Show on a real server what the vault promises, and check each step
    Demo(demo::DemoArgs),
    /// Write completions for a shell to standard output
    #[command(after_help = "Example:\n  oubliette completions bash > /etc/bash_completion.d/oubliette")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The commands that call the service.
#[derive(clap::Subcommand)]
enum ClientCommand {
    /// Store and read chat transcripts
    Chat(Group<chat::ChatCommand>),
    /// Store and read call recordings
    Call(Group<call::CallCommand>),
    /// List and show records
    Record(Group<record::RecordCommand>),
    /// Say who works on which case
    Case(Group<case::CaseCommand>),
    /// Do more than one person may alone, with a second one
    Approval(Group<approval::ApprovalCommand>),
    /// Show the ledger, copy it, and check copies
    Audit(Group<audit::AuditCommand>),
    /// Check a policy, and tell what decides
    Policy(Group<policy::PolicyCommand>),
    /// Carry out the rights of a customer
    Customer(Group<customer::CustomerCommand>),
    /// Show and check the receipts of erasures
    Receipt(Group<receipt::ReceiptCommand>),
    /// Set up tenants
    Tenant(Group<admin::TenantCommand>),
    /// Set up those who may call
    Principal(Group<admin::PrincipalCommand>),
    /// Create and revoke bearer tokens
    Token(Group<admin::TokenCommand>),
    /// Open every record, and name those that do not open
    #[command(after_help = restore::VERIFY_EXAMPLES)]
    Verify(Shared),
}

/// Commands of one kind, with what all client commands share.
#[derive(clap::Args)]
struct Group<C: clap::Subcommand> {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: C,
}

#[derive(Clone, clap::Args)]
struct Shared {
    /// Print one JSON document, and errors as JSON on standard error
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl Cli {
    /// What has to be done while the process has one thread only.
    pub fn prepare(&self) -> std::io::Result<()> {
        match self.command {
            Command::Serve(_) => serve::block_signals(),
            _ => Ok(()),
        }
    }

    /// Whether errors are to be told as JSON.
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::Client(command) => command.shared().json,
            Command::Init(args) => args.json,
            Command::Bench(args) => args.json,
            Command::RootKey(command) => command.wants_json(),
            Command::SigningKey(command) => command.wants_json(),
            Command::Mirror(command) => command.wants_json(),
            Command::Backup(args) => args.place.json,
            Command::Restore(args) => args.place.json,
            Command::Compact(args) => args.place.json,
            Command::Serve(_) | Command::Demo(_) | Command::Completions { .. } => false,
        }
    }
}

impl ClientCommand {
    fn shared(&self) -> &Shared {
        match self {
            Self::Chat(group) => &group.shared,
            Self::Call(group) => &group.shared,
            Self::Record(group) => &group.shared,
            Self::Case(group) => &group.shared,
            Self::Approval(group) => &group.shared,
            Self::Audit(group) => &group.shared,
            Self::Policy(group) => &group.shared,
            Self::Customer(group) => &group.shared,
            Self::Receipt(group) => &group.shared,
            Self::Tenant(group) => &group.shared,
            Self::Principal(group) => &group.shared,
            Self::Token(group) => &group.shared,
            Self::Verify(shared) => shared,
        }
    }
}

/// Runs what the command line says.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Client(command) => call_service(*command).await,
        Command::Init(args) => init::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::RootKey(command) => root_key::run(command).await,
        Command::SigningKey(command) => signing_key::run(command).await,
        Command::Mirror(command) => mirror::run(command).await,
        Command::Backup(args) => restore::backup(args).await,
        Command::Restore(args) => restore::restore(args).await,
        Command::Compact(args) => restore::compact(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Completions { shell } => completions(shell),
    }
}

async fn call_service(command: ClientCommand) -> Result<(), CliError> {
    let shared = command.shared().clone();
    if let ClientCommand::Receipt(Group { command: receipt::ReceiptCommand::Verify(args), .. }) = &command {
        return receipt::verify(args, &mut Output::stdout(shared.json));
    }
    if let ClientCommand::Policy(Group { command: policy::PolicyCommand::Check { file }, .. }) = &command {
        return policy::check(file, &mut Output::stdout(shared.json));
    }
    if let ClientCommand::Audit(Group { command, .. }) = &command
        && let Some(done) = audit::offline(command, &mut Output::stdout(shared.json)).await
    {
        return done;
    }
    let settings = Settings::load(&shared.connection)?;
    // Before signals are watched: an interrupt at the question ends the program at once.
    match &command {
        ClientCommand::Customer(Group { command: customer::CustomerCommand::Erase(args), .. }) => args.confirm()?,
        ClientCommand::Record(Group { command: record::RecordCommand::Erase(args), .. }) => args.confirm()?,
        ClientCommand::Tenant(Group { command: admin::TenantCommand::Erase(args), .. }) => args.confirm()?,
        _ => {}
    }
    let called = async {
        let client = Connection::open(&settings).await?;
        dispatch(&client, command, &mut Output::stdout(shared.json)).await
    };
    tokio::select! {
        done = called => done,
        () = interrupted() => Err(CliError::Interrupted),
    }
}

async fn dispatch(client: &Client, command: ClientCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        ClientCommand::Chat(group) => chat::run(client, group.command, output).await,
        ClientCommand::Call(group) => call::run(client, group.command, output).await,
        ClientCommand::Record(group) => record::run(client, group.command, output).await,
        ClientCommand::Case(group) => case::run(client, group.command, output).await,
        ClientCommand::Approval(group) => approval::run(client, group.command, output).await,
        ClientCommand::Audit(group) => audit::run(client, group.command, output).await,
        ClientCommand::Policy(group) => policy::run(client, group.command, output).await,
        ClientCommand::Customer(group) => customer::run(client, group.command, output).await,
        ClientCommand::Receipt(group) => receipt::run(client, group.command, output).await,
        ClientCommand::Tenant(group) => admin::run_tenant(client, group.command, output).await,
        ClientCommand::Principal(group) => admin::run_principal(client, group.command, output).await,
        ClientCommand::Token(group) => admin::run_token(client, group.command, output).await,
        ClientCommand::Verify(_) => restore::verify(client, output).await,
    }
}

/// Waits until the caller wants to stop. Dropping the command then removes what it had half written.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "oubliette", &mut script);
    std::io::stdout().write_all(&script).map_err(|source| CliError::Streams { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed_and_every_leaf_has_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(command.has_subcommands() || help.contains("Example"), "no examples: {path}");
            command.get_subcommands().for_each(|inner| check(inner, &path));
        }
        Cli::command().debug_assert();
        check(&Cli::command(), "");
    }
}
