//! What the arguments of a hub method can ask for.
//!
//! | type | gives |
//! |---|---|
//! | [`Args<(A, B)>`](Args) | the arguments of the call, by their place |
//! | [`Caller`] | who calls |
//! | [`Clients`] | everybody whom the method can talk to |
//! | [`Groups`], [`Users`] | memberships of connections; durable memberships of users |
//! | [`State<T>`](State) | what was put on the hub with [`Hub::state`](super::Hub::state) |
//! | [`CallerState`] | the bag of state that a classic client sends along |
//! | [`Progress`] | where to report progress; only classic clients hear of it |

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    ops::Deref,
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::to_raw_value;

use super::{Call, CallError, Caller, CallerState, Clients, Groups, HubError, Users, call::Reporter};

/// Values of the application, one for each type.
pub(crate) type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// Something that a hub method can take as an argument.
pub trait FromCall: Sized {
    /// How many arguments of the call this takes; the method takes none if none of its extractors does.
    const COUNT: Option<usize> = None;

    /// Takes it from the call.
    ///
    /// # Errors
    /// [`CallError`], if the call does not have it.
    fn from_call(call: &Call, states: &States) -> Result<Self, CallError>;
}

/// The arguments of a call, by their place: `Args((room, message)): Args<(String, String)>`.
#[derive(Clone, Copy, Debug)]
pub struct Args<T>(pub T);

impl<T: BindArguments> FromCall for Args<T> {
    const COUNT: Option<usize> = Some(T::COUNT);

    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        T::bind(call).map(Self)
    }
}

/// A tuple that arguments can be bound to.
pub trait BindArguments: Sized {
    /// How many arguments.
    const COUNT: usize;

    /// Binds them.
    ///
    /// # Errors
    /// [`CallError::Binding`], if one does not fit.
    fn bind(call: &Call) -> Result<Self, CallError>;
}

macro_rules! bind_tuples {
    ($($count:literal: $($type:ident $place:tt),*;)*) => {
        $(impl<$($type: DeserializeOwned),*> BindArguments for ($($type,)*) {
            const COUNT: usize = $count;

            fn bind(_call: &Call) -> Result<Self, CallError> {
                Ok(($(_call.arguments.get::<$type>($place)?,)*))
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

/// A value of the application, put on the hub with [`Hub::state`](super::Hub::state).
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
    fn from_call(_: &Call, states: &States) -> Result<Self, CallError> {
        let found = states.get(&TypeId::of::<T>()).cloned().and_then(|state| state.downcast().ok());
        found.map(Self).ok_or_else(|| {
            let missing = format!("the hub has no state of type {}", std::any::type_name::<T>());
            CallError::Failed(HubError::hidden("InvalidOperationException", missing))
        })
    }
}

/// Where a method reports how far it is. Clients that cannot be told are not.
#[derive(Clone)]
pub struct Progress(Option<Reporter>);

impl Progress {
    /// Reports a value; anything but JSON is not reported.
    pub fn report(&self, value: impl Serialize) {
        if let (Some(reporter), Ok(json)) = (&self.0, to_raw_value(&value)) {
            reporter(json);
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
