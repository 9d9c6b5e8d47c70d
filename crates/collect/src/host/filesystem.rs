//! Mounted file systems: `/proc/1/mounts` and `statfs`.
//!
//! `statfs` of a network file system whose server is gone does not return. File systems that may
//! hang are asked on a thread of their own with a deadline; one that missed it is reported as
//! `node_filesystem_device_error` and not asked again before its thread has come back.

use super::page::Page;
use super::{Roots, read};
use rustix::fs::StatVfs;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// How long a file system may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Most file systems read; a machine with more has a container engine that left its mounts behind.
const MOUNTS_MAX: usize = 1_000;

/// File systems that never hold files of the machine's own.
const EXCLUDED_TYPES: [&str; 28] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "rootfs",
    "efivarfs",
    "fuse.lxcfs",
    "ramfs",
];

/// File systems on local storage, which answer at once.
const LOCAL_TYPES: [&str; 12] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "vfat", "tmpfs", "jfs", "exfat", "ntfs3",
];

/// A line of the list of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    mountpoint: String,
    fstype: String,
    readonly: bool,
}

/// Remembers which mount points did not answer.
pub(super) struct Mounts {
    stuck: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Mounts {
    pub(super) fn new() -> Mounts {
        Mounts { stuck: Arc::default() }
    }

    /// `node_filesystem_*`.
    pub(super) fn collect(&self, roots: &Roots, page: &mut Page) -> Result<(), String> {
        // The mounts of the first process are the machine's; our own may be a container's.
        let text = roots.proc("1/mounts").or_else(|_| roots.proc("self/mounts"));
        let text = text.or_else(|_| read(&roots.procfs.join("mounts")))?;
        let mounts: Vec<Mount> =
            text.lines().filter_map(|line| parse(line, &roots.rootfs)).take(MOUNTS_MAX).collect();
        let mut seen = HashSet::new();
        for mount in mounts.iter().filter(|mount| !is_excluded(mount)) {
            if seen.insert((&mount.device, &mount.mountpoint, &mount.fstype)) {
                self.report(mount, roots, page);
            }
        }
        if seen.is_empty() {
            // Inside a container everything may be excluded, and yet its root can fill up.
            if let Some(root) = mounts.iter().rev().find(|mount| mount.mountpoint == "/") {
                self.report(root, roots, page);
            }
        }
        Ok(())
    }

    fn report(&self, mount: &Mount, roots: &Roots, page: &mut Page) {
        let labels = [
            ("device", &*mount.device),
            ("fstype", &*mount.fstype),
            ("mountpoint", &*mount.mountpoint),
        ];
        let answer = self.statvfs(roots.root(&mount.mountpoint), &mount.fstype);
        let mut gauge = |name: &'static str, help: &'static str, value: f64| {
            page.gauge(name, help, &labels, value);
        };
        let failed = f64::from(u8::from(answer.is_none()));
        let help = "Whether the file system could not be asked.";
        gauge("node_filesystem_device_error", help, failed);
        let Some(stat) = answer else { return };
        let size = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
        gauge("node_filesystem_size_bytes", "Size of the file system.", size(stat.f_blocks));
        gauge("node_filesystem_free_bytes", "Free bytes, root's included.", size(stat.f_bfree));
        gauge("node_filesystem_avail_bytes", "Free bytes for everyone.", size(stat.f_bavail));
        gauge("node_filesystem_files", "Files the file system can hold.", stat.f_files as f64);
        gauge("node_filesystem_files_free", "Files it can still take.", stat.f_ffree as f64);
        let readonly = f64::from(u8::from(mount.readonly));
        gauge("node_filesystem_readonly", "Whether it is mounted read-only.", readonly);
    }

    fn statvfs(&self, path: PathBuf, fstype: &str) -> Option<StatVfs> {
        if LOCAL_TYPES.contains(&fstype) {
            return rustix::fs::statvfs(&path).ok();
        }
        let stuck = |set: &Mutex<HashSet<PathBuf>>| {
            set.lock().unwrap_or_else(PoisonError::into_inner).contains(&path)
        };
        if stuck(&self.stuck) {
            return None;
        }
        let (sender, receiver) = mpsc::channel();
        let (set, asked) = (Arc::clone(&self.stuck), path.clone());
        set.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        let spawned = std::thread::Builder::new().name("statfs".to_owned()).spawn(move || {
            let answer = rustix::fs::statvfs(&asked).ok();
            set.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked);
            // Nobody listens any more after the deadline.
            let _ = sender.send(answer);
        });
        if spawned.is_err() {
            self.stuck.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
            return None;
        }
        receiver.recv_timeout(ANSWER_TIMEOUT).ok().flatten()
    }
}

