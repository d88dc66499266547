//! Filters: the list with their figures, and the change of a mode.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde::Serialize;
use serde_json::json;

use super::{
    AdminError,
    changes::operator,
    listing::{Listing, SortKey, Value},
    query::Query,
};
use crate::{
    Engine,
    filters::{EventFigures, FilterHandle, FilterMode},
    ids::HubName,
};

const PARAMETERS: &[&str] = &["hub", "sort", "limit", "cursor"];
const COLUMNS: &[&str] = &["position", "name", "refusals", "failures", "differences"];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FilterRow {
    name: String,
    /// `None` if it runs on all hubs.
    hub: Option<HubName>,
    /// The order in which filters were added, those of the engine first.
    position: usize,
    mode: &'static str,
    policy: &'static str,
    budget_seconds: f64,
    events: BTreeMap<&'static str, EventRow>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRow {
    calls: u64,
    refusals: u64,
    failures: u64,
    timeouts: u64,
    bypassed: u64,
    differences: u64,
    duration_seconds: f64,
}

impl From<EventFigures> for EventRow {
    fn from(figures: EventFigures) -> Self {
        let EventFigures { calls, refusals, failures, timeouts, bypassed, differences, duration } = figures;
        let duration_seconds = duration.as_secs_f64();
        Self { calls, refusals, failures, timeouts, bypassed, differences, duration_seconds }
    }
}

impl FilterRow {
    fn new(position: usize, filter: &FilterHandle) -> Self {
        let events = filter.events().iter().map(|kind| (kind.name(), filter.figures(kind).into()));
        Self {
            name: filter.name().to_owned(),
            hub: filter.hub().cloned(),
            position,
            mode: filter.mode().name(),
            policy: filter.policy().name(),
            budget_seconds: filter.budget().as_secs_f64(),
            events: events.collect(),
        }
    }

    fn sort_key(&self, column: &str) -> SortKey {
        let sum = |count: fn(&EventRow) -> u64| Value::Number(self.events.values().map(count).sum());
        let value = match column {
            "name" => Value::Text(self.name.clone()),
            "refusals" => sum(|event| event.refusals),
            "failures" => sum(|event| event.failures),
            "differences" => sum(|event| event.differences),
            _ => Value::Number(self.position as u64),
        };
        SortKey { value, name: self.name.clone() }
    }
}

pub(super) async fn list(engine: Data<Engine>, request: HttpRequest) -> Result<HttpResponse, AdminError> {
    let query = Query::from_request(&request, PARAMETERS)?;
    let (listing, hub) = (Listing::parse(&query, COLUMNS)?, query.hub(&engine)?);
    let runs_on_hub = |row: &FilterRow| hub.is_none() || row.hub.is_none() || row.hub == hub;
    let filters = engine.filters();
    let rows = filters.iter().enumerate().map(|(position, filter)| FilterRow::new(position, filter));
    Ok(HttpResponse::Ok().json(listing.page(rows.filter(runs_on_hub).collect(), FilterRow::sort_key)))
}

pub(super) async fn set_mode(
    engine: Data<Engine>,
    name: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, AdminError> {
    let query = Query::from_request(&request, &["mode"])?;
    let mode = FilterMode::ALL.into_iter().find(|mode| query.text("mode") == Some(mode.name()));
    let names = FilterMode::ALL.map(FilterMode::name).join(", ");
    let mode = mode.ok_or_else(|| AdminError::invalid_parameter("mode", format!("must be one of: {names}")))?;
    let filter = engine.filter(&name).ok_or_else(|| AdminError::NotFound(format!("no filter is named `{name}`")))?;
    let previous = filter.acting_as(&operator(&request)).set_mode(mode);
    Ok(HttpResponse::Ok().json(json!({ "mode": mode.name(), "previous": previous.name() })))
}
