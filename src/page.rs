//! The page at `/`: a chat page for trying the server in a browser.
//!
//! Serves three files that are compiled into the program. The page is an ordinary client: it expects the hub `chat` at
//! `/chat`, and for classic clients at `/signalr`. It must not load anything from another origin, and its content
//! security policy enforces that.

use actix_web::{
    HttpResponse, guard,
    http::header,
    web::{self, ServiceConfig},
};

/// The content security policy: only the page's own files, and connections to its own origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the page and its files. Mount them with `App::configure(hubcast::page::routes)`.
pub fn routes(config: &mut ServiceConfig) {
    for (path, kind, text) in [
        ("/", "text/html; charset=utf-8", include_str!("page.html")),
        ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
        ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ] {
        let get_or_head = guard::Any(guard::Get()).or(guard::Head());
        config.route(path, web::route().guard(get_or_head).to(move || async move { file(kind, text) }));
    }
}

fn file(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // Browsers must revalidate, so that they load the new page after an upgrade.
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
    async fn files_are_served_with_security_headers() {
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
    fn page_complies_with_its_policy() {
        let html = include_str!("page.html");
        for forbidden in ["<script>", "<style", " style=", " onclick=", "http://", "https://", "//cdn"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert!(!include_str!("page.js").contains("eval("));
        assert!(!include_str!("page.css").contains("url("));
    }

    #[test]
    fn page_has_elements_that_script_uses() {
        let html = include_str!("page.html");
        let found = include_str!("page.js").split("byId(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let ids: std::collections::BTreeSet<_> = found.collect();
        for id in &ids {
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(ids.len() > 10, "element ids are found in the script: {ids:?}");
    }
}
