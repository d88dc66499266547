//! Settings of the listeners for clients and operators.

use super::*;

#[test]
fn metrics_need_the_token_by_default() {
    assert_eq!(Settings::default().metrics.access(), MetricsAccess::Token);
    assert_eq!(read("metrics.public = true", &[]).unwrap().metrics.access(), MetricsAccess::Public);
    assert_eq!(keys("metrics.public = 'perhaps'", &[]), ["metrics.public"]);
}

#[test]
fn address_error_shows_the_right_form() {
    for (text, part) in [
        ("8080", "write `127.0.0.1:8080` for this machine, or `0.0.0.0:8080` for the network"),
        (":8080", "write `127.0.0.1:8080` for this machine"),
        ("127.0.0.1", "`127.0.0.1` has no port; write `127.0.0.1:8080`"),
        ("::1", "write `[::1]:8080`"),
        ("example.org:80", "write for example `127.0.0.1:80`"),
        ("localhost", "`localhost:8080`"),
        ("localhost:x", "`localhost:8080`"),
        ("127.0.0.1:99999", "write for example"),
    ] {
        let flags = Flags { listen: Some(text.into()), ..Flags::default() };
        let faults = Settings::read(&flags, &Environment::new()).unwrap_err();
        let [fault] = &faults.iter().collect::<Vec<_>>()[..] else { panic!("{text}: {faults}") };
        assert!(fault.key == "listen" && fault.text.contains(part), "{text}: {}", fault.text);
    }
    assert_eq!(keys("listen = 8080\nadmin.listen = 8081", &[]), ["admin.listen", "listen"]);
}

#[test]
fn localhost_is_accepted_as_address() {
    let settings = read("listen = 'localhost:80'", &[("HUBCAST_ADMIN__LISTEN", "localhost:0")]).unwrap();
    assert_eq!((settings.listen, settings.admin.listen), ("127.0.0.1:80".parse().unwrap(), loopback(0)));
}

#[test]
fn admin_and_client_addresses_must_differ() {
    let same = "listen = '127.0.0.1:80'\nadmin.listen = '127.0.0.1:80'";
    assert_eq!(keys(same, &[]), ["admin.listen"]);
    assert!(read("listen = '127.0.0.1:0'\nadmin.listen = '127.0.0.1:0'", &[]).is_ok());
}
