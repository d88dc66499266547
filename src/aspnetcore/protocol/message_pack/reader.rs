//! Reads the elements of a MessagePack message, with the error texts of the reader in .NET.

use bytes::Bytes;
use rmp::Marker;

use crate::{aspnetcore::protocol::invalid_data, hub::HubError};

/// The bytes of a message that are not read yet.
pub(super) struct Reader<'a> {
    message: &'a Bytes,
    position: usize,
}

/// Why an element cannot be read.
pub(super) enum ReadError {
    /// The message ends inside the element.
    End,
    /// The element has another type. The value is its first byte.
    Type(u8),
}

impl ReadError {
    /// Wire: the error of the reader in .NET.
    pub(super) fn into_hub_error(self) -> HubError {
        match self {
            Self::End => HubError::hidden("EndOfStreamException", "Attempted to read past the end of the stream."),
            Self::Type(code) => {
                let text = format!("Unexpected msgpack code {code} ({}) encountered.", format_name(code));
                HubError::hidden("MessagePackSerializationException", text)
            }
        }
    }

    /// Wire: the error of the protocol in .NET for an element of a message.
    fn in_field(field: &str, kind: &str) -> HubError {
        invalid_data(format!("Reading '{field}' as {kind} failed."))
    }
}

type ReadResult<T> = Result<T, ReadError>;

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a Bytes) -> Self {
        Self { message, position: 0 }
    }

    fn remaining(&self) -> &'a [u8] {
        &self.message[self.position..]
    }

    fn take(&mut self, length: usize) -> ReadResult<&'a [u8]> {
        let bytes = self.remaining().get(..length).ok_or(ReadError::End)?;
        self.position += length;
        Ok(bytes)
    }

    fn peek(&self) -> ReadResult<u8> {
        self.remaining().first().copied().ok_or(ReadError::End)
    }

    fn marker(&mut self) -> ReadResult<(Marker, u8)> {
        let code = self.peek()?;
        self.position += 1;
        Ok((Marker::from_u8(code), code))
    }

    /// An unsigned integer in this number of bytes.
    fn unsigned(&mut self, width: usize) -> ReadResult<u64> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> ReadResult<usize> {
        usize::try_from(self.unsigned(width)?).map_err(|_| ReadError::End)
    }

    /// A signed integer in this number of bytes.
    fn signed(&mut self, width: usize) -> ReadResult<i64> {
        let unused = 64 - 8 * u32::try_from(width).unwrap_or(8);
        Ok(self.unsigned(width)?.cast_signed() << unused >> unused)
    }

    /// An array header: the number of elements. Each takes at least one byte.
    pub(super) fn array(&mut self) -> ReadResult<usize> {
        let (marker, code) = self.marker()?;
        let length = match marker {
            Marker::FixArray(length) => length.into(),
            Marker::Array16 => self.length(2)?,
            Marker::Array32 => self.length(4)?,
            _ => return Err(ReadError::Type(code)),
        };
        if length > self.remaining().len() { Err(ReadError::End) } else { Ok(length) }
    }

    fn map(&mut self) -> ReadResult<usize> {
        let (marker, code) = self.marker()?;
        let length = match marker {
            Marker::FixMap(length) => length.into(),
            Marker::Map16 => self.length(2)?,
            Marker::Map32 => self.length(4)?,
            _ => return Err(ReadError::Type(code)),
        };
        if length > self.remaining().len() / 2 { Err(ReadError::End) } else { Ok(length) }
    }

    /// A string; `None` for nil.
    pub(super) fn string(&mut self) -> ReadResult<Option<String>> {
        let (marker, code) = self.marker()?;
        let length = match marker {
            Marker::Null => return Ok(None),
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.length(1)?,
            Marker::Str16 => self.length(2)?,
            Marker::Str32 => self.length(4)?,
            _ => return Err(ReadError::Type(code)),
        };
        Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }

    fn integer(&mut self) -> ReadResult<i64> {
        let (marker, code) = self.marker()?;
        match marker {
            Marker::FixPos(number) => Ok(number.into()),
            Marker::FixNeg(number) => Ok(number.into()),
            Marker::U8 => self.signed_of_unsigned(1, code),
            Marker::U16 => self.signed_of_unsigned(2, code),
            Marker::U32 => self.signed_of_unsigned(4, code),
            Marker::U64 => self.signed_of_unsigned(8, code),
            Marker::I8 => self.signed(1),
            Marker::I16 => self.signed(2),
            Marker::I32 => self.signed(4),
            Marker::I64 => self.signed(8),
            _ => Err(ReadError::Type(code)),
        }
    }

    fn signed_of_unsigned(&mut self, width: usize, code: u8) -> ReadResult<i64> {
        i64::try_from(self.unsigned(width)?).map_err(|_| ReadError::Type(code))
    }

    fn boolean(&mut self) -> ReadResult<bool> {
        match self.marker()? {
            (Marker::True, _) => Ok(true),
            (Marker::False, _) => Ok(false),
            (_, code) => Err(ReadError::Type(code)),
        }
    }

    /// Skips one value of any type and returns its bytes, which are shared with the message.
    pub(super) fn value(&mut self) -> ReadResult<Bytes> {
        let start = self.position;
        // Nested values are counted, so that no depth exhausts the stack.
        let mut open = 1_usize;
        while open > 0 {
            open = open - 1 + self.skip_one()?;
            if open > self.remaining().len() {
                return Err(ReadError::End);
            }
        }
        Ok(self.message.slice(start..self.position))
    }

    /// Skips a scalar, or the header of an array or a map. Returns the number of values that follow the header.
    fn skip_one(&mut self) -> ReadResult<usize> {
        let length = match Marker::from_u8(self.peek()?) {
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => return self.array(),
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => return self.map().map(|length| 2 * length),
            Marker::Reserved => return Err(ReadError::Type(self.peek()?)),
            marker => {
                self.position += 1;
                self.scalar_length(marker)?
            }
        };
        self.take(length).map(|_| 0)
    }

    /// The number of bytes behind the marker of a scalar, after its length.
    fn scalar_length(&mut self, marker: Marker) -> ReadResult<usize> {
        Ok(match marker {
            Marker::FixStr(length) => length.into(),
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::FixExt4 => 5,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Str8 | Marker::Bin8 => self.length(1)?,
            Marker::Str16 | Marker::Bin16 => self.length(2)?,
            Marker::Str32 | Marker::Bin32 => self.length(4)?,
            Marker::Ext8 => self.length(1)? + 1,
            Marker::Ext16 => self.length(2)? + 1,
            Marker::Ext32 => self.length(4)? + 1,
            _ => 0,
        })
    }

    pub(super) fn string_field(&mut self, field: &str) -> Result<Option<String>, HubError> {
        self.string().map_err(|_| ReadError::in_field(field, "String"))
    }

    pub(super) fn int_field(&mut self, field: &str) -> Result<i32, HubError> {
        let number = self.integer().ok().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| ReadError::in_field(field, "Int32"))
    }

    pub(super) fn long_field(&mut self, field: &str) -> Result<i64, HubError> {
        self.integer().map_err(|_| ReadError::in_field(field, "Int64"))
    }

    pub(super) fn boolean_field(&mut self, field: &str) -> Result<bool, HubError> {
        self.boolean().map_err(|_| ReadError::in_field(field, "Boolean"))
    }

    pub(super) fn array_field(&mut self, field: &str) -> Result<usize, HubError> {
        self.array().map_err(|_| invalid_data(format!("Reading array length for '{field}' failed.")))
    }

    pub(super) fn map_field(&mut self, field: &str) -> Result<usize, HubError> {
        self.map().map_err(|_| invalid_data(format!("Reading map length for '{field}' failed.")))
    }
}

