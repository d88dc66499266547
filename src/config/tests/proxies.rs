//! Settings for reverse proxies.

use super::{faults, read};
use crate::web::ForwardingHeaders;

#[test]
fn trusted_proxies_are_addresses_and_ranges() {
    let settings = read("[proxies]\ntrusted = ['127.0.0.1', 'fd00::/8']\nheaders = 'forwarded'\n", &[]).unwrap();
    let proxies = settings.proxies.trusted_proxies();
    assert!(proxies.trusts("127.0.0.1".parse().unwrap()) && proxies.trusts("fd00::7".parse().unwrap()));
    assert!(!proxies.trusts("127.0.0.2".parse().unwrap()));
    assert_eq!(settings.proxies.headers, ForwardingHeaders::Forwarded);
    let settings = read("", &[("HUBCAST_PROXIES__TRUSTED", "10.0.0.0/8, ::1")]).unwrap();
    let trusted: Vec<_> = settings.proxies.trusted.iter().map(ToString::to_string).collect();
    assert_eq!(trusted, ["10.0.0.0/8", "::1/128"]);
}

#[test]
fn malformed_proxy_settings_are_refused() {
    let content = "[proxies]\ntrusted = ['10.0.0.0/8', 'proxy.example']\nheaders = 'via'\n";
    let faults = faults(content, &[]);
    let [(headers, keywords), (trusted, text)] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!(headers, "proxies.headers");
    assert!(keywords.contains("`either`, `x-forwarded`") && keywords.contains("`forwarded`"), "{keywords}");
    assert!(trusted.starts_with("proxies.trusted") && text.contains("`proxy.example` is not a network"), "{text}");
}

#[test]
fn proxy_protocol_needs_trusted_proxies() {
    let content = "proxy_protocol = true\n[admin]\nproxy_protocol = true\n";
    let settings = read(&format!("{content}[proxies]\ntrusted = ['10.0.0.1']\n"), &[]).unwrap();
    assert!(settings.proxy_protocol && settings.admin.proxy_protocol);
    let faults = faults(content, &[]);
    let keys: Vec<_> = faults.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["admin.proxy_protocol", "proxy_protocol"]);
    assert!(faults[0].1.contains("`proxies.trusted`"), "{}", faults[0].1);
}

#[test]
fn base_path_is_a_path_prefix() {
    assert_eq!(read("base_path = '/app/'", &[]).unwrap().base_path.as_str(), "/app");
    let faults = faults("base_path = 'app'", &[]);
    let [(key, text)] = &faults[..] else { panic!("{faults:?}") };
    assert!(key == "base_path" && text.contains("`app` is not a path prefix"), "{key}: {text}");
}

#[test]
fn base_path_must_not_hide_an_endpoint() {
    let faults = faults("base_path = '/signalr'", &[]);
    let [(key, text)] = &faults[..] else { panic!("{faults:?}") };
    assert!(
        key == "base_path" && text.starts_with("requests for `/signalr/chat` match two endpoints"),
        "{key}: {text}"
    );
}
