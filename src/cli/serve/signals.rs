//! The signals that a service listens to: SIGTERM and SIGINT stop it, SIGHUP says that the configuration has changed.
//!
//! They are blocked before the first thread starts and for the life of the process, and read from a descriptor. A blocked signal waits in the
//! kernel until somebody reads it, also while the program takes its own place (`again`): the mask and what is pending outlive that. So no
//! signal is lost, and none ends the process before it is ready to hear it.

use std::io;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

/// Listens for signals, and passes on what they ask for.
pub struct Listener {
    task: JoinHandle<()>,
}

impl Listener {
    /// Begins to listen: cancels `stop`, or puts something into the channel that is returned. [`block`] must have been called. Needs the async
    /// runtime.
    pub fn start(stop: CancellationToken) -> io::Result<(Self, mpsc::Receiver<()>)> {
        let mut signals = system::Signals::new()?;
        let (reload, reloads) = mpsc::channel(1);
        let listen = async move {
            loop {
                // Nothing is waited for between the reading and the passing on: a task that is aborted loses nothing.
                match signals.next().await {
                    Ok(Asked::Stop) => stop.cancel(),
                    // One that waits already says the same.
                    Ok(Asked::Reload) => drop(reload.try_send(())),
                    Err(error) => {
                        tracing::error!(%error, "signals cannot be read any more: end the service by SIGKILL");
                        return;
                    }
                }
            }
        };
        Ok((Self { task: tokio::spawn(listen) }, reloads))
    }

    /// Reads no signal any more. What comes from now on waits for the next program in this process.
    pub async fn stop(self) {
        self.task.abort();
        // It ended by the abort, or by itself.
        drop(self.task.await);
    }
}

/// Blocks the signals in this thread and all that it starts: call it while there is no other.
pub fn block() -> io::Result<()> {
    system::block()
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use nix::sys::signal::{SigSet, Signal};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use tokio::io::unix::AsyncFd;

    use super::Asked;

    fn listened_to() -> SigSet {
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
    }

    pub fn block() -> io::Result<()> {
        Ok(listened_to().thread_block()?)
    }

    pub struct Signals(AsyncFd<SignalFd>);

    impl Signals {
        pub fn new() -> io::Result<Self> {
            let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
            let signals = SignalFd::with_flags(&listened_to(), flags)?;
            #[expect(
                deprecated,
                reason = "a SignalFd owns its descriptor as long as it lives, which is what the safe call cannot know"
            )]
            let signals = AsyncFd::new(signals)?;
            Ok(Self(signals))
        }

        pub async fn next(&mut self) -> io::Result<Asked> {
            loop {
                let mut ready = self.0.readable().await?;
                let read = ready.try_io(|fd| fd.get_ref().read_signal()?.ok_or(io::ErrorKind::WouldBlock.into()));
                match read {
                    Ok(Ok(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => return Ok(Asked::Reload),
                    Ok(Ok(_)) => return Ok(Asked::Stop),
                    Ok(Err(error)) => return Err(error),
                    Err(_would_block) => {}
                }
            }
        }
    }
}

/// Where signals cannot be read from a descriptor they are handled, and one that comes while the program takes its own place can end it.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::Asked;

    pub fn block() -> io::Result<()> {
        Ok(())
    }

    pub struct Signals {
        stop: [Signal; 2],
        reload: Signal,
    }

    impl Signals {
        pub fn new() -> io::Result<Self> {
            let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
            Ok(Self { stop, reload: signal(SignalKind::hangup())? })
        }

        pub async fn next(&mut self) -> io::Result<Asked> {
            let [terminate, interrupt] = &mut self.stop;
            tokio::select! {
                _ = terminate.recv() => Ok(Asked::Stop),
                _ = interrupt.recv() => Ok(Asked::Stop),
                _ = self.reload.recv() => Ok(Asked::Reload),
            }
        }
    }
}
