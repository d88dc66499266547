//! Turns the arguments of a call into the types that a hub method takes.
//!
//! Newer clients are held to the type: a text for a number is refused. Classic clients are used to less:
//! a number or a boolean is taken for the text of it, digits in a text for the number.

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Error, Value};

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
        Binding::Lenient => T::deserialize(Lenient(serde_json::from_str(json)?)),
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

struct Lenient(Value);

impl Lenient {
    /// Digits in a text, with blanks around them, for whoever asks for a number.
    fn into_number(self) -> Value {
        match &self.0 {
            Value::String(text) => match text.trim().parse::<i64>() {
                Ok(number) => number.into(),
                Err(_) => self.0,
            },
            _ => self.0,
        }
    }

    /// The text of a number or a boolean, for whoever asks for a text.
    fn into_text(self) -> Value {
        match self.0 {
            Value::Number(number) => Value::String(number.to_string()),
            Value::Bool(truth) => Value::String(truth.to_string()),
            other => other,
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.into_number().$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    numbers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.into_text().deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.into_text().deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(values) => visitor.visit_seq(LenientSeq(values.into_iter())),
            Value::Object(members) => visitor.visit_map(LenientMap { members: members.into_iter(), value: None }),
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct LenientSeq(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for LenientSeq {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|value| seed.deserialize(Lenient(value))).transpose()
    }
}

struct LenientMap {
    members: serde_json::map::IntoIter,
    value: Option<Value>,
}

impl<'de> MapAccess<'de> for LenientMap {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(Value::String(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Lenient(self.value.take().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
