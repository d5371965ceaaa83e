//! The `oubliette` program: parses the command line, runs the command, turns its outcome into an exit code.
//!
//! It sets the allocator. Customers' data passes through the buffers of protobuf, HTTP/2, TLS, zstd and the database, which do not
//! wipe what they free; the allocator does it for all of them. Growing a block moves it and wipes the old one.

use std::alloc::System;
use std::process::ExitCode;

use clap::Parser as _;
use oubliette::cli::errors::{CliError, Kind, report};
use oubliette::cli::{Cli, run};
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static WIPING_ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.wants_json();
    if let Err(source) = cli.prepare() {
        return fail(&CliError::Signals { source }, json);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return fail(&CliError::Streams { source }, json),
    };
    let done = runtime.block_on(run(cli));
    // A read from standard input that nobody waits for any more must not hold the program back.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, json),
    }
}

fn fail(error: &CliError, json: bool) -> ExitCode {
    // Where standard error is closed, the exit code still tells.
    let _ = report(error, json, &mut std::io::stderr());
    ExitCode::from(match error.kind() {
        Kind::Other => 1,
        Kind::Usage => 2,
        Kind::Refused => 3,
        Kind::NotFound => 4,
        Kind::Unavailable => 5,
        Kind::BadInput => 6,
        Kind::Incomplete => 7,
    })
}
