//! The allocator of the service: mimalloc, set to return freed memory to the system at once.
//!
//! The crate is separate because mimalloc's options have no safe interface, and `hubcast` forbids unsafe code.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};
/// mimalloc without huge pages: a huge page is returned only when all of it is free.
pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mi_option_t` in mimalloc 3. The bindings have no constant for it.
const PURGE_DELAY: mi_option_t = 15;

/// Sets the time between the release of memory and its return to the system to zero, unless the environment variable
/// `MIMALLOC_PURGE_DELAY` sets it.
///
/// mimalloc checks the time only when a thread allocates. With a delay, the memory of clients that have left stays
/// with threads that no longer have anything to do.
pub fn return_freed_memory_at_once() {
    // SAFETY: the function stores a number in a table of the options. Any thread may call it at any time.
    unsafe { mi_option_set_default(PURGE_DELAY, 0) }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn purge_delay_becomes_zero() {
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000, "the default of mimalloc 3: the option has its number");
        return_freed_memory_at_once();
        assert_eq!(delay(), 0);
    }
}
