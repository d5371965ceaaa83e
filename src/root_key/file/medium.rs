//! What the file system under a root key's file makes of an overwrite. The destruction of a key is one; a file system that writes the new
//! bytes somewhere else has destroyed nothing.
//!
//! The type alone is asked. Snapshots under the file system, or a flash disk below it, cannot be seen from here: see the manual.

use std::path::{Path, PathBuf};

use crate::root_key::RootKeyError;

/// What becomes of bytes that are overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overwritten {
    /// They are replaced, as far as the host can tell.
    Gone,
    /// They stay until the space is used again: the file system has this name.
    Kept(&'static str),
    /// That depends on what lies below.
    Unknown(&'static str),
}

/// Refuses a place for a file where nothing would be destroyed, unless that is accepted.
pub(super) fn refuse_keeping(path: &Path, folder: &Path, is_accepted: bool) -> Result<(), RootKeyError> {
    refuse(path, overwritten_in(folder), is_accepted)
}

/// Says where one of these files stands on such a file system. Not an error: without the key nothing could be read, and every epoch makes it
/// less worth keeping.
pub(super) fn warn_of_keeping<'a>(paths: impl Iterator<Item = &'a PathBuf>) {
    for path in paths {
        match overwritten_in(path) {
            Overwritten::Gone => {}
            Overwritten::Kept(name) => tracing::warn!(
                path = %path.display(),
                "the root key stands on {name}, which never overwrites in place: destroyed keys stay on that disk, and no erasure holds against who gets it; move the key (oubliette root-key add, retire)"
            ),
            Overwritten::Unknown(name) => tracing::warn!(
                path = %path.display(),
                "the root key stands on {name}: whether destroyed keys are overwritten depends on what lies below; put it on a volume of its own"
            ),
        }
    }
}

fn refuse(path: &Path, overwritten: Overwritten, is_accepted: bool) -> Result<(), RootKeyError> {
    match overwritten {
        Overwritten::Kept(file_system) if !is_accepted => {
            Err(RootKeyError::KeepsOverwritten { path: path.to_owned(), file_system })
        }
        // A container's own layer: what is made in it is overwritten as the file system below does.
        Overwritten::Gone | Overwritten::Unknown(_) | Overwritten::Kept(_) => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn overwritten_in(place: &Path) -> Overwritten {
    // Where it cannot be asked, what follows on the same path fails with better words.
    let by_type = rustix::fs::statfs(place).map_or(Overwritten::Gone, |about| of_type(about.f_type as u32));
    match by_type {
        Overwritten::Gone if journals_data(place) => {
            Overwritten::Kept("a file system that journals data (data=journal)")
        }
        other => other,
    }
}

/// Whether what is written goes through a journal, which keeps a copy of it until that space is used again: all of the file system
/// (`data=journal`), or this file or folder (`chattr +j`).
#[cfg(target_os = "linux")]
fn journals_data(place: &Path) -> bool {
    use rustix::fs::{IFlags, ioctl_getflags, major, minor};
    use std::os::unix::fs::MetadataExt as _;
    let is_marked = std::fs::File::open(place).ok().and_then(|file| ioctl_getflags(file).ok());
    if is_marked.is_some_and(|flags| flags.contains(IFlags::JOURNALING)) {
        return true;
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo");
    let device = place.metadata().map(|about| (major(about.dev()), minor(about.dev())));
    mounts.is_ok_and(|mounts| device.is_ok_and(|device| is_mounted_with_data_journal(&mounts, device)))
}

/// Whether a device is mounted so, by the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): the third field is the device, the last one
/// has the options of the file system.
#[cfg(any(target_os = "linux", test))]
fn is_mounted_with_data_journal(mounts: &str, (major, minor): (u32, u32)) -> bool {
    let device = format!("{major}:{minor}");
    let of_it = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(&device));
    of_it.filter_map(|line| line.rsplit(' ').next()).any(|options| options.split(',').any(|one| one == "data=journal"))
}

#[cfg(not(target_os = "linux"))]
fn overwritten_in(_: &Path) -> Overwritten {
    Overwritten::Unknown("a file system of an operating system other than Linux")
}

/// By the numbers of `linux/magic.h` and of the file systems outside of it.
#[cfg(any(target_os = "linux", test))]
fn of_type(number: u32) -> Overwritten {
    match number {
        0x9123_683e => Overwritten::Kept("btrfs"),
        0x2fc1_2fc1 => Overwritten::Kept("ZFS"),
        0xca45_1a4e => Overwritten::Kept("bcachefs"),
        0x0000_3434 => Overwritten::Kept("NILFS2"),
        0xf2f5_2010 => Overwritten::Kept("F2FS"),
        0x2405_1905 => Overwritten::Kept("UBIFS"),
        0x0000_72b6 => Overwritten::Kept("JFFS2"),
        0x794c_7630 => Overwritten::Unknown("overlayfs"),
        0x0000_6969 => Overwritten::Unknown("NFS"),
        0xff53_4d42 | 0xfe53_4d42 => Overwritten::Unknown("SMB"),
        0x6573_5546 => Overwritten::Unknown("FUSE"),
        _ => Overwritten::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_keeps_what_is_overwritten_is_refused_for_a_root_key_unless_that_is_accepted() {
        let path = Path::new("/keys/root.key");
        for (number, name) in [(0x9123_683e, "btrfs"), (0x2fc1_2fc1, "ZFS"), (0xca45_1a4e, "bcachefs")] {
            let refused = refuse(path, of_type(number), false).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("never overwrites in place"), "{refused}");
            refuse(path, of_type(number), true).unwrap();
        }
        // ext4, XFS, FAT, tmpfs; and a container's layers, where nobody can tell.
        for number in [0xef53, 0x5846_5342, 0x4d44, 0x0102_1994] {
            assert_eq!(of_type(number), Overwritten::Gone);
        }
        assert_eq!(of_type(0x794c_7630), Overwritten::Unknown("overlayfs"));
        refuse(path, of_type(0x794c_7630), false).unwrap();
    }

    #[test]
    fn a_file_system_that_journals_data_keeps_what_is_overwritten() {
        let mounts = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
                      31 27 8:17 / /keys rw,noatime - ext4 /dev/sdb1 rw,data=journal\n\
                      32 27 8:18 / /data=journal rw - ext4 /dev/sdc1 rw,data=ordered\n";
        assert!(is_mounted_with_data_journal(mounts, (8, 17)));
        for other in [(254, 0), (8, 18), (8, 1), (1, 7)] {
            assert!(!is_mounted_with_data_journal(mounts, other), "{other:?}");
        }
        let kept = Overwritten::Kept("a file system that journals data (data=journal)");
        let refused = refuse(Path::new("/keys/root.key"), kept, false).unwrap_err().to_string();
        assert!(refused.contains("data=journal"), "{refused}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_file_system_of_a_folder_can_be_asked() {
        // On any Linux.
        assert_eq!(rustix::fs::statfs("/proc").unwrap().f_type as u32, 0x9fa0);
        assert_eq!(overwritten_in(Path::new("/proc")), Overwritten::Gone);
    }
}
