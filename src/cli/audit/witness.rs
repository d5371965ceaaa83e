//! Witnesses: what one is asked, what it answers, and the checkpoint that bears its cosignature. All of it goes through files, so that a
//! witness can be a machine that the operator has no hand on.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::copies::{AuditError, Folder, read_note, witness_key};
use crate::audit::copy::{CHECKPOINT, TileNodes};
use crate::audit::cosignature;
use crate::audit::merkle;
use crate::audit::note::{Checkpoint, Origin};
use crate::audit::witness::{AddCheckpoint, MAX_REQUEST_BYTES, Witness};
use crate::cli::errors::CliError;
use crate::cli::files::NewFile;
use crate::cli::output::Output;
use crate::cli::receipt::read_keys;
use crate::domain::clock::Timestamp;
use crate::root_key::SigningKeyFile;

/// What a witness is asked.
#[derive(clap::Args)]
pub struct RequestArgs {
    /// The copy of the log
    pub dir: PathBuf,
    /// The checkpoint that the witness cosigned last [default: none yet]
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// A public key that signed the log, or a file of such keys; may be repeated
    #[arg(long = "key", value_name = "KEY", required = true)]
    pub keys: Vec<String>,
}

/// How to cosign.
#[derive(clap::Args)]
pub struct WitnessArgs {
    /// The witness's name
    #[arg(long)]
    pub name: String,
    /// The file of the witness's key, which is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub signing_key: PathBuf,
    /// What it cosigned last; it is replaced
    #[arg(long, value_name = "FILE")]
    pub kept: PathBuf,
    /// A public key that signs the log, or a file of such keys; may be repeated
    #[arg(long = "key", value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// Only print the witness's public key
    #[arg(long)]
    pub show_key: bool,
}

/// What to put together.
#[derive(clap::Args)]
pub struct CosignArgs {
    /// The checkpoint
    pub checkpoint: PathBuf,
    /// The witness's answer
    pub answer: PathBuf,
    /// The witness's public key
    #[arg(long, value_name = "KEY")]
    pub witness: String,
}

/// Writes a request to standard output.
pub fn request(args: &RequestArgs, output: &mut Output) -> Result<(), CliError> {
    let keys = args.keys.iter().map(|key| read_keys(key)).collect::<Result<Vec<_>, _>>()?.concat();
    let open = |path: &PathBuf| {
        let note = read_note(path)?;
        let opened = Checkpoint::open(&note, &keys);
        let checkpoint = opened.map_err(|source| AuditError::Note { path: path.clone(), source })?;
        Ok::<_, CliError>((note, checkpoint))
    };
    let old_size = args.from.as_ref().map(open).transpose()?.map_or(0, |(_, checkpoint)| checkpoint.size);
    let (note, checkpoint) = open(&args.dir.join(CHECKPOINT))?;
    let folder = Folder(&args.dir);
    let tree = TileNodes::new(&folder, checkpoint.size);
    let whole = |source| AuditError::Copy { path: args.dir.clone(), source: Box::new(source) };
    let proof = merkle::consistency(&tree, old_size, checkpoint.size).map_err(|error| whole(error.into()))?;
    output.raw(&AddCheckpoint { old_size, proof, note: &note }.to_string())
}

/// Reads a request from standard input, and writes the cosignature to standard output once it is kept.
pub async fn witness(args: &WitnessArgs, output: &mut Output) -> Result<(), CliError> {
    let keys = args.keys.iter().map(|key| read_keys(key)).collect::<Result<Vec<_>, _>>()?.concat();
    let name = Origin::parse(&args.name).ok_or_else(|| AuditError::Name(args.name.clone()))?;
    let file = match args.signing_key.exists() {
        true => SigningKeyFile::open(&args.signing_key)?,
        false => SigningKeyFile::create(&args.signing_key)?,
    };
    let key = file.keys()?.pop().ok_or_else(|| AuditError::Name(args.name.clone()))?;
    let mut witness = Witness::new(name, key);
    if args.show_key {
        return output.raw(&format!("{}\n", witness.public()));
    }
    // From reading what was cosigned last until the next is durable: two at once could cosign two histories.
    let _alone = alone(&args.kept)?;
    let kept = match read_note(&args.kept) {
        Ok(note) => Some(note),
        Err(CliError::File { source, .. }) if source.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let bad = |source| AuditError::Note { path: args.kept.clone(), source };
    for origin in keys.iter().map(|key| key.name.clone()) {
        witness.watch(origin, keys.clone(), kept.as_deref()).map_err(bad)?;
    }
    let mut asked = String::new();
    let input = std::io::stdin().take(MAX_REQUEST_BYTES as u64 + 1).read_to_string(&mut asked);
    input.map_err(|source| CliError::Streams { source })?;
    let asked = AddCheckpoint::parse(&asked).ok_or(AuditError::NotARequest)?;
    let cosigned = witness.add_checkpoint(&asked, Timestamp::now()).map_err(AuditError::Refused)?;
    // Durable before anything is answered: what was cosigned must never be forgotten.
    NewFile::create(&args.kept)?.finish_with(cosigned.note.as_bytes()).await?;
    output.raw(&cosigned.answer)
}

/// Waits until no other witness works on what is kept there. The lock stands beside it, as what is kept is replaced.
fn alone(kept: &Path) -> Result<File, CliError> {
    let mut path = kept.as_os_str().to_owned();
    path.push(".lock");
    let failed = |source| CliError::File { doing: "lock", path: PathBuf::from(&path), source };
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(file)
}

/// Writes the checkpoint with the cosignature to standard output.
pub fn cosign(args: &CosignArgs, output: &mut Output) -> Result<(), CliError> {
    let (note, answer) = (read_note(&args.checkpoint)?, read_note(&args.answer)?);
    let witness = witness_key(&args.witness)?;
    let failed = |source| AuditError::Note { path: args.checkpoint.clone(), source };
    if !cosignature::is_answer_of(&answer, &witness) {
        return Err(AuditError::NotItsAnswer { path: args.answer.clone() }.into());
    }
    output.raw(&cosignature::add(&note, &answer, &[witness]).map_err(failed)?)
}
