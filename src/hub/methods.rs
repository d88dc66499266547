//! Plain async functions as hub methods: any number of extractors up to eight, in any order.

use std::future::Future;

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::{Call, CallError, FromCall, IntoAnswer, extract::States};
use crate::message::Json;

/// An async function whose arguments are extractors, and whose answer is `Result<impl Serialize, HubError>`.
pub trait Method<Extractors>: Send + Sync + 'static {
    /// How many arguments a call must have.
    const COUNT: usize;

    /// Binds the arguments and runs the function.
    fn call(&self, call: Call, states: &States) -> LocalBoxFuture<'static, Result<Json, CallError>>;
}

/// The number of arguments that the extractors take: that of the one that takes any.
const fn count(counts: &[Option<usize>]) -> usize {
    let mut at = 0;
    while at < counts.len() {
        if let Some(count) = counts[at] {
            return count;
        }
        at += 1;
    }
    0
}

macro_rules! methods {
    ($(($($extractor:ident)*))*) => {
        $(impl<Function, Answer, $($extractor: FromCall + 'static),*> Method<($($extractor,)*)> for Function
        where
            Function: Fn($($extractor),*) -> Answer + Send + Sync + 'static,
            Answer: Future + 'static,
            Answer::Output: IntoAnswer,
        {
            const COUNT: usize = count(&[$($extractor::COUNT),*]);

            fn call(&self, _call: Call, _states: &States) -> LocalBoxFuture<'static, Result<Json, CallError>> {
                let bind = || Ok(self($($extractor::from_call(&_call, _states)?),*));
                match bind() {
                    Ok(answer) => answer.map(IntoAnswer::into_answer).boxed_local(),
                    Err(error) => async { Err(error) }.boxed_local(),
                }
            }
        })*
    };
}

methods! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }
