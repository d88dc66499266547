//! Implements hub methods for plain async functions with up to eight extractors in any order.
//!
//! The bounds of a hub method are separate traits, so that the compiler reports the one that is violated. With the same
//! bounds on the implementations of [`Method`], it would report every mistake as a missing `Method<_>`.

use std::future::Future;

use super::{Call, CallError, FromCall, StateType, States};

/// A function or closure with at most eight parameters. `ParameterTypes` is the tuple of their types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a hub method",
    label = "not an async function with at most eight parameters",
    note = "a hub method is an async function or closure with at most eight parameters",
    note = "one parameter takes all arguments of the client: `Args((room, text)): Args<(String, String)>`",
    note = "docs/hub-methods.md lists the rules of hub methods"
)]
pub trait Method<ParameterTypes> {
    /// The type that a call returns: of an async function, its future.
    type Returned;

    /// Calls the function.
    fn call(&self, parameters: ParameterTypes) -> Self::Returned;
}

/// A tuple of extractors: the parameters of a hub method.
pub trait Parameters: Sized + 'static {
    /// The number of arguments that an invocation must have.
    const ARGUMENT_COUNT: usize;

    /// The number of streams that an invocation must have.
    const STREAM_COUNT: usize;

    /// The states that the parameters need.
    fn required_states() -> Vec<StateType>;

    /// Checks the arguments of the invocation: see [`FromCall::check_arguments`].
    ///
    /// # Errors
    /// The error of the extractor that binds them.
    fn check_arguments(call: &Call) -> Result<(), CallError>;

    /// Extracts all parameters from the invocation.
    ///
    /// # Errors
    /// The error of the first extractor that fails.
    fn from_call(call: &Call, states: &States) -> Result<Self, CallError>;
}

/// The future of a hub method. Every future without borrowed values implements it.
#[diagnostic::on_unimplemented(
    message = "a hub method must be async, but this one returns `{Self}`",
    label = "not an async function",
    note = "write `async fn` for a function, and `async |…|` for a closure",
    note = "docs/hub-methods.md lists the rules of hub methods"
)]
pub trait MethodFuture: Future<Output = Self::Returned> + 'static {
    /// The type that the hub method returns after its awaits.
    type Returned;
}

#[diagnostic::do_not_recommend]
impl<F: Future + 'static> MethodFuture for F {
    type Returned = F::Output;
}

/// The number of arguments that the extractors bind. Only one extractor may bind arguments: two would both bind the
/// first arguments, so a function with two does not compile.
const fn count(counts: &[Option<usize>]) -> usize {
    let (mut at, mut found) = (0, None);
    while at < counts.len() {
        if let Some(count) = counts[at] {
            assert!(
                found.is_none(),
                "a hub method takes its arguments with one `Args`: write `Args<(A, B)>` for two arguments"
            );
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
    ($(($($parameter:ident)*))*) => {
        $(
            impl<Function: Fn($($parameter),*) -> Returned, Returned, $($parameter),*> Method<($($parameter,)*)> for Function {
                type Returned = Returned;

                #[allow(non_snake_case, reason = "the names of the types also name the values")]
                fn call(&self, ($($parameter,)*): ($($parameter,)*)) -> Returned {
                    self($($parameter),*)
                }
            }

            impl<$($parameter: FromCall + 'static),*> Parameters for ($($parameter,)*) {
                const ARGUMENT_COUNT: usize = count(&[$($parameter::ARGUMENT_COUNT),*]);
                const STREAM_COUNT: usize = 0 $(+ $parameter::STREAM_COUNT)*;

                fn required_states() -> Vec<StateType> {
                    <[Vec<StateType>]>::concat(&[$($parameter::required_states()),*])
                }

                fn check_arguments(_call: &Call) -> Result<(), CallError> {
                    $($parameter::check_arguments(_call)?;)*
                    Ok(())
                }

                fn from_call(_call: &Call, _states: &States) -> Result<Self, CallError> {
                    Ok(($($parameter::from_call(_call, _states)?,)*))
                }
            }
        )*
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
