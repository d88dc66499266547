//! Turns the arguments of a call into the types that a hub method takes.
//!
//! Newer clients are held to the type: a text for a number is refused. Classic clients are used to less:
//! a number or a boolean is taken for the text of it, digits in a text for the number. What fits as it is, is never
//! converted.

use std::fmt;

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

    /// Digits in a text, with blanks around them, for whoever asks for a number.
    fn as_number(&self) -> Option<Number> {
        let text: String = serde_json::from_str(self.0.get()).ok()?;
        text.trim().parse::<i64>().ok().map(Number::from)
    }

    /// The text of a number or a boolean, for whoever asks for a text.
    fn as_text(&self) -> Option<&'a str> {
        let json = self.0.get();
        let is_plain = json.starts_with(|first: char| first == '-' || first.is_ascii_digit() || "tf".contains(first));
        is_plain.then_some(json)
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

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.as_text() {
            Some(text) => visitor.visit_borrowed_str(text),
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
        bool char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
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
    fn leniently_what_makes_no_sense_is_still_refused() {
        for not_an_integer in ["\"x\"", "1.5", "null", "true", "2147483648", "\"2147483648\"", "[1]", "{}", "\"\""] {
            assert_eq!(lenient::<i32>(not_an_integer), None, "{not_an_integer}");
        }
        assert_eq!(lenient::<String>("{\"a\":1}"), None);
        assert_eq!(lenient::<String>("[\"x\"]"), None);
    }

    #[test]
    fn raw_json_is_taken_as_it_stands_also_beside_what_is_converted() {
        #[derive(serde::Deserialize)]
        struct Parcel {
            content: Json,
            weight: u8,
            label: Option<Json>,
        }
        for json in ["5", "\"x\"", "null", "[1, 2]", r#"{"b": 1.0, "a": "2"}"#] {
            assert_eq!(lenient::<Json>(json).expect(json).get(), json);
            let parcel = format!(r#"{{"content": {json}, "weight": "7", "label": {json}}}"#);
            let parcel = lenient::<Parcel>(&parcel).expect(json);
            assert_eq!((parcel.content.get(), parcel.weight), (json, 7));
            assert_eq!(parcel.label.map_or("null".into(), |label| label.get().to_owned()), json);
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
