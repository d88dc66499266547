//! Plain async functions as hub methods: any number of extractors up to eight, in any order.

use std::future::Future;

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::{Call, CallError, FromCall, IntoHubResult, extract::States};
use crate::message::Json;

/// An async function whose arguments are extractors, and whose answer is `Result<impl Serialize, HubError>`.
pub trait Method<Extractors>: Send + Sync + 'static {
    /// How many arguments a call must have.
    const COUNT: usize;

    /// Binds the arguments and runs the function.
    fn call(&self, call: Call, states: &States) -> LocalBoxFuture<'static, Result<Json, CallError>>;
}

/// The number of arguments that the extractors take: that of the one that takes any. Two would both take the
/// first arguments, so that a function which asks for two does not compile.
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
            const COUNT: usize = count(&[$($extractor::COUNT),*]);

            fn call(&self, _call: Call, _states: &States) -> LocalBoxFuture<'static, Result<Json, CallError>> {
                let bind = || Ok(self($($extractor::from_call(&_call, _states)?),*));
                match bind() {
                    Ok(answer) => answer.map(IntoHubResult::into_answer).boxed_local(),
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
    fn a_method_has_as_many_arguments_as_its_one_extractor_of_arguments_takes() {
        assert_eq!(count(&[None, Some(3), None]), 3);
        assert_eq!(count(&[None, None]), 0);
    }

    #[test]
    #[should_panic(expected = "one `Args`")]
    fn a_method_that_takes_its_arguments_twice_does_not_compile() {
        count(&[Some(1), None, Some(1)]);
    }
}
