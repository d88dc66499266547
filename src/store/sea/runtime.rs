//! Calls that can be dropped outside of a runtime.
//!
//! A call that is dropped gives its connection back to the pool, in a task that the driver spawns. The driver panics if no
//! runtime is current. actix drops the tasks of a thread after it has left the runtime of the thread, so a call that is
//! open at the end of the process, or of a test, is dropped there.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// The runtime that connected the store.
#[derive(Clone, Debug)]
pub(super) struct StoreRuntime(Handle);

impl StoreRuntime {
    /// The current runtime.
    pub(super) fn current() -> Self {
        Self(Handle::current())
    }

    /// Runs a call of the store.
    pub(super) fn run<F: Future>(&self, call: F) -> InRuntime<F> {
        InRuntime { runtime: self.0.clone(), call: Some(Box::pin(call)) }
    }
}

/// A call that is dropped in a runtime. If the runtime has ended, the connection is closed.
pub(super) struct InRuntime<F> {
    runtime: Handle,
    /// `None` once it is dropped.
    call: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for InRuntime<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.as_mut().expect("only drop takes the call").as_mut().poll(cx)
    }
}

impl<F> Drop for InRuntime<F> {
    fn drop(&mut self) {
        // The current runtime can be another one than that of the store.
        let _entered = Handle::try_current().is_err().then(|| self.runtime.enter());
        drop(self.call.take());
    }
}
