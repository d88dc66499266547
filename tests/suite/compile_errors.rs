//! The texts of the compiler for mistakes in hub methods. Each file in `tests/compile_errors` contains one mistake and
//! begins with the texts that the compiler must print: `// error: …` for every error, and `// …` for notes and labels.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The newest build of the library beside this test program.
fn library(directory: &Path) -> PathBuf {
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libhubcast-") && name.ends_with(".rlib")
    };
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let newest = files.filter(is_library).max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.expect("cargo has built the library beside this program")
}

/// Compiles a file and returns the messages of the compiler. It fails if the file compiles.
fn compile(file: &Path) -> String {
    let program = std::env::current_exe().unwrap();
    let dependencies = program.parent().unwrap();
    let output = tempfile::tempdir().unwrap();
    let mut compiler = Command::new("rustc");
    // Some errors occur only when code is generated.
    compiler.args(["--edition", "2024", "--crate-type", "lib", "--emit", "obj", "--allow", "warnings", "--out-dir"]);
    compiler.arg(output.path()).arg("-L").arg(format!("dependency={}", dependencies.display()));
    compiler.arg("--extern").arg(format!("hubcast={}", library(dependencies).display()));
    let compiled = compiler.arg(file).output().unwrap();
    assert!(!compiled.status.success(), "{} compiles", file.display());
    String::from_utf8(compiled.stderr).unwrap()
}

fn check(file: &Path) {
    let source = fs::read_to_string(file).unwrap();
    let expected: Vec<_> = source.lines().map_while(|line| line.strip_prefix("// ")).collect();
    let messages = compile(file);
    let is_error = |line: &&str| line.starts_with("error") && !line.starts_with("error: aborting");
    let mut errors = messages.lines().filter(is_error);
    for text in &expected {
        let is_printed = match text.strip_prefix("error: ") {
            Some(text) => errors.next().is_some_and(|line| line.contains(text)),
            None => messages.contains(text),
        };
        assert!(is_printed, "{}: the compiler does not print `{text}`:\n{messages}", file.display());
    }
    assert_eq!(errors.next(), None, "{}", file.display());
}

#[test]
fn compiler_names_the_violated_rule_of_hub_methods() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_errors");
    let files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 11, "each usual mistake has a file");
    files.iter().for_each(|file| check(file));
}
