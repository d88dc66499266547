//! A secret in a file that only its owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use crate::{
    ids,
    tokens::{BadSecret, check_secret},
};

/// Why a secret file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Other users can read the file, so the secret may be compromised.
    #[error(
        "other users can read {} (mode {mode:03o}); run `chmod 600` on it if nobody has read it, otherwise delete it, \
         and the next start creates a new one",
        path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is a directory, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It does not contain a secret.
    #[error("{} does not contain a secret: {reason}; delete it, and the next start creates a new one", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why the content is not a secret.
        reason: &'static str,
    },
    /// The file cannot be read or created.
    #[error("cannot read or create {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Reads the secret in the file. If the file does not exist, creates it with a random secret.
pub(super) fn read_or_create(path: &Path) -> Result<SecretString, SecretFileError> {
    // Opening a pipe would wait for a writer.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(SecretFileError::NotAFile { path: path.into() });
    }
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(error) => Err(file_error(path)(error)),
    }
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> SecretFileError {
    move |source| SecretFileError::File { path: path.into(), source }
}

/// The maximum size of the file in bytes. A larger file is not a secret, and is not read into memory.
const MAX_FILE_SIZE: u64 = 4096;

fn read(path: &Path, file: File) -> Result<SecretString, SecretFileError> {
    let mode = file.metadata().map_err(file_error(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::TooOpen { path: path.into(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(file_error(path))?;
    let invalid = |reason| SecretFileError::Invalid { path: path.into(), reason };
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(invalid("it is longer than 4096 bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is not text"))?.trim();
    match check_secret(text) {
        Ok(()) => Ok(text.into()),
        Err(BadSecret::ControlCharacter) => Err(invalid("it contains a control character")),
        Err(BadSecret::TooShort | BadSecret::Missing) => Err(invalid("it has fewer than 16 bytes")),
    }
}

/// Order: write and sync the content first, then link the file to its name. A crash therefore leaves no partial file at
/// `path`, and no other process reads one. If two processes create the file at the same time, both use the first one.
fn create(path: &Path) -> Result<SecretString, SecretFileError> {
    let draft = path.with_extension(format!("draft-{}", ids::secret()));
    let secret = ids::secret() + &ids::secret();
    let written = write(&draft, &secret).and_then(|()| fs::hard_link(&draft, path));
    // If the removal fails, the remaining draft has the same permissions as the file.
    let _ = fs::remove_file(&draft);
    match written {
        Ok(()) => Ok(secret.into()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path, File::open(path).map_err(file_error(path))?)
        }
        Err(error) => Err(file_error(path)(error)),
    }
}

fn write(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secret_is_created_once_for_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let first = read_or_create(&path).unwrap();
        assert_eq!(first.expose_secret().len(), 44);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_or_create(&path).unwrap().expose_secret(), first.expose_secret());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft remains");
    }

    #[test]
    fn second_creator_uses_the_existing_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let first = create(&path).unwrap();
        assert_eq!(create(&path).unwrap().expose_secret(), first.expose_secret());
    }

    #[test]
    fn secret_readable_by_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        read_or_create(&path).unwrap();
        for (permissions, is_refused) in [(0o640, true), (0o604, true), (0o400, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(permissions)).unwrap();
            let result = read_or_create(&path);
            assert_eq!(
                matches!(&result, Err(SecretFileError::TooOpen { mode, .. }) if *mode == permissions),
                is_refused,
                "{result:?}"
            );
        }
    }

    #[test]
    fn short_secret_and_missing_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write(&path, " ").unwrap();
        assert!(matches!(read_or_create(&path), Err(SecretFileError::Invalid { .. })));
        assert!(matches!(read_or_create(&directory.path().join("no/key")), Err(SecretFileError::File { .. })));
    }

    #[test]
    fn pipe_and_directory_are_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
        for path in [&pipe, directory.path()] {
            assert!(matches!(read_or_create(path), Err(SecretFileError::NotAFile { .. })), "{}", path.display());
        }
    }

    #[test]
    fn content_that_is_no_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let contents =
            ["\0".repeat(64).into_bytes(), vec![0xff; 64], vec![b'a'; 5000], b"two lines\nof a secret".to_vec()];
        for (number, content) in contents.into_iter().enumerate() {
            let path = directory.path().join(number.to_string());
            write(&path, "").unwrap();
            fs::write(&path, content).unwrap();
            let refused = read_or_create(&path);
            assert!(matches!(refused, Err(SecretFileError::Invalid { .. })), "{number}: {refused:?}");
        }
    }
}
