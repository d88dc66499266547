//! The filters around a hub method.

use super::{AfterInvoke, BeforeInvoke, Chain, EventKind, Events, IncomingError, Stopped};
use crate::hub::{Arguments, Call, CallError, HubContext, HubResult};

/// The events of an invocation.
pub(crate) fn invocation_events() -> Events {
    EventKind::BeforeInvoke | EventKind::AfterInvoke | EventKind::IncomingError
}

/// What the filters after a method see of its invocation.
struct Invocation {
    context: HubContext,
    method: String,
    arguments: Arguments,
}

impl Chain {
    /// Runs a hub method between the filters.
    pub(crate) async fn invoke(
        &self,
        mut call: Call,
        run: impl AsyncFnOnce(Call) -> Result<HubResult, CallError>,
    ) -> Result<HubResult, CallError> {
        let (mut event, mut entered) = (call.take_event(), 0);
        let mut early = None;
        for filter in &self.filters {
            if filter.events.contains(EventKind::BeforeInvoke) {
                let before = event.clone();
                match filter.pass(event).await {
                    Ok(passed) => event = passed,
                    Err(Stopped { error, .. }) => {
                        (event, early) = (before, Some(Err(CallError::Failed(error))));
                        break;
                    }
                }
                if let Some(result) = event.result.take() {
                    early = Some(Ok(HubResult::from(result)));
                    break;
                }
            }
            entered += 1;
        }
        let invocation = Invocation {
            context: event.context.clone(),
            method: event.method.clone(),
            arguments: event.arguments.clone(),
        };
        let outcome = match early {
            Some(outcome) => outcome,
            None => run(call.with_event(event)).await,
        };
        self.after_invoke(&invocation, outcome, entered).await
    }

    /// Passes the outcome through the filters that were entered, from the last to the first.
    async fn after_invoke(
        &self,
        invocation: &Invocation,
        mut outcome: Result<HubResult, CallError>,
        entered: usize,
    ) -> Result<HubResult, CallError> {
        for filter in self.filters[..entered].iter().rev() {
            outcome = match outcome {
                Ok(result) if filter.events.contains(EventKind::AfterInvoke) => {
                    let passed = filter.pass(invocation.succeeded(&result)).await;
                    passed.map(|event| replaced(result, event.result)).map_err(|stopped| stopped.error.into())
                }
                Err(error) if filter.events.contains(EventKind::IncomingError) => {
                    match filter.pass(invocation.failed(error)).await {
                        Ok(IncomingError { result: Some(result), .. }) => Ok(result.into()),
                        Ok(IncomingError { error, .. }) => Err(error),
                        Err(stopped) => Err(stopped.error.into()),
                    }
                }
                outcome => outcome,
            };
        }
        outcome
    }
}

/// The result with its value replaced. A stream stays.
fn replaced(result: HubResult, value: Option<crate::payload::Payload>) -> HubResult {
    match (result.value(), value) {
        (Some(_), Some(value)) => value.into(),
        _ => result,
    }
}

impl Invocation {
    fn succeeded(&self, result: &HubResult) -> AfterInvoke {
        AfterInvoke {
            context: self.context.clone(),
            method: self.method.clone(),
            arguments: self.arguments.clone(),
            result: result.value().cloned(),
        }
    }

    fn failed(&self, error: CallError) -> IncomingError {
        IncomingError {
            context: self.context.clone(),
            method: self.method.clone(),
            arguments: self.arguments.clone(),
            error,
            result: None,
        }
    }
}

impl Call {
    /// Takes what filters see of the invocation.
    fn take_event(&mut self) -> BeforeInvoke {
        BeforeInvoke {
            context: self.context.clone(),
            method: std::mem::take(&mut self.method),
            arguments: std::mem::take(&mut self.arguments),
            result: None,
        }
    }

    fn with_event(self, event: BeforeInvoke) -> Self {
        let BeforeInvoke { context, method, arguments, .. } = event;
        Self { context, method, arguments, ..self }
    }
}
