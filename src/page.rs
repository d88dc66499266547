//! The page at `/`: a chat to try the server with, from any browser and without installing anything.
//!
//! Role: hands out three files that are part of the program. Life: as long as the listener. Neighbours: whoever mounts
//! it serves the hub `chat` at `/chat`, and to classic clients at `/signalr`.
//! Never: it takes no part in what the page does: that is a client like any other. Nothing on it comes from elsewhere,
//! and its policy lets a browser load nothing else.

use actix_web::{
    HttpResponse, guard,
    http::header,
    web::{self, ServiceConfig},
};

/// Nothing but the page's own files and connections to where it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and what belongs to it, to be mounted with `App::configure(hubcast::page::routes)`.
pub fn routes(config: &mut ServiceConfig) {
    for (path, kind, text) in [
        ("/", "text/html; charset=utf-8", include_str!("page.html")),
        ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
        ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ] {
        let reads = guard::Any(guard::Get()).or(guard::Head());
        config.route(path, web::route().guard(reads).to(move || async move { file(kind, text) }));
    }
}

fn file(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // A browser asks again after an upgrade.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App,
        http::{Method, StatusCode},
        test::{TestRequest, call_service, init_service},
    };

    use super::*;

    #[actix_web::test]
    async fn every_file_or_its_head_alone_is_served_under_a_policy_that_lets_nothing_else_in() {
        let app = init_service(App::new().configure(routes)).await;
        for (path, kind) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
            for method in [Method::GET, Method::HEAD] {
                let request = TestRequest::default().method(method).uri(path).to_request();
                let response = call_service(&app, request).await;
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                let header = |name: &str| response.headers().get(name).expect("a header").to_str().expect("text");
                assert!(header("content-type").starts_with(kind), "{path}");
                let policy = header("content-security-policy");
                assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}");
                assert_eq!(header("x-content-type-options"), "nosniff");
            }
        }
    }

    #[test]
    fn the_page_needs_nothing_that_its_policy_refuses() {
        let html = include_str!("page.html");
        for refused in ["<script>", "<style", " style=", " onclick=", "http://", "https://", "//cdn"] {
            assert!(!html.contains(refused), "{refused}");
        }
        assert!(!include_str!("page.js").contains("eval("));
        assert!(!include_str!("page.css").contains("url("));
    }

    #[test]
    fn the_page_has_every_element_that_its_script_looks_for() {
        let html = include_str!("page.html");
        let named = include_str!("page.js").split("at(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let ids: std::collections::BTreeSet<_> = named.collect();
        for id in &ids {
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(ids.len() > 10, "the script is read as it is written: {ids:?}");
    }
}