fn parse(line: &str, rootfs: &Path) -> Option<Mount> {
    let mut words = line.split(' ');
    let device = unescape(words.next()?);
    let mountpoint = unescape(words.next()?);
    let fstype = words.next()?.to_owned();
    let readonly = words.next()?.split(',').any(|option| option == "ro");
    Some(Mount { device, mountpoint: strip_rootfs(&mountpoint, rootfs), fstype, readonly })
}

/// The mount point as the machine calls it, seen through `--path.rootfs`.
fn strip_rootfs(mountpoint: &str, rootfs: &Path) -> String {
    if rootfs == Path::new("/") {
        return mountpoint.to_owned();
    }
    match Path::new(mountpoint).strip_prefix(rootfs) {
        Ok(rest) => format!("/{}", rest.display()),
        Err(_) => mountpoint.to_owned(),
    }
}

/// The kernel writes blanks, tabs, newlines and backslashes as octal numbers.
fn unescape(word: &str) -> String {
    if !word.contains('\\') {
        return word.to_owned();
    }
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(word.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Debian's default exclusions for node_exporter, with two differences. Disks mounted under `/mnt`
/// and `/media` are read, because hosting providers attach volumes there and a full one must be
/// seen; and a few more types that hold no files are left out.
fn is_excluded(mount: &Mount) -> bool {
    if EXCLUDED_TYPES.contains(&mount.fstype.as_str()) {
        return true;
    }
    let rest_after = |prefix: &str| {
        let rest = mount.mountpoint.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    };
    let in_memory = mount.fstype == "tmpfs";
    ["/dev", "/proc", "/run", "/sys"].iter().any(|prefix| rest_after(prefix).is_some())
        || in_memory && ["/mnt", "/media"].iter().any(|prefix| rest_after(prefix).is_some())
        || ["/var/lib/docker", "/var/lib/containers/storage"]
            .iter()
            .any(|prefix| rest_after(prefix).is_some_and(|rest| rest.len() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_unescaped_and_excluded_as_node_exporter_does() {
        for (line, wanted) in [
            ("/dev/vda / ext4 rw,relatime 0 0", Some(("/", false))),
            ("/dev/vdb /mnt/a\\040b xfs ro,relatime 0 0", Some(("/mnt/a b", true))),
            ("tmpfs /run tmpfs rw 0 0", None),
            ("tmpfs /tmp tmpfs rw 0 0", Some(("/tmp", false))),
            ("tmpfs /mnt/x tmpfs rw 0 0", None),
            ("tmpfs /dev/shm tmpfs rw 0 0", None),
            ("proc /proc proc rw 0 0", None),
            ("overlay /x overlay rw 0 0", None),
            ("/dev/vda /var/lib/docker/overlay2 ext4 rw 0 0", None),
            ("/dev/vda /var/lib/docker ext4 rw 0 0", Some(("/var/lib/docker", false))),
            ("/dev/vda /devices ext4 rw 0 0", Some(("/devices", false))),
            ("broken", None),
        ] {
            let mount = parse(line, Path::new("/")).filter(|mount| !is_excluded(mount));
            let got = mount.as_ref().map(|mount| (mount.mountpoint.as_str(), mount.readonly));
            assert_eq!(got, wanted, "{line}");
        }
        for (mountpoint, wanted) in [("/host", "/"), ("/host/var", "/var"), ("/hosts", "/hosts")] {
            assert_eq!(strip_rootfs(mountpoint, Path::new("/host")), wanted);
        }
    }

    #[test]
    fn a_file_system_that_may_hang_is_asked_on_its_own_thread() {
        let mounts = Mounts::new();
        assert!(mounts.statvfs("/".into(), "nfs4").is_some());
        assert!(mounts.statvfs("/nowhere/at/all".into(), "nfs4").is_none());
        assert!(mounts.stuck.lock().unwrap().is_empty());
        mounts.stuck.lock().unwrap().insert("/".into());
        assert!(mounts.statvfs("/".into(), "nfs4").is_none(), "it is not asked while it is stuck");
    }
}
