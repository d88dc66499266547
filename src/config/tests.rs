use std::fs;

use tempfile::TempDir;

use super::*;
use crate::{OnStoreFailure, pipeline::Policy};

mod credentials;
mod documentation;
mod listeners;
mod proxies;
mod tls;

fn variables(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// Writes `content` to a temporary file. Returns its directory, and the flags that name the file.
fn file(content: &str) -> (TempDir, Flags) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.toml");
    fs::write(&path, content).unwrap();
    (directory, Flags { config: Some(path), ..Flags::default() })
}

fn read(content: &str, environment: &[(&str, &str)]) -> Result<Settings, Faults> {
    let (_directory, flags) = file(content);
    Settings::read(&flags, &variables(environment))
}

/// The key and the text of each fault.
fn faults(content: &str, environment: &[(&str, &str)]) -> Vec<(String, String)> {
    let faults = read(content, environment).unwrap_err();
    faults.iter().map(|fault| (fault.key.clone(), fault.text.clone())).collect()
}

fn keys(content: &str, environment: &[(&str, &str)]) -> Vec<String> {
    faults(content, environment).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn empty_configuration_uses_defaults() {
    let settings = read("", &[]).unwrap();
    assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    assert_eq!(settings.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(settings.store_url(), "sqlite://hubcast-data/hubcast.db?mode=rwc");
}

#[test]
fn flags_override_environment_overrides_file() {
    let (_directory, mut flags) = file("node = 'file'\nlisten = '127.0.0.1:1'\n[admin]\nlisten = '127.0.0.1:2'\n");
    flags.admin_listen = Some("127.0.0.1:22".into());
    let environment = variables(&[("HUBCAST_LISTEN", "127.0.0.1:11"), ("HUBCAST_ADMIN__LISTEN", "127.0.0.1:12")]);
    let settings = Settings::read(&flags, &environment).unwrap();
    assert_eq!(settings.node, "file");
    assert_eq!(settings.listen.port(), 11);
    assert_eq!(settings.admin.listen.port(), 22);
}

#[test]
fn environment_sets_values_of_every_type() {
    let environment = [
        ("HUBCAST_WORKERS", "3"),
        ("HUBCAST_NODE", "007"),
        ("HUBCAST_SIGNING_KEYS", "a secret that is long enough, 0123456789012345"),
        ("HUBCAST_CORS__ORIGINS", "https://a.example,https://b.example"),
        ("HUBCAST_STORE__ON_FAILURE", "continue"),
        ("HUBCAST_REJOIN__POLICIES__CHAT", "union"),
        ("HUBCAST_ASPNETCORE__KEEP_ALIVE", "500ms"),
        ("HUBCAST_ASPNETCORE__MAX_MESSAGE", "none"),
        ("HUBCAST_ASPNETCORE__DETAILED_ERRORS", "true"),
        ("PATH", "/bin"),
    ];
    let settings = read("", &environment).unwrap();
    assert_eq!(settings.workers.get(), 3);
    assert_eq!(settings.node, "007", "digits stay a text");
    let keys: Vec<_> = settings.signing_keys.iter().map(Secret::expose).collect();
    assert_eq!(keys, ["a secret that is long enough", "0123456789012345"]);
    assert_eq!(settings.cors.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(settings.store.on_failure, OnStoreFailure::Continue);
    assert_eq!(settings.rejoin.policies["chat"], Policy::Union);
    assert_eq!(settings.aspnetcore.keep_alive, Duration::from_millis(500));
    assert_eq!(settings.aspnetcore.max_message, None);
    assert!(settings.aspnetcore.detailed_errors);
}

#[test]
fn the_file_reaches_every_kind_of_value() {
    let content = "
        workers = 3
        signing_keys = ['a secret, long enough', '0123456789012345']
        drain_timeout = '2m'
        drain_window = '90s'
        [rejoin]
        lifetime = '1h 30m'
        policies = { chat = 'union' }
        [store]
        on_failure = 'continue'
        [limits]
        items = 7
        overflow = 'drop-oldest'
        [aspnetcore]
        max_message = 100
        [cors]
        origins = ['https://a.example']
    ";
    let settings = read(content, &[]).unwrap();
    assert_eq!(settings.workers.get(), 3);
    assert_eq!(settings.signing_keys[0].expose(), "a secret, long enough");
    assert_eq!(settings.signing_keys[1].expose(), "0123456789012345");
    assert_eq!(settings.drain_timeout, Duration::from_secs(120));
    assert_eq!(settings.drain_window(), Duration::from_secs(90));
    assert_eq!(settings.store.on_failure, OnStoreFailure::Continue);
    let rejoin = settings.rejoin.settings(&settings.store);
    assert_eq!(rejoin.lifetime, Duration::from_secs(5400));
    assert_eq!(rejoin.policies, [("chat".into(), Policy::Union)]);
    let limits = crate::outbox::Limits::from(settings.limits);
    assert_eq!((limits.items, limits.overflow), (7, crate::outbox::Overflow::DropOldest));
    assert_eq!(crate::aspnetcore::Settings::from(settings.aspnetcore).max_message, Some(100));
    assert_eq!(settings.cors.origins, ["https://a.example"]);
}

#[test]
fn client_limits_are_numbers_or_none() {
    let limits = |content| crate::ConnectionLimits::from(read(content, &[]).unwrap().limits);
    let defaults = limits("");
    assert_eq!(defaults, crate::ConnectionLimits::default());
    let content = "[limits]\nconnections = 5\nconnections_per_user = 'none'\nconnections_per_address = 7\n";
    let set = limits(content);
    let numbers = (set.total.get(), set.per_user, set.per_address.map(std::num::NonZeroUsize::get));
    assert_eq!(numbers, (5, None, Some(7)));
    assert_eq!(read("", &[]).unwrap().limits.durable_changes.map(std::num::NonZeroUsize::get), Some(100));
    let unlimited = read("[limits]\ndurable_changes = 'none'\n", &[]).unwrap();
    assert_eq!(unlimited.limits.durable_changes, None);
    let bad = "[limits]\ndurable_changes = 0\nconnections = 'none'\nconnections_per_user = 0\nconnections_per_address = 'some'\n";
    let bad_keys = [
        "limits.connections",
        "limits.connections_per_address",
        "limits.connections_per_user",
        "limits.durable_changes",
    ];
    assert_eq!(keys(bad, &[]), bad_keys);
}

#[test]
fn all_faults_are_reported_with_key_and_origin() {
    let content = "listne = 1\nworkers = 0\n[limits]\nbytes = 'much'\n[auth]\nmode = 'trust'\n";
    let (directory, flags) = file(content);
    let environment =
        variables(&[("HUBCAST_ADMIN__LISTEN", "nowhere"), ("HUBCAST_ASPNETCORE__KEEP_ALIVE", "15 parsecs")]);
    let faults = Settings::read(&Flags { listen: Some("here".into()), ..flags }, &environment).unwrap_err();
    let text = faults.to_string();
    let path = directory.path().join("test.toml").display().to_string();
    let expected = [
        ("listne", path.as_str()),
        ("workers", &path),
        ("limits.bytes", &path),
        ("auth.mode", &path),
        ("admin.listen", "HUBCAST_ADMIN__LISTEN"),
        ("aspnetcore.keep_alive", "HUBCAST_ASPNETCORE__KEEP_ALIVE"),
        ("listen", "--listen"),
    ];
    for (key, origin) in expected {
        assert!(text.contains(&format!("\n  {key} ({origin}): ")), "{key} ({origin}) in {text}");
    }
    assert_eq!(faults.iter().count(), expected.len(), "{text}");
    assert!(text.contains("expected `query` or `jwt`"), "{text}");
}

#[test]
fn unknown_keys_are_refused_at_any_level() {
    assert_eq!(keys("[admin]\nlisen = 1\n", &[]), ["admin.lisen"]);
    assert_eq!(keys("[sore]\nurl = 'x'\n", &[]), ["sore"]);
    assert_eq!(keys("", &[("HUBCAST_PORT", "tcp://1.2.3.4:5")]), ["port"]);
}

#[test]
fn section_of_wrong_type_is_one_fault() {
    assert_eq!(keys("admin = 3\n", &[]), ["admin"]);
    assert_eq!(keys("", &[("HUBCAST_ADMIN", "3")]), ["admin"]);
}

#[test]
fn explicit_file_must_exist_and_be_toml() {
    let flags = Flags { config: Some("/nowhere/at/all.toml".into()), ..Flags::default() };
    let missing = Settings::read(&flags, &variables(&[("HUBCAST_LISTEN", "x")])).unwrap_err();
    assert_eq!(missing.iter().map(|fault| &*fault.key).collect::<Vec<_>>(), ["/nowhere/at/all.toml", "listen"]);
    let [(_, text)] = &faults("listen = = 1", &[])[..] else { panic!("one fault") };
    assert!(text.contains("line 1"), "{text}");
}

#[test]
fn zero_or_excessive_durations_and_limits_are_refused() {
    let content = "drain_timeout = '0s'\nrejoin.lifetime = '18446744073709551615s'\n[limits]\nitems = 0\n[aspnetcore]\nparallel_calls = 0\nmax_message = 'all'\n";
    let mut keys = keys(content, &[]);
    keys.sort();
    assert_eq!(
        keys,
        ["aspnetcore.max_message", "aspnetcore.parallel_calls", "drain_timeout", "limits.items", "rejoin.lifetime"]
    );
}

#[test]
fn duration_faults_name_value_and_notation() {
    for value in ["60", "fast", "-5s", ""] {
        let [(key, text)] = &faults(&format!("drain_timeout = '{value}'"), &[])[..] else { panic!("one fault") };
        assert_eq!(key, "drain_timeout");
        assert!(text.starts_with(&format!("`{value}` is not a duration; ")) && text.contains("`15s`"), "{text}");
    }
}

#[test]
fn query_mode_on_network_needs_explicit_setting() {
    let [(key, text)] = &faults("listen = '0.0.0.0:80'", &[])[..] else { panic!("one fault") };
    assert_eq!(key, "auth.mode");
    assert!(text.contains("auth.query_on_network"), "{text}");
    assert_eq!(keys("listen = '0.0.0.0:80'\nauth.mode = 'query'", &[]), ["auth.mode"]);
    assert!(read("listen = '0.0.0.0:80'\nauth.query_on_network = true", &[]).is_ok());
    assert!(read("listen = '[::1]:80'", &[]).is_ok());
}

#[test]
fn classic_settings_are_converted_and_checked() {
    let classic = |content: &str| read(content, &[]).map(|settings| crate::classic::Settings::from(settings.classic));
    let settings = classic("[classic]\nkeep_alive = 'none'\nlong_poll_delay = '0s'\nwindow_items = 0").unwrap();
    assert_eq!((settings.keep_alive, settings.long_poll_delay), (None, Duration::ZERO));
    assert_eq!(settings.window, crate::outbox::ReplayLimits { items: 0, bytes: 1 << 20 });
    assert!(classic("[classic]\nkeep_alive = '2s'\ndisconnect_timeout = '6s'").is_ok());
    assert_eq!(keys("[classic]\ndisconnect_timeout = '5s'\n", &[]), ["classic.disconnect_timeout"]);
    assert_eq!(keys("[classic]\nkeep_alive = '11s'\n", &[]), ["classic.disconnect_timeout"]);
    assert_eq!(keys("[classic]\nkeep_alive = 'x'\n", &[]), ["classic.keep_alive"]);
}

#[test]
fn keep_alive_defaults_to_third_of_disconnect_timeout() {
    let keep_alive = |content: &str| crate::classic::Settings::from(read(content, &[]).unwrap().classic).keep_alive;
    assert_eq!(keep_alive(""), Some(Duration::from_secs(10)));
    assert_eq!(keep_alive("[classic]\ndisconnect_timeout = '6s'"), Some(Duration::from_secs(2)));
    assert_eq!(keep_alive("[classic]\ndisconnect_timeout = '2m'"), Some(Duration::from_secs(40)));
    assert_eq!(keep_alive("[classic]\ndisconnect_timeout = '2m'\nkeep_alive = '5s'"), Some(Duration::from_secs(5)));
}

#[test]
fn integers_reject_other_values() {
    let keys_of_numbers = [
        "workers",
        "limits.items",
        "limits.bytes",
        "aspnetcore.max_message",
        "aspnetcore.parallel_calls",
        "aspnetcore.stream_capacity",
        "classic.max_message",
        "classic.max_form",
        "classic.window_items",
        "classic.window_bytes",
        "classic.parallel_calls",
    ];
    for key in keys_of_numbers {
        for wrong in ["1.5", "true", "false", "'on'", "'many'", "-1", "[1]"] {
            let Err(faults) = read(&format!("{key} = {wrong}"), &[]) else { panic!("{key} = {wrong}") };
            let faults: Vec<_> = faults.iter().map(|fault| (&*fault.key, fault.origin.is_some())).collect();
            assert_eq!(faults, [(key, true)], "{key} = {wrong}");
        }
        assert!(read(&format!("{key} = 100"), &[]).is_ok(), "{key}");
    }
    let [(key, text)] = &faults("", &[("HUBCAST_WORKERS", "yes")])[..] else { panic!("one fault") };
    assert_eq!((&**key, &**text), ("workers", "expected a whole number, found `yes`"));
}

#[test]
fn drain_window_is_at_most_the_drain_timeout() {
    assert_eq!(read("drain_timeout = '4s'", &[]).unwrap().drain_window(), Duration::from_secs(2));
    for window in ["0s", "4s"] {
        assert!(read(&format!("drain_timeout = '4s'\ndrain_window = '{window}'"), &[]).is_ok(), "{window}");
    }
    assert_eq!(keys("drain_timeout = '4s'\ndrain_window = '5s'", &[]), ["drain_window"]);
}

#[test]
fn engine_errors_are_reported_with_other_faults() {
    let content = "
        workers = 0
        [rejoin]
        lifetime = '69s'
        policies = { nope = 'store', chat = 'union', never = 'token' }
        [aspnetcore]
        max_message = 63
    ";
    let (_directory, flags) = file(content);
    let reported = Settings::read(&flags, &variables(&[("HUBCAST_REJOIN__POLICIES__OTHER", "store")])).unwrap_err();
    let reported: Vec<_> =
        reported.iter().map(|fault| (&*fault.key, fault.origin.as_deref().unwrap_or_default())).collect();
    let path = flags.config.unwrap().display().to_string();
    let expected = [
        ("aspnetcore.max_message", &*path),
        ("rejoin.lifetime", &path),
        ("rejoin.policies.never", &path),
        ("rejoin.policies.nope", &path),
        ("rejoin.policies.other", "HUBCAST_REJOIN__POLICIES__OTHER"),
        ("workers", &path),
    ];
    assert_eq!(reported, expected);
    let absence = "rejoin.lifetime = '5m'\nclassic.disconnect_timeout = '3m'";
    assert_eq!(keys(absence, &[]), ["rejoin.lifetime"]);
}

#[test]
fn unknown_key_hides_no_fault_of_shorter_key() {
    assert_eq!(
        keys("listen = '0.0.0.0:80'\nlistener = 1\nauth.modes = 1", &[]),
        ["auth.mode", "auth.modes", "listener"]
    );
}

#[test]
fn origins_must_match_browser_format() {
    for origin in ["https://app.example", "http://127.0.0.1:8000", "http://[::1]:8000", "capacitor://localhost", "*"] {
        assert!(read(&format!("[cors]\norigins = ['{origin}']"), &[]).is_ok(), "{origin}");
    }
    for wrong in [
        "app.example",
        "https://app.example/",
        "https://*.app.example",
        "https://App.example",
        "HTTPS://app.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example?x",
        "https://ann@app.example",
        "https://app.example ",
        "https://",
        "null",
    ] {
        assert_eq!(keys(&format!("[cors]\norigins = ['{wrong}']"), &[]), ["cors.origins"], "{wrong}");
    }
}

#[test]
fn empty_values_and_too_many_workers_are_refused() {
    let content = "node = ' '\ndata_dir = ''\nworkers = 513\n[auth]\nuser_claim = ''\naudience = ''\nissuer = ''";
    let mut found = keys(content, &[]);
    found.sort();
    assert_eq!(found, ["auth.audience", "auth.issuer", "auth.user_claim", "data_dir", "node", "workers"]);
    let found = faults(&format!("node = '{}'", "n".repeat(256)), &[]);
    assert_eq!(found, [("node".into(), "the name of the node has 256 bytes; it has at most 255".into())]);
}

#[test]
fn database_url_escapes_the_directory_name() {
    let settings = read("data_dir = '/a b/c?mode=memory#%41'", &[]).unwrap();
    assert_eq!(settings.store_url(), "sqlite:///a%20b/c%3Fmode%3Dmemory%23%2541/hubcast.db?mode=rwc");
}

#[cfg(feature = "azure")]
#[test]
fn azure_tables_need_one_credential() {
    let read = |variables_: &[(&str, &str)]| Settings::read(&Flags::default(), &variables(variables_));
    let url = ("HUBCAST_STORE__URL", "azure-table://shop.table.core.windows.net");
    let (key, signature) = (("HUBCAST_STORE__AZURE_KEY", "c2VjcmV0"), ("HUBCAST_STORE__AZURE_SAS", "sv=1&sig=secret"));
    for credential in [key, signature] {
        let settings = read(&[url, credential]).unwrap();
        assert!(settings.store.azure_credential().is_some());
        assert!(!format!("{settings:?}").contains(credential.1), "the credential is a secret");
    }
    for (faulty, text) in [
        (&[url][..], "needs `store.azure_key` or `store.azure_sas`"),
        (&[url, key, signature], "set either"),
        (&[key], "`store.url` is no address of Azure Table Storage"),
    ] {
        let faults = read(faulty).unwrap_err().to_string();
        assert!(faults.contains(text), "{faults}");
    }
}

#[test]
fn wrong_database_address_is_reported_with_other_faults() {
    for (url, text) in [
        ("postgres://app:telltale@db/hubcast?sslmod=telltale", "`sslmod` is not a supported parameter"),
        ("mysql://app:p/telltale@db/hubcast", "Percent-encode"),
        ("sqlite:///", "does not name a file"),
        ("oracle://db/hubcast", "`oracle` is not a supported database"),
    ] {
        let found = faults("workers = 'many'", &[("HUBCAST_STORE__URL", url)]);
        assert!(found.iter().any(|(key, _)| key == "workers"), "{found:?}");
        let fault = found.iter().find(|(key, _)| key == "store.url").unwrap_or_else(|| panic!("{url}: {found:?}"));
        assert!(fault.1.contains(text) && !fault.1.contains("telltale"), "{fault:?}");
    }
}
