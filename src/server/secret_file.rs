//! A secret in a file that only its owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use crate::{ids, tokens::MIN_SECRET_LENGTH};

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
    /// The file is empty, or the secret is too short.
    #[error("{} has fewer than {MIN_SECRET_LENGTH} bytes; delete it, and the next start creates a new one", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
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
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(error) => Err(file_error(path)(error)),
    }
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> SecretFileError {
    move |source| SecretFileError::File { path: path.into(), source }
}

fn read(path: &Path, mut file: File) -> Result<SecretString, SecretFileError> {
    let mode = file.metadata().map_err(file_error(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::TooOpen { path: path.into(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(file_error(path))?;
    match text.trim() {
        short if short.len() < MIN_SECRET_LENGTH => Err(SecretFileError::TooShort { path: path.into() }),
        secret => Ok(secret.into()),
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
        assert!(matches!(read_or_create(&path), Err(SecretFileError::TooShort { .. })));
        assert!(matches!(read_or_create(&directory.path().join("no/key")), Err(SecretFileError::File { .. })));
    }
}
