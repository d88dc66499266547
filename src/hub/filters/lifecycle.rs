//! The filters of a hub, and its lifecycle hooks with the filters around them.

use std::sync::Arc;

use futures_util::future::FutureExt;

use super::{
    AfterConnect, AfterDisconnect, AfterReconnect, BeforeConnect, BeforeDisconnect, BeforeReconnect, Chain, EventKind,
    Events, Filter, FilterOptions, HubFilter, erased::DynFilter,
};
use crate::{
    hub::{Connected, Disconnected, Hub, HubContext, HubError, HubFuture, Reconnected},
    metrics::Metrics,
};

/// A filter that was added to a builder.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) options: FilterOptions,
    filter: Arc<dyn DynFilter>,
}

impl Registration {
    pub(crate) fn new(name: &str, options: FilterOptions, filter: impl HubFilter) -> Self {
        Self { name: name.to_owned(), options, filter: Arc::new(filter) }
    }
}

impl Hub {
    /// Adds a filter with the default options for the events of this hub. It runs after the filters of the engine and
    /// those that were added to the hub before. Names of filters are unique in an engine.
    #[must_use]
    pub fn filter(self, name: &str, filter: impl HubFilter) -> Self {
        self.filter_with(name, FilterOptions::default(), filter)
    }

    /// As [`Hub::filter`], with options.
    #[must_use]
    pub fn filter_with(mut self, name: &str, options: FilterOptions, filter: impl HubFilter) -> Self {
        self.filters.push(Registration::new(name, options, filter));
        self
    }

    /// The filters that were added to this hub.
    pub(crate) fn filters(&self) -> &[Registration] {
        &self.filters
    }

    /// The chain, if one of its filters handles one of these events.
    pub(crate) fn chain(&self, events: impl Into<Events>) -> Option<&Arc<Chain>> {
        self.chain.as_ref().filter(|chain| chain.handles(events))
    }

    /// Runs OnConnected.
    pub(crate) fn connected(&self, context: HubContext) -> HubFuture<Result<(), HubError>> {
        let hook = self.connected.clone();
        let run = |context| match hook {
            Some(hook) => hook(Connected(context)),
            None => async { Ok(()) }.boxed_local(),
        };
        let Some(chain) = self.chain(EventKind::BeforeConnect | EventKind::AfterConnect).cloned() else {
            return run(context);
        };
        async move {
            chain.decide(BeforeConnect { context: context.clone() }).await?;
            run(context.clone()).await?;
            chain.observe(AfterConnect { context }).await;
            Ok(())
        }
        .boxed_local()
    }

    /// Runs OnReconnected.
    pub(crate) fn reconnected(&self, reconnected: Reconnected) -> HubFuture<Result<(), HubError>> {
        let Some(hook) = self.reconnected.clone() else {
            return self.with_reconnect_filters(reconnected, |_| async { Ok(()) }.boxed_local());
        };
        self.with_reconnect_filters(reconnected, move |reconnected| hook(reconnected))
    }

    /// Runs the filters of a reconnect around `run`.
    pub(crate) fn with_reconnect_filters(
        &self,
        reconnected: Reconnected,
        run: impl FnOnce(Reconnected) -> HubFuture<Result<(), HubError>> + 'static,
    ) -> HubFuture<Result<(), HubError>> {
        let Some(chain) = self.chain(EventKind::BeforeReconnect | EventKind::AfterReconnect).cloned() else {
            return run(reconnected);
        };
        async move {
            let Reconnected { context, has_gap } = reconnected.clone();
            chain.decide(BeforeReconnect { context: context.clone(), has_gap }).await?;
            run(reconnected).await?;
            chain.observe(AfterReconnect { context, has_gap }).await;
            Ok(())
        }
        .boxed_local()
    }

    /// Runs OnDisconnected.
    pub(crate) fn disconnected(&self, disconnected: Disconnected) -> HubFuture<()> {
        let hook = self.disconnected.clone();
        let run = |disconnected| match hook {
            Some(hook) => hook(disconnected),
            None => async {}.boxed_local(),
        };
        let Some(chain) = self.chain(EventKind::BeforeDisconnect | EventKind::AfterDisconnect).cloned() else {
            return run(disconnected);
        };
        async move {
            chain.announce(BeforeDisconnect(disconnected.clone())).await;
            run(disconnected.clone()).await;
            chain.observe(AfterDisconnect(disconnected)).await;
        }
        .boxed_local()
    }
}

/// Creates the chains of the hubs. Returns all filters, those of the engine first.
pub(crate) fn create_chains(global: &[Registration], hubs: &mut [Hub], metrics: &Arc<Metrics>) -> Vec<Arc<Filter>> {
    let create = |registration: &Registration, hub: Option<&Hub>| {
        let Registration { name, options, filter } = registration;
        let hub = hub.map(|hub| hub.name().clone());
        Arc::new(Filter::new(name.as_str().into(), hub, Arc::clone(filter), options, Arc::clone(metrics)))
    };
    let mut all: Vec<_> = global.iter().map(|registration| create(registration, None)).collect();
    let global = all.clone();
    for hub in hubs {
        let own: Vec<_> = hub.filters.iter().map(|registration| create(registration, Some(hub))).collect();
        all.extend(own.iter().cloned());
        hub.chain = Chain::new(global.iter().cloned().chain(own).collect());
    }
    all
}
