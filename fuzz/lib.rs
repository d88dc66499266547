//! Runs a check of a decoder on generated input, with a limit for the memory that it allocates.
//!
//! `tests/fuzz` builds and runs the targets. Each is a function of `hubcast::testkit`, whose documentation states the
//! checked properties.

use std::alloc::System;

use cap::Cap;

/// The memory that a check may allocate at a time: a fixed amount, and an amount for each byte of input. The smallest
/// values take one byte on the wire and 48 bytes in memory, and a growing list of them takes three times as much.
const FIXED_BYTES: usize = 512 * 1024;
const BYTES_PER_BYTE: usize = 256;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs a check on an input. The process aborts if the check panics or allocates too much, and libFuzzer keeps the
/// input.
///
/// # Panics
/// If the check panics.
pub fn run(check: fn(&[u8]), input: &[u8]) {
    let limit = ALLOCATOR.allocated() + FIXED_BYTES + BYTES_PER_BYTE * input.len();
    ALLOCATOR.set_limit(limit).expect("the limit exceeds the allocated memory");
    check(input);
    ALLOCATOR.set_limit(usize::MAX).expect("the limit is the largest");
}
