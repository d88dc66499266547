//! Why a question of an operator is not answered.

use std::fmt::Display;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use log::warn;

/// By what the operator can do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    /// Show the token.
    #[error("this needs the admin token: `Authorization: Bearer …`")]
    Unauthorised,
    /// Mend a parameter of the query.
    #[error("`{name}` {fault}")]
    Parameter { name: String, fault: String },
    /// Look elsewhere.
    #[error("{0}")]
    Unknown(String),
    /// Ask again later.
    #[error("{0}")]
    Unavailable(String),
}

impl AdminError {
    pub(super) fn parameter(name: &str, fault: impl Into<String>) -> Self {
        Self::Parameter { name: name.to_owned(), fault: fault.into() }
    }

    /// Nothing is said of why: that may name hosts, and goes to the log.
    pub(super) fn store(error: &impl Display) -> Self {
        warn!(error:% = error; "the store did not answer an operator");
        Self::Unavailable("the store does not answer now, try again in a moment".into())
    }

    pub(super) fn answer(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self, Self::Unauthorised) {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"hubcast admin\""));
        }
        response.json(serde_json::json!({ "error": self.to_string() }))
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::Parameter { .. } => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        self.answer()
    }
}
