//! The rules of the house that a machine can check, read from the source and from ARCHITECTURE.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// No file is longer: what does not fit on some screens is not read.
const LONGEST_FILE: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files_under(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => files_under(&path, into),
            Some(extension) if extension == "rs" => into.push(path),
            _ => {}
        }
    }
}

/// Every file of ours under `folder`, by its path from the root, with its text.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut files = Vec::new();
    files_under(&root().join(folder), &mut files);
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The files of the crate without their tests.
fn shipped() -> BTreeMap<String, String> {
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let code = sources("src").into_iter().filter(|(path, _)| !is_test(path));
    code.map(|(path, text)| (path, without_comments_and_tests(&text))).collect()
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The door that a file belongs to: `src/outbox/queue.rs` to `outbox`.
fn door_of(path: &str) -> &str {
    path.trim_start_matches("src/").trim_end_matches(".rs").split('/').next().unwrap()
}

/// The doors with their rows, as ARCHITECTURE.md has them.
fn rows() -> BTreeMap<String, usize> {
    let page = read("ARCHITECTURE.md");
    let table = page.split("| row | doors |").nth(1).expect("the table of rows");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1);
        let number: usize = cells.next().unwrap().trim().parse().unwrap();
        let doors: Vec<_> = cells.next().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
        doors.into_iter().map(move |door| (door, number))
    };
    lines.flat_map(row).collect()
}

/// Which door each name at the root of the crate comes from: `Engine` from `engine`.
fn reexports() -> BTreeMap<String, String> {
    let lib = read("src/lib.rs");
    let lines = lib.lines().filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix(';')?.split_once("::"));
    let names = |(door, names): (&str, &str)| {
        let names: Vec<_> = names.trim_matches(['{', '}']).split(", ").map(str::to_owned).collect();
        let door = door.to_owned();
        names.into_iter().map(move |name| (name, door.clone()))
    };
    lines.flat_map(names).collect()
}

/// What follows each `crate::`: one name, or those at the top of a list in braces.
fn imports(code: &str) -> BTreeSet<String> {
    code.replace("$crate::", "").split("crate::").skip(1).flat_map(first_names).collect()
}

fn first_names(path: &str) -> Vec<String> {
    let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    let name = |text: &str| text.trim_start().chars().take_while(is_name).collect::<String>();
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut begins) = (0, Vec::new(), true);
    for (at, letter) in list.char_indices() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && is_name(&letter) => {
                names.push(name(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn lists_of_imports_are_read_as_they_are_written() {
    let code = "use crate::{\n    hub::{Args, world::World},\n    ids::HubName,\n};\ncrate::metrics::Metrics";
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), ["hub", "ids", "metrics"]);
}

#[test]
fn a_door_imports_from_rows_above_its_own_and_from_no_other() {
    let (rows, reexports) = (rows(), reexports());
    let mut wrong = Vec::new();
    for (path, code) in shipped() {
        let door = door_of(&path);
        if door == "lib" {
            continue;
        }
        let own = rows.get(door).unwrap_or_else(|| panic!("`{door}` has no row in ARCHITECTURE.md"));
        for name in imports(&code) {
            let other = reexports.get(&name).map_or(&*name, |door| door);
            let is_above = rows.get(other).is_some_and(|row| row < own);
            if other != door && !is_above {
                wrong.push(format!("{path} (row {own}) imports {other} (row {:?})", rows.get(other)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_door_has_a_row_and_every_row_a_door() {
    let listed: BTreeSet<_> = rows().into_keys().collect();
    let there: BTreeSet<_> =
        shipped().keys().map(|path| door_of(path).to_owned()).filter(|door| door != "lib").collect();
    assert_eq!(listed, there);
}

#[test]
fn every_door_says_its_role_its_life_its_neighbours_and_what_it_never_does() {
    for path in sources("src").keys().filter(|path| path.matches('/').count() == 1) {
        let text = read(path);
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(!head.is_empty(), "{path} begins without a word");
        if !["src/lib.rs", "src/main.rs"].contains(&&**path) {
            for word in ["Role:", "Life:", "Neighbours:", "Never:"] {
                assert!(head.contains(word), "{path} does not say `{word}`");
            }
        }
    }
}

#[test]
fn no_file_is_too_long() {
    let folders = ["src", "tests", "examples", "benches", "entities", "migration"];
    let all = folders.into_iter().flat_map(sources);
    let long: Vec<_> =
        all.map(|(path, text)| (text.lines().count(), path)).filter(|(lines, _)| *lines > LONGEST_FILE).collect();
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines: {long:?}");
}

#[test]
fn a_crate_that_may_be_named_in_one_place_is_named_in_no_other() {
    for (name, places) in [
        ("actix_web_actors", &["src/transport/websocket.rs"][..]),
        ("sea_orm", &["src/store/sea.rs", "src/store/sea/"]),
        ("entities::", &["src/store/sea.rs", "src/store/sea/"]),
        ("env::var", &["src/config.rs", "src/config/"]),
    ] {
        for (path, code) in shipped() {
            let is_path = |text: &str| text.contains(&format!("{name}::")) || name.contains("::");
            let named = code.lines().find(|line| line.contains(name) && is_path(line));
            let may = places.iter().any(|place| path.starts_with(place));
            assert!(may || named.is_none(), "{path} names {name}: {named:?}");
        }
    }
}

#[test]
fn every_example_is_listed_in_the_readme() {
    let readme = read("README.md");
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let is_example = path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            !is_example
                || readme.contains(&format!("--example {name}`"))
                || readme.contains(&format!("--example {name} ")),
            "{name}"
        );
    }
}

#[test]
fn no_file_is_named_mod() {
    for folder in ["src", "tests", "examples"] {
        let wrong: Vec<_> = sources(folder).into_keys().filter(|path| path.ends_with("mod.rs")).collect();
        assert!(wrong.is_empty(), "a folder's door stands beside it: {wrong:?}");
    }
}
