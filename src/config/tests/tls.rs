//! Settings of TLS.

use super::{faults, read};

#[test]
fn certificate_and_key_are_set_together() {
    assert_eq!(read("", &[]).unwrap().tls.files(), None);
    let environment = [("HUBCAST_TLS__KEY", "/etc/hubcast.key")];
    let settings = read("[tls]\ncertificate = '/etc/hubcast.crt'\n", &environment).unwrap();
    let files = settings.tls.files().unwrap();
    assert_eq!((files.certificate, files.key), ("/etc/hubcast.crt".into(), "/etc/hubcast.key".into()));
}

#[test]
fn half_a_certificate_is_refused() {
    for (set, missing) in [("key", "tls.certificate"), ("certificate", "tls.key")] {
        let faults = faults(&format!("[tls]\n{set} = '/etc/file'\n"), &[]);
        let [(key, text)] = &faults[..] else { panic!("{faults:?}") };
        assert!(key == missing && text.starts_with(&format!("`tls.{set}` is set; ")), "{key}: {text}");
    }
    let faults = faults("[tls]\ncertificate = ''\nkey = ' '\n", &[]);
    let keys: Vec<_> = faults.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["tls.certificate", "tls.key"], "{faults:?}");
}

#[test]
fn tls_behind_the_proxy_protocol_is_refused() {
    let content = "proxy_protocol = true\n[tls]\ncertificate = 'crt'\nkey = 'key'\n[proxies]\ntrusted = ['10.0.0.1']\n";
    let faults = faults(content, &[]);
    let [(key, text)] = &faults[..] else { panic!("{faults:?}") };
    assert!(key == "proxy_protocol" && text.starts_with("TLS cannot follow a PROXY header"), "{key}: {text}");
}
