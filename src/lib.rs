//! hubcast

pub mod ids;
pub mod store;
