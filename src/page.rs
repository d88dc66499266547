//! The page at `/`: a chat page for trying the server in a browser.
//!
//! Serves three files that are compiled into the program. The page is an ordinary client: it expects the hub `chat` at
//! `/chat`, and for classic clients at `/signalr`. It must not load anything from another origin, and its content
//! security policy enforces that.

use std::{borrow::Cow, collections::BTreeSet};

use actix_web::{
    HttpRequest, HttpResponse, guard,
    http::header,
    web::{self, ServiceConfig},
};

use crate::web::BasePath;

/// The content security policy: only the page's own files, and connections to its own origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'self'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the page and its files, without a path prefix. Mount them with
/// `App::configure(hubcast::page::routes)`.
pub fn routes(config: &mut ServiceConfig) {
    routes_with_base_path(&BasePath::default())(config);
}

/// Like [`routes`], with and without a path prefix: see [`EngineBuilder::base_path`](crate::EngineBuilder::base_path).
pub fn routes_with_base_path(base_path: &BasePath) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let base_path = base_path.clone();
    move |config| {
        for prefix in BTreeSet::from(["", base_path.as_str()]) {
            mount(config, prefix, &base_path);
        }
    }
}

fn mount(config: &mut ServiceConfig, prefix: &str, base_path: &BasePath) {
    let get = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    for path in BTreeSet::from([format!("{prefix}/"), prefix.to_owned()]) {
        let base_path = base_path.clone();
        let page = move |request: HttpRequest| {
            let page = page(&base_path, &request);
            async move { page }
        };
        config.route(&path, get().to(page));
    }
    for (path, kind, text) in [
        ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
        ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ] {
        config.route(&format!("{prefix}{path}"), get().to(move || async move { file(kind, text) }));
    }
}

const PAGE: &str = include_str!("page.html");

/// The page refers to its files and endpoints by relative URLs. They are correct unless the client has requested the
/// page by another path than the server has received, or without the slash at the end.
fn page(base_path: &BasePath, request: &HttpRequest) -> HttpResponse {
    let public = base_path.public_path(request, request.path());
    let html: Cow<'static, str> = match public == request.path() && public.ends_with('/') {
        true => PAGE.into(),
        false => {
            let base = format!("<head>\n  <base href=\"{}/\">", public.trim_end_matches('/'));
            PAGE.replacen("<head>", &base, 1).into()
        }
    };
    file("text/html; charset=utf-8", html)
}

fn file(kind: &'static str, text: impl Into<Cow<'static, str>>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // Browsers must revalidate, so that they load the new page after an upgrade.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text.into())
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App,
        http::{Method, StatusCode},
        test::{TestRequest, call_and_read_body, call_service, init_service},
    };

    use super::*;
    use crate::web::TrustedProxies;

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

    #[actix_web::test]
    async fn page_names_its_public_path_where_links_need_it() {
        let base_path = "/app".parse().unwrap();
        let app = App::new()
            .configure(routes_with_base_path(&base_path))
            .wrap(TrustedProxies::new(["10.0.0.1".parse().unwrap()]));
        let app = init_service(app).await;
        for (path, prefix, base) in [
            ("/", "", Some("/app/")),
            ("/app", "", Some("/app/")),
            ("/app/", "", None),
            ("/", "/team", Some("/team/")),
            ("/app/", "/team", Some("/team/app/")),
        ] {
            let request = TestRequest::with_uri(path).insert_header(("X-Forwarded-Prefix", prefix));
            let request = request.peer_addr("10.0.0.1:1".parse().unwrap()).to_request();
            let html = String::from_utf8(call_and_read_body(&app, request).await.to_vec()).unwrap();
            let found = html.split("<base href=\"").nth(1).and_then(|rest| rest.split('"').next());
            assert_eq!(found, base, "{path} {prefix}");
        }
        for path in ["/page.css", "/app/page.css"] {
            assert_eq!(call_service(&app, TestRequest::with_uri(path).to_request()).await.status(), StatusCode::OK);
        }
        let app = init_service(App::new().configure(routes)).await;
        let html = call_and_read_body(&app, TestRequest::default().to_request()).await;
        assert_eq!(html, PAGE, "a proxy of which the server does not know may have removed a prefix");
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
