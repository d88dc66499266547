//! The documentation of the settings lists the settings that exist.

use std::collections::BTreeSet;

use super::faults;

/// The keys of a section: those that the fault for an unknown key lists.
fn keys_of(section: &str) -> Vec<String> {
    let content = if section.is_empty() { "unknown = 1".to_owned() } else { format!("[{section}]\nunknown = 1") };
    let (_, text) = faults(&content, &[]).into_iter().next().unwrap();
    let expected = text.split_once("expected").unwrap_or_else(|| panic!("no keys in: {text}")).1;
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn all_keys() -> BTreeSet<String> {
    let sections =
        ["admin", "metrics", "auth", "cors", "proxies", "store", "rejoin", "limits", "aspnetcore", "classic", "tls"];
    let general = keys_of("").into_iter().filter(|key| !sections.contains(&key.as_str()));
    let in_section = |section: &str| keys_of(section).into_iter().map(move |key| format!("{section}.{key}")).collect();
    general.chain(sections.into_iter().flat_map(|section| -> Vec<_> { in_section(section) })).collect()
}

#[test]
fn configuration_page_lists_every_setting() {
    let page = include_str!("../../../docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    // A list instead of a set, so that a row that is there twice is a fault.
    let mut documented: Vec<_> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    documented.sort();
    assert_eq!(documented, Vec::from_iter(all_keys()));
}

#[test]
fn readme_lists_only_existing_settings() {
    let page = include_str!("../../../README.md").split("## Settings").nth(1).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let unknown: Vec<_> =
        rows.map(|row| row.split('`').next().unwrap()).filter(|key| !all_keys().contains(*key)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