/// Wire: the names of the formats in .NET.
fn format_name(code: u8) -> &'static str {
    match Marker::from_u8(code) {
        Marker::FixPos(_) => "positive fixint",
        Marker::FixNeg(_) => "negative fixint",
        Marker::FixMap(_) => "fixmap",
        Marker::FixArray(_) => "fixarray",
        Marker::FixStr(_) => "fixstr",
        Marker::Null => "nil",
        Marker::Reserved => "(never used)",
        Marker::False => "false",
        Marker::True => "true",
        Marker::Bin8 => "bin 8",
        Marker::Bin16 => "bin 16",
        Marker::Bin32 => "bin 32",
        Marker::Ext8 => "ext 8",
        Marker::Ext16 => "ext 16",
        Marker::Ext32 => "ext 32",
        Marker::F32 => "float 32",
        Marker::F64 => "float 64",
        Marker::U8 => "uint 8",
        Marker::U16 => "uint 16",
        Marker::U32 => "uint 32",
        Marker::U64 => "uint 64",
        Marker::I8 => "int 8",
        Marker::I16 => "int 16",
        Marker::I32 => "int 32",
        Marker::I64 => "int 64",
        Marker::FixExt1 => "fixext 1",
        Marker::FixExt2 => "fixext 2",
        Marker::FixExt4 => "fixext 4",
        Marker::FixExt8 => "fixext 8",
        Marker::FixExt16 => "fixext 16",
        Marker::Str8 => "str 8",
        Marker::Str16 => "str 16",
        Marker::Str32 => "str 32",
        Marker::Array16 => "array 16",
        Marker::Array32 => "array 32",
        Marker::Map16 => "map 16",
        Marker::Map32 => "map 32",
    }
}
