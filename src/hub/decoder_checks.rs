//! Checks of received arguments that hold for any bytes of a client.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Arguments;
use crate::{
    message::Json,
    payload::{Binary, Format, Payload, Timestamp},
};

/// Binds each argument to types of every kind, and passes it on.
///
/// # Panics
/// If a value is not as described at [`check_passed_on`].
pub(crate) fn check_arguments(arguments: &Arguments) {
    for (index, value) in arguments.iter().enumerate() {
        bind::<bool>(arguments, index);
        bind::<i64>(arguments, index);
        bind::<f32>(arguments, index);
        bind::<Option<String>>(arguments, index);
        bind::<(u8, String)>(arguments, index);
        bind::<Vec<Json>>(arguments, index);
        bind::<BTreeMap<i32, Value>>(arguments, index);
        bind::<Value>(arguments, index);
        bind::<Binary>(arguments, index);
        bind::<Timestamp>(arguments, index);
        bind::<Payload>(arguments, index);
        check_passed_on(value);
    }
}

fn bind<T: DeserializeOwned>(arguments: &Arguments, index: usize) {
    drop(arguments.get::<T>(index));
}

/// A value that is passed on can be passed on again unchanged. As JSON it is a single line.
fn check_passed_on(value: &Payload) {
    for format in [Format::Json, Format::MessagePack] {
        let Ok(once) = Payload::encode(format, value) else { continue };
        let twice = Payload::encode(format, &once).expect("an encoded value can be encoded again");
        assert_eq!(once.as_bytes(), twice.as_bytes(), "{format:?}");
        let line_ends = ['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}'];
        assert!(!once.as_json().is_some_and(|json| json.contains(line_ends)));
    }
}
