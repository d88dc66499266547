//! Turns the arguments of a call into the types that a hub method takes.
//!
//! Newer clients are held to the type: a text for a number is refused. Classic clients are used to less:
//! a number or a boolean is taken for the text of it, and a text for the number or the boolean that it tells; a number
//! is true unless it is 0. A null among texts is taken for an empty one: in .NET it is a text like any other. What fits
//! as it is, is never converted, so that null is `None` to an `Option`.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Error, Number, de::StrRead, value::RawValue};

/// How closely an argument must match its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// As ASP.NET Core servers do.
    #[default]
    Strict,
    /// As classic servers do.
    Lenient,
}

/// Binds one argument.
///
/// # Errors
/// The deserializer's word on why it does not fit.
pub(crate) fn bind<T: DeserializeOwned>(binding: Binding, json: &str) -> Result<T, Error> {
    match binding {
        Binding::Strict => strict(json),
        // Wire: groups and users of the original refuse a null for a name, which an empty text would not tell them.
        Binding::Lenient if json == "null" => strict(json),
        Binding::Lenient => strict(json).or_else(|_| T::deserialize(Lenient(serde_json::from_str(json)?))),
    }
}

/// Wire: `-0` is an integer to the original servers; to serde it is a float.
fn strict<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    match json {
        "-0" => serde_json::from_str("0"),
        _ => serde_json::from_str(json),
    }
    .or_else(|error| if json == "-0" { serde_json::from_str(json) } else { Err(error) })
}

/// A value that is asked for as something that it may not quite be. Invariant: sessions refuse what nests too deep,
/// since every level here is a deserializer of its own, without a common limit.
struct Lenient<'a>(&'a RawValue);

impl<'a> Lenient<'a> {
    /// The value for those who ask for what it is.
    fn strict(&self) -> serde_json::Deserializer<StrRead<'a>> {
        serde_json::Deserializer::from_str(self.0.get())
    }

    /// What a text says, without the blanks around it.
    fn said(&self) -> Option<String> {
        let text: String = serde_json::from_str(self.0.get()).ok()?;
        Some(text.trim_matches(BLANKS).to_owned())
    }

    /// The number that a text tells, for whoever asks for a number.
    fn as_number(&self) -> Option<Number> {
        let text = self.said()?;
        let whole = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
        whole.ok().or_else(|| Number::from_f64(text.parse().ok()?))
    }

    /// The boolean that a text or a number tells, for whoever asks for a boolean.
    fn as_truth(&self) -> Option<bool> {
        let number = serde_json::from_str::<f64>(self.0.get());
        number.map(|number| number != 0.0).ok().or_else(|| self.said()?.to_ascii_lowercase().parse().ok())
    }

    /// The text of what is none, for whoever asks for a text.
    fn as_text(&self) -> Option<Cow<'a, str>> {
        let json = self.0.get();
        match json.as_bytes() {
            b"null" => Some("".into()),
            b"-0" => Some("0".into()),
            b"true" | b"false" => Some(json.into()),
            [b'-' | b'0'..=b'9', ..] => Some(text_of_number(json)),
            _ => None,
        }
    }
}

