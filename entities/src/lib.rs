//! SeaORM entities of the current tables: one file per table, with its columns and relations and without behaviour.
//!
//! Only `store/sea.rs` of hubcast uses them; it converts rows to the types of the engine. This crate does not know the
//! engine and applies no rules. It always describes the latest schema. The crate `migration` contains the steps to that
//! schema and never imports this one.
//!
//! Every column whose name ends in `_at`, `_until` or `_before` is a time in **milliseconds since the Unix epoch**.
//! That is fine enough for a revocation to fall between two tokens, and every database stores it as an integer.
//!
//! Names are compared byte by byte: `Ann` and `ann` are two users. The name of a user or a group can have 320
//! characters, like an e-mail address; that of a hub can have 128. The three together are the longest key that MySQL
//! supports (3,072 bytes, with 4 bytes per character). SQLite does not enforce lengths.

pub mod clock;
pub mod connection;
pub mod conversation_room;
pub mod group_revocation;
pub mod node;
pub mod rejoin_family;
pub mod rejoin_list;
pub mod user;
pub mod user_last_seen;
pub mod user_room;
