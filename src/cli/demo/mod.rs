//! `oubliette demo`: shows on a real server what the vault promises, step by step, and checks each step. It fails if one of them is
//! not as promised.
//!
//! It uses the service as any platform would: over TLS, through the client, with tokens. Only the last steps go round the
//! service: there it is the attacker, with stolen disks and keys. It touches nothing outside of its own folder.

mod acts;
mod attacker;
mod content;
mod copy;
mod corpus;
mod error;
mod house;
mod material;
mod people;
mod refusals;
mod teller;
mod transfer;

use std::path::PathBuf;

pub use attacker::AttackError;
pub use error::DemoError;

use self::house::House;
use self::material::Material;
use self::teller::Teller;
use super::errors::CliError;
use super::output::Output;

const EXAMPLES: &str = "Examples:
  oubliette demo
  oubliette demo --corpus ../shared/corpus
  oubliette demo --dir /tmp/vault-demo --keep";

/// What to show, and where.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Use the chats and calls in this folder (chats/*.jsonl, calls/*.wav) in place of made-up ones
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Where to build the vault: an empty or absent folder [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the folder, and leave the server running until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub async fn run(args: DemoArgs) -> Result<(), CliError> {
    let mut teller = Teller::new(Output::stdout(false));
    let material = match &args.corpus {
        Some(folder) => corpus::read(folder).await?,
        None => Material::made_up(),
    };
    let mut house = House::found(args.dir.as_deref(), args.keep)?;
    let played = tokio::select! {
        played = acts::play(&mut teller, &mut house, material) => played.map_err(|error| teller.in_this_step(error)),
        () = super::interrupted() => Err(CliError::Interrupted),
    };
    if args.keep && played.is_ok() {
        teller.say(&house.how_to_connect())?;
        super::interrupted().await;
    }
    let closed = house.close().await;
    played.and(closed)
}
