//! Checks of the rules of this code base: layers, file lengths, module documentation and crate usage.
//!
//! The layers are read from the table in ARCHITECTURE.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The maximum number of lines of a source file.
const MAX_FILE_LINES: usize = 400;

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

/// The Rust files under `folder`: path relative to the root, and text.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut files = Vec::new();
    files_under(&root().join(folder), &mut files);
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The files of the library crate, without test code and comments.
fn library_sources() -> BTreeMap<String, String> {
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let code = sources("src").into_iter().filter(|(path, _)| !is_test(path));
    code.map(|(path, text)| (path, without_comments_and_tests(&text))).collect()
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The top-level module of a file: `outbox` for `src/outbox/queue.rs`.
fn module_of(path: &str) -> &str {
    path.trim_start_matches("src/").trim_end_matches(".rs").split('/').next().unwrap()
}

/// The layer of each module, from the table in ARCHITECTURE.md.
fn layers() -> BTreeMap<String, usize> {
    let page = read("ARCHITECTURE.md");
    let table = page.split("| layer | modules |").nth(1).expect("the table of layers");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let modules_of_layer = |line: &str| {
        let mut cells = line.split('|').skip(1);
        let layer: usize = cells.next().unwrap().trim().parse().unwrap();
        let modules: Vec<_> = cells.next().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
        modules.into_iter().map(move |module| (module, layer))
    };
    lines.flat_map(modules_of_layer).collect()
}

/// The module of each name that the crate root re-exports: `engine` for `Engine`.
fn reexports() -> BTreeMap<String, String> {
    let lib = read("src/lib.rs");
    let statements = lib.split(';').filter_map(|text| text.rsplit_once("pub use ")?.1.split_once("::"));
    let names = |(module, names): (&str, &str)| {
        let public = |name: &str| name.rsplit(" as ").next().unwrap().to_owned();
        let names = names.trim_matches(['{', '}']).split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(public).collect();
        let module = module.to_owned();
        names.into_iter().map(move |name| (name, module.clone()))
    };
    statements.flat_map(names).collect()
}

/// The names after each `crate::`: one name, or the first segments of a list in braces.
fn imports(code: &str) -> BTreeSet<String> {
    code.replace("$crate::", "").split("crate::").skip(1).flat_map(first_names).collect()
}

fn first_names(path: &str) -> Vec<String> {
    let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    let name = |text: &str| text.trim_start().chars().take_while(is_name).collect::<String>();
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut at_start) = (0, Vec::new(), true);
    for (at, letter) in list.char_indices() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            _ if at_start && is_name(&letter) => {
                names.push(name(&list[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn import_lists_are_parsed() {
    let code = "use crate::{\n    hub::{Args, services::HubServices},\n    ids::HubName,\n};\ncrate::metrics::Metrics";
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), ["hub", "ids", "metrics"]);
}

#[test]
fn modules_import_only_from_lower_layers() {
    let (layers, reexports) = (layers(), reexports());
    let mut violations = Vec::new();
    for (path, code) in library_sources() {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let own = layers.get(module).unwrap_or_else(|| panic!("`{module}` has no layer in ARCHITECTURE.md"));
        for name in imports(&code) {
            let other = reexports.get(&name).map_or(&*name, |module| module);
            let is_lower = layers.get(other).is_some_and(|layer| layer < own);
            if other != module && !is_lower {
                violations.push(format!("{path} (layer {own}) imports {other} (layer {:?})", layers.get(other)));
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn layer_table_lists_every_module() {
    let listed: BTreeSet<_> = layers().into_keys().collect();
    let existing: BTreeSet<_> =
        library_sources().keys().map(|path| module_of(path).to_owned()).filter(|module| module != "lib").collect();
    assert_eq!(listed, existing);
}

#[test]
fn every_module_has_documentation() {
    for (path, text) in sources("src").iter().filter(|(path, _)| path.matches('/').count() == 1) {
        assert!(text.starts_with("//! "), "{path} does not begin with module documentation");
    }
}

#[test]
fn no_file_exceeds_the_line_limit() {
    let folders = ["src", "tests", "examples", "benches", "entities", "migration"];
    let all = folders.into_iter().flat_map(sources);
    let too_long: Vec<_> =
        all.map(|(path, text)| (text.lines().count(), path)).filter(|(lines, _)| *lines > MAX_FILE_LINES).collect();
    assert!(too_long.is_empty(), "longer than {MAX_FILE_LINES} lines: {too_long:?}");
}

#[test]
fn restricted_crates_are_used_only_where_allowed() {
    for (name, places) in [
        ("actix_web_actors", &["src/transport/websocket.rs"][..]),
        ("sea_orm", &["src/store/sea.rs", "src/store/sea/"]),
        ("entities::", &["src/store/sea.rs", "src/store/sea/"]),
        ("env::var", &["src/config.rs", "src/config/"]),
        ("tokio::signal", &["src/signals.rs"]),
        ("actix_tls", &["src/transport/socket/duplicate.rs"]),
        ("awc", &["src/store/azure/client.rs"]),
        (
            "rustls::",
            &[
                "src/crypto.rs",
                "src/server/tls.rs",
                "src/http_server",
                "src/store/azure/client.rs",
                "src/store/sea/server/tls.rs",
                "src/transport/server_stream.rs",
            ],
        ),
    ] {
        for (path, code) in library_sources() {
            let is_path = |text: &str| text.contains(&format!("{name}::")) || name.contains("::");
            let usage = code.lines().find(|line| line.contains(name) && is_path(line));
            let is_allowed = places.iter().any(|place| path.starts_with(place));
            assert!(is_allowed || usage.is_none(), "{path} uses {name}: {usage:?}");
        }
    }
}

#[test]
fn lines_that_clients_can_cause_are_limited() {
    // The lines of these modules have other causes: the start, timers, signals, dead actors and failing stores.
    let unlimited = [
        "src/connection/stored_lists",
        "src/engine/",
        "src/http_server.rs",
        "src/hub/reconciler",
        "src/main.",
        "src/membership",
        "src/server",
        "src/store/sea",
        "src/supervised",
    ];
    for (path, code) in library_sources() {
        let line = code.lines().find(|line| ["info!(", "warn!(", "error!("].iter().any(|name| line.contains(name)));
        let is_unlimited = unlimited.iter().any(|module| path.starts_with(module));
        assert!(is_unlimited || line.is_none(), "{path} logs without `client_log`: {line:?}");
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
        let found: Vec<_> = sources(folder).into_keys().filter(|path| path.ends_with("mod.rs")).collect();
        assert!(found.is_empty(), "use `name.rs` beside the folder `name` instead of {found:?}");
    }
}

#[test]
fn every_dependency_is_used() {
    let manifest = read("Cargo.toml");
    let section = |name: &str| manifest.split(&format!("\n[{name}]\n")).nth(1).unwrap().split("\n[").next().unwrap();
    let names = |section: &str| -> Vec<String> {
        section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.replace('-', "_")).collect()
    };
    let uses = |folders: &[&str], name: &str| {
        let is_used = |code: &String| code.contains(&format!("{name}::")) || code.contains(&format!("use {name}"));
        folders.iter().any(|folder| sources(folder).values().any(is_used))
    };
    let shipped = names(section("dependencies")).into_iter().filter(|name| !uses(&["src"], name));
    let development = names(section("dev-dependencies")).into_iter();
    let development = development.filter(|name| !uses(&["src", "tests", "examples", "benches"], name));
    let unused: Vec<_> = shipped.chain(development).collect();
    assert!(unused.is_empty(), "unused dependencies: {unused:?}");
}

#[test]
fn architecture_page_stays_short() {
    assert!(read("ARCHITECTURE.md").lines().count() <= 150);
}

/// The page names each station of a path as `file: function`. Files are relative to `src`.
#[test]
fn architecture_page_names_existing_files() {
    let page = read("ARCHITECTURE.md");
    let files = page.split('`').skip(1).step_by(2).filter(|text| text.ends_with(".rs") && !text.contains(' '));
    let missing: Vec<_> =
        files.filter(|file| !root().join(file).is_file() && !root().join("src").join(file).is_file()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
