//! Implements hub methods for plain async functions with up to eight extractors in any order.

use std::future::Future;

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::{Call, CallError, FromCall, IntoHubResult, extract::States};
use crate::message::Json;

/// An async function whose parameters are extractors and which returns `Result<impl Serialize, HubError>`.
pub trait Method<Extractors>: Send + Sync + 'static {
    /// The number of arguments that an invocation must have.
    const ARGUMENT_COUNT: usize;

    /// Binds the arguments and runs the function.
    fn call(&self, call: Call, states: &States) -> LocalBoxFuture<'static, Result<Json, CallError>>;
}

/// The number of arguments that the extractors bind. Only one extractor may bind arguments: two would both bind the
/// first arguments, so a function with two does not compile.
const fn count(counts: &[Option<usize>]) -> usize {
    let (mut at, mut found) = (0, None);
    while at < counts.len() {
        if let Some(count) = counts[at] {
            assert!(found.is_none(), "a hub method takes its arguments with one `Args`");
            found = Some(count);
        }
        at += 1;
    }
    match found {
        Some(count) => count,
        None => 0,
    }
}

macro_rules! methods {
    ($(($($extractor:ident)*))*) => {
        $(impl<Function, HubFuture, $($extractor: FromCall + 'static),*> Method<($($extractor,)*)> for Function
        where
            Function: Fn($($extractor),*) -> HubFuture + Send + Sync + 'static,
            HubFuture: Future + 'static,
            HubFuture::Output: IntoHubResult,
        {
            const ARGUMENT_COUNT: usize = count(&[$($extractor::ARGUMENT_COUNT),*]);

            fn call(&self, _call: Call, _states: &States) -> LocalBoxFuture<'static, Result<Json, CallError>> {
                let bind = || Ok(self($($extractor::from_call(&_call, _states)?),*));
                match bind() {
                    Ok(result) => result.map(IntoHubResult::into_hub_result).boxed_local(),
                    Err(error) => async { Err(error) }.boxed_local(),
                }
            }
        })*
    };
}

methods! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_count_comes_from_args_extractor() {
        assert_eq!(count(&[None, Some(3), None]), 3);
        assert_eq!(count(&[None, None]), 0);
    }

    #[test]
    #[should_panic(expected = "one `Args`")]
    fn two_args_extractors_do_not_compile() {
        count(&[Some(1), None, Some(1)]);
    }
}
