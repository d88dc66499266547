//! The tables as they are today: one file per table, its row and its relations, no behaviour.
//!
//! Role: what SeaORM must know to read and write a row.
//! Life: changes with the schema; the way there is told by `migration`, which never looks here.
//! Neighbours: only hubcast's `store/sea.rs`, which turns rows into the engine's types.
//! Never: it does not know the engine, and applies no rule.
//!
//! Every column whose name ends in `_at`, `_until` or `_before` is a time in **milliseconds since the Unix
//! epoch**: fine enough for a revocation to fall between two tokens, and an integer in every database.
//!
//! Names are compared byte by byte: `Ann` and `ann` are two users. A user's or a group's name may have 320
//! characters, as an e-mail address may, and a hub's 128: the three together are the longest key that MySQL
//! takes (3,072 bytes of 4-byte characters). SQLite does not look at lengths.

pub mod connection;
pub mod conversation_room;
pub mod node;
pub mod rejoin_use;
pub mod user;
pub mod user_room;
