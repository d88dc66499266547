//! Extractors: the parameter types of hub methods.
//!
//! | type | value |
//! |---|---|
//! | [`Args<(A, B)>`](Args) | the arguments of the invocation, by position |
//! | [`Caller`] | the caller |
//! | [`Clients`] | the clients of the hub |
//! | [`Groups`], [`Users`] | group memberships of connections; durable group memberships of users |
//! | [`State<T>`](State) | a value that was added with [`Hub::state`](super::Hub::state) |
//! | [`CallerState`] | the state that a classic client sends along |
//! | [`UploadStream<T>`](super::UploadStream) | a stream that the client sends along |
//! | [`Progress`] | reports progress to the caller; only classic clients receive it |

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Call, CallError, Caller, CallerState, Clients, Groups, HubError, StateType, States, Users, call::Reporter,
};
use crate::payload::{Format, Payload};

/// A type that a hub method can take as a parameter.
///
/// ```
/// use hubcast::{
///     Call, State,
///     hub::{CallError, FromCall, StateType, States},
/// };
///
/// /// The greeting of the hub, with the name of the caller.
/// struct Greeting(String);
///
/// impl FromCall for Greeting {
///     fn from_call(call: &Call, states: &States) -> Result<Self, CallError> {
///         let greeting = State::<String>::from_call(call, states)?;
///         Ok(Self(format!("{} {}", *greeting, call.context.caller().name())))
///     }
///
///     fn required_states() -> Vec<StateType> {
///         vec![StateType::of::<String>()]
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a hub method",
    label = "has a parameter of type `{Self}`, which is not an extractor",
    note = "arguments of the client are wrapped in one `Args`: `Args((room, text)): Args<(String, String)>`",
    note = "the other parameters are `Caller`, `Clients`, `Groups`, `Users`, `State<T>`, `UploadStream<T>`, `CallerState` or `Progress`, by value",
    note = "docs/hub-methods.md lists the rules of hub methods"
)]
pub trait FromCall: Sized {
    /// The number of invocation arguments that this extractor binds; `None` for extractors that bind no arguments. A
    /// method whose extractors are all `None` takes no arguments.
    const ARGUMENT_COUNT: Option<usize> = None;

    /// The number of streams that the client sends for this extractor.
    const STREAM_COUNT: usize = 0;

    /// Checks the arguments that the extractor binds. It runs before an invocation is refused for another reason, so that
    /// the client learns of wrong arguments first.
    ///
    /// # Errors
    /// [`CallError`], if an argument cannot be bound.
    fn check_arguments(_: &Call) -> Result<(), CallError> {
        Ok(())
    }

    /// The states that the extractor needs. An engine with a hub that lacks one of them cannot be built. Default none.
    fn required_states() -> Vec<StateType> {
        Vec::new()
    }

    /// Extracts the value from the invocation.
    ///
    /// # Errors
    /// [`CallError`], if the invocation does not provide it.
    fn from_call(call: &Call, states: &States) -> Result<Self, CallError>;
}

/// The arguments of an invocation, by position: `Args((group, message)): Args<(String, String)>`.
///
/// A client passes exactly as many arguments as the tuple has. `Option<T>` also accepts null.
///
/// ```
/// use hubcast::{Args, Hub, HubError};
///
/// async fn add(Args((a, b)): Args<(i64, i64)>) -> Result<i64, HubError> {
///     Ok(a + b)
/// }
///
/// let hub = Hub::new("calculator").method("Add", add);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Args<T>(pub T);

impl<T: BindArguments> FromCall for Args<T> {
    const ARGUMENT_COUNT: Option<usize> = Some(T::ARGUMENT_COUNT);

    fn check_arguments(call: &Call) -> Result<(), CallError> {
        T::bind(call).map(drop)
    }

    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        T::bind(call).map(Self)
    }
}