/// Wire: what the original servers trim; no other blanks.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// Wire: a whole number is its digits, however many; any other is written in its shortest form.
fn text_of_number(json: &str) -> Cow<'_, str> {
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
        match self.as_truth() {
            Some(truth) => visitor.visit_bool(truth),
            None => self.strict().deserialize_bool(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.as_text() {
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

    /// Whoever asks for raw JSON gets the text as it is.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        match name {
            RAW => self.strict().deserialize_newtype_struct(name, visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get().as_bytes() {
            [b'[' | b'{', ..] => self.strict().deserialize_any(Inside(visitor)),
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

/// The name by which serde_json's raw values ask for themselves; a test tells when it changes.
const RAW: &str = "$serde_json::private::RawValue";

/// What is inside of a list or an object, leniently; names of members are serde_json's affair.
struct Inside<T>(T);

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Inside(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Inside(members))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element()?.map(|element| leniently(seed, element)).transpose()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Inside<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        leniently(seed, self.0.next_value()?)
    }
}

fn leniently<'de, T: DeserializeSeed<'de>, E: serde::de::Error>(seed: T, json: &'de RawValue) -> Result<T::Value, E> {
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
        for not_a_text in ["5", "true", "{}", "[]"] {
            assert_eq!(strict::<Option<String>>(not_a_text), None, "{not_a_text}");
        }
        assert_eq!(strict::<Option<String>>("null"), Some(None));
    }

    #[test]
    fn leniently_a_number_is_its_text_and_digits_are_a_number() {
        assert_eq!(lenient("5"), Some(String::from("5")));
        assert_eq!(lenient("true"), Some(Some(String::from("true"))));
        assert_eq!(lenient::<Option<String>>("null"), Some(None));
        assert_eq!(lenient("\" 4 \""), Some(4));
        assert_eq!(lenient("[1,\"2\"]"), Some((String::from("1"), 2)));
        assert_eq!(lenient("[1,true]"), Some(vec![String::from("1"), String::from("true")]));
    }

    #[test]
    fn leniently_a_text_is_the_number_or_the_boolean_that_it_tells() {
        assert_eq!(lenient("\"1.5\""), Some(1.5));
        assert_eq!(lenient("\" 1e3 \""), Some(1000.0_f32));
        assert_eq!(lenient("\"18446744073709551615\""), Some(u64::MAX));
        assert_eq!(lenient("\"+2\""), Some(2));
        assert_eq!(lenient("[\"\\t007\\n\"]"), Some([7]));
        for (json, truth) in [("\"true\"", true), ("\" False \"", false), ("1", true), ("0", false), ("-0.5", true)] {
            assert_eq!(lenient(json), Some(truth), "{json}");
        }
        for neither in ["\"1\"", "\"yes\"", "\"\"", "null", "[]"] {
            assert_eq!(lenient::<bool>(neither), None, "{neither}");
        }
        for no_number in ["\"NaN\"", "\"inf\"", "\"1,000\"", "\"0x10\"", "\"\"", "true"] {
            assert_eq!(lenient::<f64>(no_number), None, "{no_number}");
        }
    }

    #[test]
    fn leniently_the_text_of_a_number_is_the_originals() {
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
    fn leniently_a_null_among_texts_is_an_empty_one_unless_there_is_a_better_word_for_it() {
        assert_eq!(lenient::<String>("null"), None);
        assert_eq!(lenient("[1,null,true]"), Some(["1", "", "true"].map(String::from)));
        assert_eq!(lenient("[1,null]"), Some([Some(String::from("1")), None]));
        assert_eq!(lenient::<(i32,)>("[null]"), None);
    }

    #[test]
    fn leniently_what_makes_no_sense_is_still_refused() {
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
    fn raw_json_is_taken_as_it_stands_also_beside_what_is_converted() {
        #[derive(serde::Deserialize)]
        struct SharedMessage {
            content: Json,
            weight: u8,
            label: Option<Json>,
        }
        for json in ["5", "\"x\"", "null", "[1, 2]", r#"{"b": 1.0, "a": "2"}"#] {
            assert_eq!(lenient::<Json>(json).expect(json).get(), json);
            let shared = format!(r#"{{"content": {json}, "weight": "7", "label": {json}}}"#);
            let shared = lenient::<SharedMessage>(&shared).expect(json);
            assert_eq!((shared.content.get(), shared.weight), (json, 7));
            assert_eq!(shared.label.map_or("null".into(), |label| label.get().to_owned()), json);
        }
        let both = lenient::<(String, Vec<Json>)>("[1,[2, \"3\"]]").expect("a text and raw values");
        assert_eq!((&*both.0, both.1[1].get()), ("1", "\"3\""));
    }

    #[test]
    fn names_of_members_may_be_numbers() {
        assert_eq!(lenient(r#"{"1":2}"#), Some(BTreeMap::from([(1, 2)])));
        assert_eq!(lenient(r#"{"-1":"2","3":4}"#), Some(BTreeMap::from([(-1, 2), (3, 4)])));
        assert_eq!(lenient(r#"{"1":2}"#), Some(BTreeMap::from([("1".to_owned(), "2".to_owned())])));
        assert_eq!(lenient::<BTreeMap<i32, i32>>(r#"{"x":"2"}"#), None);
    }

    #[test]
    fn what_fits_as_it_is_is_never_converted() {
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
    fn leniency_reaches_into_structures() {
        #[derive(serde::Deserialize, Debug, PartialEq)]
        struct Shape {
            sides: u8,
            name: String,
        }
        let shape = lenient::<Shape>(r#"{"sides":"3","name":3}"#);
        assert_eq!(shape, Some(Shape { sides: 3, name: "3".into() }));
    }
}
