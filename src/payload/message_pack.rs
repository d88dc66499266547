//! MessagePack encoding of values.

use serde::{Serialize, de::DeserializeOwned};

use super::{DecodeError, EncodeError};

/// The maximum nesting depth of a received value. It bounds the stack.
const MAX_DEPTH: usize = 128;

/// Encodes a value. Structs are maps, as .NET expects them.
pub(crate) fn encode(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    value.serialize(&mut serializer).map_err(|error| EncodeError(error.to_string()))?;
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer).map_err(|error| DecodeError(error.to_string()))
}

/// Encodes arguments as an array. A tuple, array or list gives one argument for each element, and `()` by value gives
/// none. Any other value is a single argument.
pub(crate) fn encode_arguments<T: Serialize>(arguments: &T) -> Result<Vec<u8>, EncodeError> {
    let bytes = encode(arguments)?;
    // A serializer writes `()` and `None` alike, but only `()` has no size.
    let is_unit = size_of::<T>() == 0;
    Ok(match bytes[..] {
        [0x90..=0x9f | 0xdc | 0xdd, ..] => bytes,
        [0xc0] if is_unit => vec![0x90],
        _ => [&[0x91], &bytes[..]].concat(),
    })
}
