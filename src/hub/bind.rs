//! Deserializes the arguments of an invocation into the parameter types of a hub method.
//!
//! ASP.NET Core clients get strict binding: a string for a number is refused. Classic clients rely on conversions: a
//! number or boolean is accepted for a string, a string is parsed as a number or boolean, and a number is accepted for
//! a boolean (true unless it is 0). A null inside a list or an object is accepted as an empty string,
//! because strings are nullable in .NET. A value that deserializes without conversion is never converted, so null
//! stays `None` for an `Option`.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Error, Number, de::StrRead, value::RawValue};

use crate::payload::Payload;

/// How strictly an argument must match its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Binding {
    /// No conversions, like ASP.NET Core SignalR.
    #[default]
    Strict,
    /// With conversions, like ASP.NET SignalR.
    Lenient,
}

/// Binds one argument.
///
/// # Errors
/// The deserializer's error for the strict or, where a conversion was tried, the lenient attempt.
pub(crate) fn bind<T: DeserializeOwned>(binding: Binding, json: &str) -> Result<T, Error> {
    match binding {
        Binding::Strict => strict(json),
        // Wire: ASP.NET SignalR refuses a null name of a group or user. An empty string would hide the null.
        Binding::Lenient if json == "null" => strict(json),
        Binding::Lenient => strict(json).or_else(|_| T::deserialize(Lenient(serde_json::from_str(json)?))),
    }
}

/// Binds one value in any format.
///
/// # Errors
/// The text of the deserializer's error.
pub(crate) fn bind_payload<T: DeserializeOwned>(binding: Binding, value: &Payload) -> Result<T, String> {
    match value.as_json() {
        Some(json) => bind(binding, json).map_err(|error| error.to_string()),
        None => value.decode().map_err(|error| error.to_string()),
    }
}

/// Wire: `-0` is an integer for the reference servers; for serde it is a float.
fn strict<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    match json {
        "-0" => serde_json::from_str("0"),
        _ => serde_json::from_str(json),
    }
    .or_else(|error| if json == "-0" { serde_json::from_str(json) } else { Err(error) })
}

/// Deserializer that converts between strings, numbers and booleans. Invariant: sessions refuse JSON that is nested too
/// deeply, because every level here is a separate deserializer and no recursion limit spans them.
struct Lenient<'a>(&'a RawValue);

impl<'a> Lenient<'a> {
    /// A deserializer without conversions.
    fn strict(&self) -> serde_json::Deserializer<StrRead<'a>> {
        serde_json::Deserializer::from_str(self.0.get())
    }

    /// The content of a JSON string without surrounding whitespace.
    fn trimmed_string(&self) -> Option<String> {
        let text: String = serde_json::from_str(self.0.get()).ok()?;
        Some(text.trim_matches(TRIMMED_WHITESPACE).to_owned())
    }

    /// The number that a JSON string contains.
    fn as_number(&self) -> Option<Number> {
        let text = self.trimmed_string()?;
        let whole = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
        whole.ok().or_else(|| Number::from_f64(text.parse().ok()?))
    }

    /// The boolean that a JSON number or string stands for.
    fn as_bool(&self) -> Option<bool> {
        let number = serde_json::from_str::<f64>(self.0.get());
        number.map(|number| number != 0.0).ok().or_else(|| self.trimmed_string()?.to_ascii_lowercase().parse().ok())
    }

    /// The string form of a JSON null, number or boolean.
    fn as_string(&self) -> Option<Cow<'a, str>> {
        let json = self.0.get();
        match json.as_bytes() {
            b"null" => Some("".into()),
            b"-0" => Some("0".into()),
            b"true" | b"false" => Some(json.into()),
            [b'-' | b'0'..=b'9', ..] => Some(number_to_string(json)),
            _ => None,
        }
    }
}

