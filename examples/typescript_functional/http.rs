//! Paths that the server answers before its endpoints:
//!
//! | path | response |
//! |---|---|
//! | any, with the method OPTIONS | 204 |
//! | below `/echoredirect` | 307 to the same path below `/echo` |
//! | below `/redirect` | a redirect of the client to `/testHub` at the server of the parameter `baseUrl`, with a number |
//! | below `/bad-negotiate` | 400 |
//!
//! The response to each path that contains `/negotiate` sets two cookies and one that has expired.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderValue, HttpDate, LOCATION, SET_COOKIE},
    },
    middleware::Next,
    web::{Data, Query},
};

/// The number of redirects of clients until now.
#[derive(Default)]
pub(super) struct RedirectCount(AtomicU64);

/// Middleware. See the module's documentation.
pub(super) async fn answer_special_paths(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (path, is_https) = (request.path().to_owned(), request.app_config().secure());
    let mut response = match special_response(&request) {
        Some(response) => request.into_response(response),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    if path.contains("/negotiate") {
        for cookie in cookies(is_https) {
            response.headers_mut().append(SET_COOKIE, HeaderValue::from_str(&cookie)?);
        }
    }
    Ok(response)
}

fn special_response(request: &ServiceRequest) -> Option<HttpResponse> {
    let path = request.path();
    let first_segment = path.split('/').nth(1).unwrap_or_default().to_lowercase();
    match &*first_segment {
        _ if request.method() == Method::OPTIONS => Some(HttpResponse::NoContent().finish()),
        "echoredirect" => {
            let query = request.query_string();
            let separator = if query.is_empty() { "" } else { "?" };
            let location = format!("{}{separator}{query}", path.replacen("redirect", "", 1));
            Some(HttpResponse::TemporaryRedirect().insert_header((LOCATION, location)).finish())
        }
        "redirect" => Some(redirect_client(request)),
        "bad-negotiate" => Some(HttpResponse::BadRequest().body("Some response from server")),
        _ => None,
    }
}

fn redirect_client(request: &ServiceRequest) -> HttpResponse {
    let query = Query::<Vec<(String, String)>>::from_query(request.query_string());
    let parameters = query.map(Query::into_inner).unwrap_or_default();
    let base = parameters.into_iter().find(|(name, _)| name == "baseUrl").map(|(_, url)| url).unwrap_or_default();
    let count =
        request.app_data::<Data<RedirectCount>>().map_or(0, |count| count.0.fetch_add(1, Ordering::Relaxed) + 1);
    HttpResponse::Ok().body(format!("{{ \"url\": \"{base}/testHub?numRedirects={count}\" }}"))
}

/// Pages of the test runner are of another site. Browsers send them only cookies that are made for that.
fn cookies(is_https: bool) -> [String; 3] {
    let rules = if is_https { "; path=/; secure; samesite=none; partitioned" } else { "; path=/" };
    let hour_ago = HttpDate::from(SystemTime::now() - Duration::from_secs(3_600));
    [
        format!("testCookie=testValue{rules}"),
        format!("testCookie2=testValue2{rules}"),
        format!("expiredCookie=doesntmatter; expires={hour_ago}{rules}"),
    ]
}
