//! The generated hub proxies: a script with an object for each hub and a function for each of its methods.
//!
//! Wire: the script runs with `jquery.signalR` and uses only functions that are public since 2.0.

use std::{fmt::Write as _, sync::Arc};

use super::callback::quote;
use crate::hub::Hub;

/// The script that is served if proxies are off. Wire: the text of ASP.NET SignalR.
pub(super) const DISABLED_SCRIPT: &str =
    "throw new Error('SignalR: JavaScript Hub proxy generation has been disabled.');";

const SCRIPT_HEAD: &str = r#"(function ($) {
    "use strict";
    if (typeof $.signalR !== "function") {
        throw new Error("SignalR: jquery.signalR has to be loaded before the hubs.");
    }
    var signalR = $.signalR;

    function calling(proxy, handler) {
        return function () { handler.apply(proxy, arguments); };
    }

    function eachHandler(proxies, act) {
        Object.keys(proxies).forEach(function (name) {
            var proxy = proxies[name];
            Object.keys(proxy.client).forEach(function (member) {
                var handler = proxy.client[member];
                if (typeof handler === "function") { act(proxy, member, handler); }
            });
        });
    }

    $.hubConnection.prototype.createHubProxies = function () {
        var proxies = {};
        this.starting(function () {
            eachHandler(proxies, function (proxy, member, handler) {
                proxy.on(member, calling(proxy, handler), handler);
            });
            this._registerSubscribedHubs();
        }).disconnected(function () {
            eachHandler(proxies, function (proxy, member, handler) {
                proxy.off(member, calling(proxy, handler), handler);
            });
        });

        function invoking(name, method) {
            return function () {
                var proxy = proxies[name];
                return proxy.invoke.apply(proxy, [method].concat(Array.prototype.slice.call(arguments)));
            };
        }
"#;

/// The script for the hubs of the endpoint at `url`.
pub(super) fn script(hubs: &[Arc<Hub>], url: &str) -> String {
    let mut hubs: Vec<_> = hubs.iter().collect();
    hubs.sort_by_key(|hub| hub.name().clone());
    let mut script = SCRIPT_HEAD.to_owned();
    for hub in hubs {
        write_hub(&mut script, hub).expect("writing to a String cannot fail");
    }
    let url = quote(url);
    write!(
        script,
        "\n        return proxies;\n    }};\n\n    signalR.hub = $.hubConnection({url}, {{ useDefaultPath: false }});\n    \
         $.extend(signalR, signalR.hub.createHubProxies());\n}}(window.jQuery));\n"
    )
    .expect("writing to a String cannot fail");
    script
}

fn write_hub(script: &mut String, hub: &Hub) -> std::fmt::Result {
    let name = camel_case(hub.name());
    let (access, quoted) = (member_access(&name), quote(&name));
    write!(script, "\n        proxies{access} = this.createHubProxy({quoted});")?;
    write!(script, "\n        proxies{access}.client = {{}};\n        proxies{access}.server = {{")?;
    for (index, method) in hub.listed_methods().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let (key, method) = (property_key(&camel_case(method)), quote(method));
        write!(
            script,
            "{comma}\n            {key}: function () {{ return invoking({quoted}, {method}).apply(this, arguments); }}"
        )?;
    }
    writeln!(script, "\n        }};")
}

/// Wire: in scripts, names of hubs and methods start with a lower-case letter.
fn camel_case(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn is_simple_identifier(name: &str) -> bool {
    name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn member_access(name: &str) -> String {
    if is_simple_identifier(name) { format!(".{name}") } else { format!("[{}]", quote(name)) }
}

fn property_key(name: &str) -> String {
    if is_simple_identifier(name) { name.to_owned() } else { quote(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_and_methods_are_listed_in_camel_case() {
        let hub = Hub::new("StockTicker").method("GetAll", async || Ok(1)).method("other-name", async || Ok(2));
        let script = script(&[Arc::new(hub)], "/signalr");
        for line in [
            "proxies.stockTicker = this.createHubProxy(\"stockTicker\");",
            "getAll: function () { return invoking(\"stockTicker\", \"GetAll\")",
            "\"other-name\": function () {",
            "$.hubConnection(\"/signalr\", { useDefaultPath: false })",
        ] {
            assert!(script.contains(line), "{line} in {script}");
        }
    }

    #[test]
    fn url_cannot_leave_its_string() {
        let script = script(&[], "/x\"</script>");
        assert!(script.contains(r#"$.hubConnection("/x\"\u003c/script\u003e", "#), "{script}");
    }

    #[test]
    fn unlisted_methods_are_left_out() {
        let hub = Hub::new("chat").method("Send", async || Ok(1)).method("Probe", async || Ok(2)).unlisted(&["probe"]);
        let script = script(&[Arc::new(hub)], "/signalr");
        assert!(script.contains("\"Send\"") && !script.contains("\"Probe\""), "{script}");
    }
}
