//! What is done with a file that the disk did not keep, or kept wrong.

use crate::record::{READ_BYTES, Records};
use crate::{Disk, DiskError, DiskFile, parent};
use std::path::{Path, PathBuf};

/// Writes a file again whose sync failed, and opens the new one to append to.
///
/// After a failed `fsync` the system takes the pages for clean: a second `fsync` succeeds and says
/// nothing about them. So the bytes that this process can still read are written to another file,
/// that one is synced and takes the name. The first `header_bytes` are taken as they are; the
/// records behind them, up to `len`, must check, or nothing is replaced.
pub fn write_again(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    header_bytes: u64,
    len: u64,
) -> Result<Box<dyn DiskFile>, DiskError> {
    let path = file.path();
    let tmp = with_ending(path, ".tmp");
    copy(disk, file, len, &tmp)?;
    let copied = disk.open(&tmp)?;
    let mut records = Records::new(&*copied, header_bytes, len);
    while records.next_payload()?.is_some() {}
    drop(copied);
    disk.rename(&tmp, path)?;
    disk.sync_dir(&parent(path))?;
    disk.append(path)
}

/// Copies a damaged file to `NAME.damaged` before it is changed, for who wants to look at it.
/// Nothing reads it any more. A copy that is there already stays.
pub fn put_aside(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    let aside = with_ending(path, ".damaged");
    if disk.exists(&aside) {
        return Ok(());
    }
    let file = disk.open(path)?;
    let tmp = with_ending(path, ".tmp");
    copy(disk, &*file, file.len()?, &tmp)?;
    disk.rename(&tmp, &aside)?;
    disk.sync_dir(&parent(path))
}

/// Copies the first `len` bytes of a file into another, and syncs it.
fn copy(disk: &dyn Disk, file: &dyn DiskFile, len: u64, to: &Path) -> Result<(), DiskError> {
    let copied = disk.create(to)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    while at < len {
        let some = &mut buffer[..(len - at).min(READ_BYTES as u64) as usize];
        file.read_at(at, some)?;
        copied.append(some)?;
        at += some.len() as u64;
    }
    copied.sync()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    assert!(!name.is_empty(), "{} names a file", path.display());
    name.push(ending);
    path.with_file_name(name)
}
