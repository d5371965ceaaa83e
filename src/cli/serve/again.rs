//! Beginning anew. After a failed write the store takes no more, and so nothing is read; what stands on the disk is then read by a process that
//! knows nothing of what went before. The program takes its own place: the engine's files and locks are let go with everything in memory.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::RefusedToServe;
use crate::cli::errors::CliError;
use crate::vault::Vault;

/// Set where the program took its own place.
const ANEW: &str = "OUBLIETTE_BEGUN_ANEW";
/// How often it is looked whether the store has closed.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long it waits before it begins anew: a disk that fails at once would keep it busy.
pub const PAUSE: Duration = Duration::from_secs(2);

/// Whether this process began because the store of the one before had closed.
pub fn is_anew() -> bool {
    std::env::var_os(ANEW).is_some()
}

/// Whether it is the system that would not read or write: that may be over in a while, and nothing else is.
pub fn is_of_the_disk(error: &CliError) -> bool {
    if let CliError::Start(RefusedToServe::Vault { source, .. }) = error
        && source.is_of_the_disk()
    {
        return true;
    }
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        // A port that somebody else has, or a permission that is missing, is for an operator.
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind.is_some_and(|kind| !matches!(kind, ErrorKind::AddrInUse | ErrorKind::PermissionDenied)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Returns when the store takes no more writes; never, where the service ends before.
pub async fn closed(vault: Arc<Vault>, ended: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return std::future::pending().await,
        }
        if !vault.takes_writes() {
            return;
        }
    }
}

/// Runs the program again in the place of this one, with the same arguments; returns only where that cannot be done.
pub fn begin() -> CliError {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // The program as it was started, also where a newer one stands at its path by now.
    let itself = PathBuf::from("/proc/self/exe");
    let program = if itself.exists() { itself } else { std::env::current_exe().unwrap_or_default() };
    let source = Command::new(program).arg0(name).args(arguments).env(ANEW, "1").exec();
    RefusedToServe::System { doing: "begin anew after a failed write", source }.into()
}