/// A tuple that arguments can be bound to.
#[diagnostic::on_unimplemented(
    message = "`Args<{Self}>` does not list the arguments of a hub method",
    label = "`{Self}` is not a tuple of at most eight types",
    note = "`Args` takes a tuple of at most eight types, also for a single argument: `Args((room,)): Args<(String,)>`",
    note = "more values fit into a struct that derives `serde::Deserialize`",
    note = "docs/hub-methods.md lists the rules of hub methods"
)]
pub trait BindArguments: Sized {
    /// The number of arguments.
    const ARGUMENT_COUNT: usize;

    /// Binds the arguments of an invocation.
    ///
    /// # Errors
    /// [`CallError::Binding`], if an argument does not match its type.
    fn bind(call: &Call) -> Result<Self, CallError>;
}

/// A type of an argument: deserialized from JSON, and without borrowed parts, because the hub method outlives the message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a hub method",
    label = "has an argument of type `{Self}`, which does not implement `serde::Deserialize`",
    note = "add `#[derive(serde::Deserialize)]` to the type, or enable the `serde` feature of its crate",
    note = "arguments own their values: `String` instead of `&str`",
    note = "docs/hub-methods.md lists the rules of hub methods"
)]
pub trait OwnedArgument<'json>: Deserialize<'json> {}

#[diagnostic::do_not_recommend]
impl<'json, T: Deserialize<'json>> OwnedArgument<'json> for T {}

macro_rules! bind_tuples {
    ($($count:literal: $($type:ident $index:tt),*;)*) => {
        $(impl<$($type: for<'json> OwnedArgument<'json>),*> BindArguments for ($($type,)*) {
            const ARGUMENT_COUNT: usize = $count;

            fn bind(_call: &Call) -> Result<Self, CallError> {
                Ok(($(_call.arguments.get::<$type>($index)?,)*))
            }
        })*
    };
}

bind_tuples! {
    0: ;
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}

impl FromCall for Caller {
    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        Ok(call.context.caller.clone())
    }
}

impl FromCall for Clients {
    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        Ok(call.context.clients())
    }
}

impl FromCall for Groups {
    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        Ok(call.context.groups())
    }
}

impl FromCall for Users {
    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        Ok(call.context.users())
    }
}

impl FromCall for CallerState {
    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        Ok(call.context.state.clone())
    }
}

/// A value of the application that was added with [`Hub::state`](super::Hub::state).
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use hubcast::{Hub, HubError, State};
///
/// async fn count(counter: State<AtomicUsize>) -> Result<usize, HubError> {
///     Ok(counter.fetch_add(1, Ordering::Relaxed))
/// }
///
/// let hub = Hub::new("counter").state(AtomicUsize::new(0)).method("Count", count);
/// ```
#[derive(Debug)]
pub struct State<T>(Arc<T>);

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> FromCall for State<T> {
    fn required_states() -> Vec<StateType> {
        vec![StateType::of::<T>()]
    }

    fn from_call(_: &Call, states: &States) -> Result<Self, CallError> {
        states.get().map(Self).ok_or_else(|| {
            let missing = format!("the hub has no state of type {}", std::any::type_name::<T>());
            CallError::Failed(HubError::hidden("InvalidOperationException", missing))
        })
    }
}

/// Reports progress of a hub method to its caller. Clients that do not support progress receive nothing.
///
/// ```
/// use hubcast::{HubError, Progress};
///
/// async fn import(progress: Progress) -> Result<(), HubError> {
///     for percent in [25, 50, 75] {
///         progress.report(percent);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Progress(Option<Reporter>);

impl Progress {
    /// Reports a value. A value that cannot be serialized as JSON is ignored.
    pub fn report(&self, value: impl Serialize) {
        let Some(reporter) = &self.0 else { return };
        if let Ok(value) = Payload::encode(Format::Json, &value) {
            reporter(&value);
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Progress").field(&self.0.is_some()).finish()
    }
}

impl FromCall for Progress {
    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        Ok(Self(call.reporter.clone()))
    }
}
