//! The errors of the admin API.

use std::fmt::Display;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};

use crate::client_log::{self, Cause};

use crate::{GroupError, InvalidName, hub::UsersError};

/// The variants correspond to response statuses.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    /// 401: the request has no bearer token.
    #[error("the admin token is required: `Authorization: Bearer …`")]
    TokenMissing,
    /// 401: the request has another token.
    #[error("the admin token is wrong")]
    TokenWrong,
    /// 400: a query parameter is invalid.
    #[error("`{name}` {reason}")]
    InvalidParameter { name: String, reason: String },
    /// 400: the request asks for something that is not allowed, in a parameter or in the body.
    #[error("{0}")]
    InvalidRequest(String),
    /// 404: the object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// 503: the request can be retried later.
    #[error("{0}")]
    Unavailable(String),
}

impl AdminError {
    pub(super) fn invalid_parameter(name: &str, reason: impl Into<String>) -> Self {
        Self::InvalidParameter { name: name.to_owned(), reason: reason.into() }
    }

    /// The response does not contain `error`, which may name hosts. It is logged instead.
    pub(super) fn store(error: &impl Display) -> Self {
        client_log::log(Cause::AdminStoreError, &[("error", error)]);
        Self::Unavailable("the store is unavailable; try again later".into())
    }

    pub(super) fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self, Self::TokenMissing | Self::TokenWrong) {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"hubcast admin\""));
        }
        response.json(serde_json::json!({ "error": self.to_string() }))
    }
}

impl From<UsersError> for AdminError {
    fn from(error: UsersError) -> Self {
        match error {
            UsersError::Store(error) | UsersError::NotRevoked { error, .. } => Self::store(&error),
            UsersError::Group(error) => error.into(),
            UsersError::InvalidName(error) => error.into(),
            UsersError::TooManyChanges(error) => Self::InvalidRequest(error.to_string()),
        }
    }
}

impl From<GroupError> for AdminError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Interrupted => Self::Unavailable(error.to_string()),
            GroupError::InvalidName(error) => error.into(),
        }
    }
}

impl From<InvalidName> for AdminError {
    fn from(error: InvalidName) -> Self {
        Self::invalid_parameter(error.kind(), error.to_string())
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::InvalidParameter { .. } | Self::InvalidRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}
