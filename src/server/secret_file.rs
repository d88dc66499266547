//! A secret in a file of its own, for its owner's eyes alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use crate::{ids, tokens::SHORTEST_SECRET};

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others may read it, so that it may be none any more.
    #[error(
        "{} can be read by others (its mode is {mode:03o}): if nobody has, `chmod 600` it, else remove it and a new \
         one is made",
        path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is nothing in it, or not enough.
    #[error("{} holds less than {SHORTEST_SECRET} characters: remove it and a new one is made", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or made.
    #[error("{} cannot be read or made", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Answers the secret in the file, or puts a random one there.
pub(super) fn read_or_make(path: &Path) -> Result<SecretString, Error> {
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(failed(path)(error)),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::File { path: path.into(), source }
}

fn read(path: &Path, mut file: File) -> Result<SecretString, Error> {
    let mode = file.metadata().map_err(failed(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path: path.into(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed(path))?;
    match text.trim() {
        short if short.len() < SHORTEST_SECRET => Err(Error::TooShort { path: path.into() }),
        secret => Ok(secret.into()),
    }
}

/// Order: the file gets its name when its content is safe, so that no crash and no other process leaves or sees half
/// of it; of two processes that make one, both end up with the first.
fn make(path: &Path) -> Result<SecretString, Error> {
    let draft = path.with_extension(format!("draft-{}", ids::secret()));
    let secret = ids::secret() + &ids::secret();
    let written = write(&draft, &secret).and_then(|()| fs::hard_link(&draft, path));
    // A draft that stays behind is as secret as any.
    let _ = fs::remove_file(&draft);
    match written {
        Ok(()) => Ok(secret.into()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path, File::open(path).map_err(failed(path))?)
        }
        Err(error) => Err(failed(path)(error)),
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
    fn a_secret_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let first = read_or_make(&path).unwrap();
        assert_eq!(first.expose_secret().len(), 44);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_or_make(&path).unwrap().expose_secret(), first.expose_secret());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn whoever_comes_second_takes_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let first = make(&path).unwrap();
        assert_eq!(make(&path).unwrap().expose_secret(), first.expose_secret());
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        read_or_make(&path).unwrap();
        for (open, refused) in [(0o640, true), (0o604, true), (0o400, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let answer = read_or_make(&path);
            assert_eq!(matches!(&answer, Err(Error::TooOpen { mode, .. }) if *mode == open), refused, "{answer:?}");
        }
    }

    #[test]
    fn a_file_that_holds_too_little_and_a_missing_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write(&path, " ").unwrap();
        assert!(matches!(read_or_make(&path), Err(Error::TooShort { .. })));
        assert!(matches!(read_or_make(&directory.path().join("no/key")), Err(Error::File { .. })));
    }
}