/// Wire: the whitespace that the reference servers trim.
const TRIMMED_WHITESPACE: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// Wire: an integer keeps all its digits; any other number is written in its shortest form.
fn number_to_string(json: &str) -> Cow<'_, str> {
    let is_whole = !json.contains(['.', 'e', 'E']);
    match serde_json::from_str::<Number>(json) {
        Ok(number) if !is_whole => number.to_string().into(),
        Ok(_) | Err(_) => json.into(),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.as_number() {
                Some(number) => number.$method(visitor),
                None => self.strict().$method(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = Error;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.as_bool() {
            Some(value) => visitor.visit_bool(value),
            None => self.strict().deserialize_bool(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.as_string() {
            Some(text) => visitor.visit_str(&text),
            None => self.strict().deserialize_str(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.get() == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// A raw value keeps its JSON text unchanged.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        match name {
            RAW_VALUE_NAME => self.strict().deserialize_newtype_struct(name, visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get().as_bytes() {
            [b'[' | b'{', ..] => self.strict().deserialize_any(LenientElements(visitor)),
            _ => self.strict().deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.strict().deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The newtype name with which serde_json's `RawValue` requests the raw text. A test fails if it changes.
const RAW_VALUE_NAME: &str = "$serde_json::private::RawValue";

/// Deserializes the elements of a list or an object leniently. Keys are left to serde_json.
struct LenientElements<T>(T);

impl<'de, V: Visitor<'de>> Visitor<'de> for LenientElements<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(LenientElements(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(LenientElements(members))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for LenientElements<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element()?.map(|element| deserialize_leniently(seed, element)).transpose()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for LenientElements<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        deserialize_leniently(seed, self.0.next_value()?)
    }
}

fn deserialize_leniently<'de, T: DeserializeSeed<'de>, E: serde::de::Error>(
    seed: T,
    json: &'de RawValue,
) -> Result<T::Value, E> {
    seed.deserialize(Lenient(json)).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::message::Json;

    fn strict<T: DeserializeOwned>(json: &str) -> Option<T> {
        bind(Binding::Strict, json).ok()
    }

    fn lenient<T: DeserializeOwned>(json: &str) -> Option<T> {
        bind(Binding::Lenient, json).ok()
    }

    #[test]
    fn strict_binding_converts_nothing() {
        assert_eq!(strict::<i32>("-0"), Some(0));
        assert_eq!(strict::<f64>("-0").map(f64::is_sign_negative), Some(false));
        for not_an_integer in ["1.0", "1e0", "\"1\"", "true", "null", "2147483648"] {
            assert_eq!(strict::<i32>(not_an_integer), None, "{not_an_integer}");
        }
        for not_a_string in ["5", "true", "{}", "[]"] {
            assert_eq!(strict::<Option<String>>(not_a_string), None, "{not_a_string}");
        }
        assert_eq!(strict::<Option<String>>("null"), Some(None));
    }

    #[test]
    fn lenient_scalars_convert_to_strings_and_back() {
        assert_eq!(lenient("5"), Some(String::from("5")));
        assert_eq!(lenient("true"), Some(Some(String::from("true"))));
        assert_eq!(lenient::<Option<String>>("null"), Some(None));
        assert_eq!(lenient("\" 4 \""), Some(4));
        assert_eq!(lenient("[1,\"2\"]"), Some((String::from("1"), 2)));
        assert_eq!(lenient("[1,true]"), Some(vec![String::from("1"), String::from("true")]));
    }

    #[test]
    fn lenient_string_parses_as_number_or_boolean() {
        assert_eq!(lenient("\"1.5\""), Some(1.5));
        assert_eq!(lenient("\" 1e3 \""), Some(1000.0_f32));
        assert_eq!(lenient("\"18446744073709551615\""), Some(u64::MAX));
        assert_eq!(lenient("\"+2\""), Some(2));
        assert_eq!(lenient("[\"\\t007\\n\"]"), Some([7]));
        for (json, value) in [("\"true\"", true), ("\" False \"", false), ("1", true), ("0", false), ("-0.5", true)] {
            assert_eq!(lenient(json), Some(value), "{json}");
        }
        for neither in ["\"1\"", "\"yes\"", "\"\"", "null", "[]"] {
            assert_eq!(lenient::<bool>(neither), None, "{neither}");
        }
        for not_a_number in ["\"NaN\"", "\"inf\"", "\"1,000\"", "\"0x10\"", "\"\"", "true"] {
            assert_eq!(lenient::<f64>(not_a_number), None, "{not_a_number}");
        }
    }

    #[test]
    fn lenient_number_formats_like_reference_server() {
        for (number, text) in [
            ("1.0", "1.0"),
            ("1.10", "1.1"),
            ("1e2", "100.0"),
            ("-0", "0"),
            ("-7", "-7"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            assert_eq!(lenient::<String>(number).as_deref(), Some(text), "{number}");
        }
    }

    #[test]
    fn lenient_nested_null_string_is_empty() {
        assert_eq!(lenient::<String>("null"), None);
        assert_eq!(lenient("[1,null,true]"), Some(["1", "", "true"].map(String::from)));
        assert_eq!(lenient("[1,null]"), Some([Some(String::from("1")), None]));
        assert_eq!(lenient::<(i32,)>("[null]"), None);
    }

    #[test]
    fn lenient_binding_refuses_meaningless_values() {
        for not_an_integer in [
            "\"x\"",
            "\"\u{a0}2\"",
            "1.5",
            "\"2.0\"",
            "null",
            "true",
            "2147483648",
            "\"2147483648\"",
            "[1]",
            "{}",
            "\"\"",
        ] {
            assert_eq!(lenient::<i32>(not_an_integer), None, "{not_an_integer}");
        }
        assert_eq!(lenient::<String>("{\"a\":1}"), None);
        assert_eq!(lenient::<String>("[\"x\"]"), None);
    }

    #[test]
    fn raw_json_is_kept_beside_converted_values() {
        #[derive(serde::Deserialize)]
        struct Package {
            content: Json,
            weight: u8,
            label: Option<Json>,
        }
        for json in ["5", "\"x\"", "null", "[1, 2]", r#"{"b": 1.0, "a": "2"}"#] {
            assert_eq!(lenient::<Json>(json).expect(json).get(), json);
            let package = format!(r#"{{"content": {json}, "weight": "7", "label": {json}}}"#);
            let package = lenient::<Package>(&package).expect(json);
            assert_eq!((package.content.get(), package.weight), (json, 7));
            assert_eq!(package.label.map_or("null".into(), |label| label.get().to_owned()), json);
        }
        let both = lenient::<(String, Vec<Json>)>("[1,[2, \"3\"]]").expect("a string and raw values");
        assert_eq!((&*both.0, both.1[1].get()), ("1", "\"3\""));
    }

    #[test]
    fn object_keys_may_be_numbers() {
        assert_eq!(lenient(r#"{"1":2}"#), Some(BTreeMap::from([(1, 2)])));
        assert_eq!(lenient(r#"{"-1":"2","3":4}"#), Some(BTreeMap::from([(-1, 2), (3, 4)])));
        assert_eq!(lenient(r#"{"1":2}"#), Some(BTreeMap::from([("1".to_owned(), "2".to_owned())])));
        assert_eq!(lenient::<BTreeMap<i32, i32>>(r#"{"x":"2"}"#), None);
    }

    #[test]
    fn matching_value_is_not_converted() {
        #[derive(serde::Deserialize, Debug, PartialEq)]
        #[serde(untagged)]
        enum Either {
            Number(i32),
            Text(String),
        }
        assert_eq!(lenient("\"1\""), Some(Either::Text("1".into())));
        assert_eq!(lenient("1"), Some(Either::Number(1)));
        assert_eq!(lenient("[\"1\",true,null]"), Some(json!(["1", true, null])));
    }

    #[test]
    fn lenient_binding_applies_inside_structures() {
        #[derive(serde::Deserialize, Debug, PartialEq)]
        struct Shape {
            sides: u8,
            name: String,
        }
        let shape = lenient::<Shape>(r#"{"sides":"3","name":3}"#);
        assert_eq!(shape, Some(Shape { sides: 3, name: "3".into() }));
    }
}
