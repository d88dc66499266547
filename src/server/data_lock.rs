//! The exclusive lock on the data directory: one process at a time uses it.
//!
//! The operating system releases the lock when the process ends in any way. The file also names its holder for the error
//! of a second process, and identifies the directory to the store, so that the next process on the directory takes over
//! the name of its node at once.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{ids, store::Process};

/// The name of the lock file in the data directory.
const FILE_NAME: &str = "lock";

/// The maximum size of the file in bytes: several times that of a valid one.
const MAX_FILE_SIZE: u64 = 4096;

/// Why a data directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum DataLockError {
    /// Another process uses it.
    #[error("{} is used by {holder}; each process needs a data_dir and a node name of its own", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that uses it, and the name of its node.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// A lock on a data directory. It is released when its last clone is dropped, or when the process ends.
#[derive(Clone, Debug)]
pub struct DataLock {
    _file: Arc<File>,
}

/// The content of the lock file.
#[derive(Deserialize, Serialize)]
struct Content {
    /// A random text that identifies the directory; each process on it keeps the text.
    directory: String,
    /// The holder of the lock, for operators.
    holder: String,
}

/// Locks `directory` for this process, which serves `node`. Returns the lock, and the identity of the process for the
/// store.
pub(super) fn lock(directory: &Path, node: &str) -> Result<(DataLock, Process), DataLockError> {
    let path = directory.join(FILE_NAME);
    let locked = open(&path).and_then(|mut file| {
        let content = read(&mut file)?;
        match file.try_lock() {
            Ok(()) => Ok(Ok((take(&mut file, node)?, file))),
            Err(TryLockError::WouldBlock) => Ok(Err(content)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    });
    match locked {
        Ok(Ok((process, file))) => Ok((DataLock { _file: Arc::new(file) }, process)),
        Ok(Err(content)) => {
            let holder = content.map_or_else(|| "another process".to_owned(), |content| content.holder);
            Err(DataLockError::InUse { directory: directory.into(), holder })
        }
        Err(source) => Err(DataLockError::File { path, source }),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The content of the file; `None` if it is empty, invalid, or being written.
fn read(file: &mut File) -> io::Result<Option<Content>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MAX_FILE_SIZE).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Writes this process into the locked file, and returns its identity. A copy of the directory is another directory:
/// therefore the identity contains the number of the file.
fn take(file: &mut File, node: &str) -> io::Result<Process> {
    let directory = read(file)?.map_or_else(ids::secret, |content| content.directory);
    let process = Process::with_id(format!("{directory}-{:x}", file.metadata()?.ino()));
    let content = Content { directory, holder: format!("{process} (node `{node}`)") };
    file.rewind()?;
    file.set_len(0)?;
    serde_json::to_writer(&mut *file, &content)?;
    file.flush()?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn second_lock_is_refused_until_the_first_ends() {
        let directory = tempfile::tempdir().unwrap();
        let (lock_held, first) = lock(directory.path(), "alpha").unwrap();
        let error = lock(directory.path(), "beta").unwrap_err().to_string();
        let expected = format!(
            "{} is used by {first} (node `alpha`); each process needs a data_dir and a node name of its own",
            directory.path().display()
        );
        assert_eq!(error, expected);
        drop(lock_held);
        let (_lock, second) = lock(directory.path(), "beta").unwrap();
        assert_eq!(first.id, second.id, "the directory identifies both");
    }

    #[test]
    fn copied_directory_has_another_identity() {
        let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_lock, first) = lock(original.path(), "alpha").unwrap();
        fs::copy(original.path().join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
        let (_lock, second) = lock(copy.path(), "alpha").unwrap();
        assert_ne!(first.id, second.id);
    }

    #[test]
    fn invalid_lock_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), "x".repeat(10_000)).unwrap();
        let (_lock, process) = lock(directory.path(), "alpha").unwrap();
        assert!(process.id.len() <= 64, "{}", process.id);
        let error = lock(directory.path(), "alpha").unwrap_err().to_string();
        assert!(error.contains(&process.to_string()), "{error}");
    }

    #[test]
    fn missing_directory_is_an_error_with_the_path() {
        let error = lock(Path::new("/no/such/directory"), "alpha").unwrap_err();
        assert!(error.to_string().contains("/no/such/directory/lock"), "{error}");
    }
}
