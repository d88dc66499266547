//! The page at `/`: a chat page for trying the server in a browser.
//!
//! Serves files that are compiled into the program. The page is an ordinary client: it expects the hub `chat` at
//! `/chat`, and for classic clients at `/signalr`. It must not load anything from another origin, and its content
//! security policy enforces that. `hubcast-rejoin.js` is the module that applications use too.

use std::{collections::BTreeSet, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, guard,
    http::header,
    web::{self, ServiceConfig},
};

use crate::{Engine, web::BasePath};

/// The content security policy: only the page's own files, and connections to its own origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'self'; form-action 'none'; frame-ancestors 'none'";

/// The files beside the page: their names, types and contents.
const FILES: [(&str, &str, &str); 4] = [
    ("page.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("page-clients.js", "text/javascript; charset=utf-8", include_str!("page/clients.js")),
    ("hubcast-rejoin.js", "text/javascript; charset=utf-8", include_str!("../clients/js/hubcast-rejoin.js")),
];

/// The routes of the page and its files, with and without the engine's path prefix. Mount them with
/// `App::configure(hubcast::page::routes(&engine))`.
pub fn routes(engine: &Engine) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let base_path = engine.base_path().clone();
    let html: Arc<str> = html(engine).into();
    move |config| {
        for prefix in BTreeSet::from(["", base_path.as_str()]) {
            mount(config, prefix, &base_path, &html);
        }
    }
}

fn mount(config: &mut ServiceConfig, prefix: &str, base_path: &BasePath, html: &Arc<str>) {
    let get = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    for path in BTreeSet::from([format!("{prefix}/"), prefix.to_owned()]) {
        let (base_path, html) = (base_path.clone(), Arc::clone(html));
        let page = move |request: HttpRequest| {
            let page = page(&html, &base_path, &request);
            async move { page }
        };
        config.route(&path, get().to(page));
    }
    for (name, kind, text) in FILES {
        config.route(&format!("{prefix}/{name}"), get().to(move || async move { file(kind, text.to_owned()) }));
    }
}

const PAGE: &str = include_str!("page/index.html");

/// The page with the message limits of the engine, so that it can keep a message that the server would refuse.
fn html(engine: &Engine) -> String {
    let (aspnetcore, classic) = engine.message_limits();
    let aspnetcore = aspnetcore.map(|limit| format!(" data-max-aspnetcore-message=\"{limit}\"")).unwrap_or_default();
    PAGE.replacen("<html ", &format!("<html{aspnetcore} data-max-classic-message=\"{classic}\" "), 1)
}

/// The page refers to its files and endpoints by relative URLs. They are correct unless the client has requested the
/// page by another path than the server has received, or without the slash at the end.
fn page(html: &str, base_path: &BasePath, request: &HttpRequest) -> HttpResponse {
    let public = base_path.public_path(request, request.path());
    let html = match public == request.path() && public.ends_with('/') {
        true => html.to_owned(),
        false => {
            let base = format!("<head>\n  <base href=\"{}/\">", public.trim_end_matches('/'));
            html.replacen("<head>", &base, 1)
        }
    };
    file("text/html; charset=utf-8", html)
}

fn file(kind: &'static str, text: String) -> HttpResponse {
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
        test::{TestRequest, call_and_read_body, call_service, init_service},
    };

    use super::*;
    use crate::{Hub, aspnetcore, web::TrustedProxies};

    fn engine(base_path: &str) -> Engine {
        let engine = Engine::builder().hub("/chat", Hub::new("chat")).base_path(base_path);
        engine.build().unwrap()
    }

    #[actix_web::test]
    async fn files_are_served_with_security_headers() {
        let app = init_service(App::new().configure(routes(&engine("")))).await;
        for (path, kind) in [
            ("/", "text/html"),
            ("/page.css", "text/css"),
            ("/page.js", "text/javascript"),
            ("/page-clients.js", "text/javascript"),
            ("/hubcast-rejoin.js", "text/javascript"),
        ] {
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
        let app =
            App::new().configure(routes(&engine("/app"))).wrap(TrustedProxies::new(["10.0.0.1".parse().unwrap()]));
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
        let app = init_service(App::new().configure(routes(&engine("")))).await;
        let html =
            String::from_utf8(call_and_read_body(&app, TestRequest::default().to_request()).await.to_vec()).unwrap();
        assert!(!html.contains("<base"), "a proxy of which the server does not know may have removed a prefix");
    }

    #[actix_web::test]
    async fn page_states_message_limits() {
        let limits = aspnetcore::Settings { max_message: Some(100), ..Default::default() };
        let limited = Engine::builder().hub("/chat", Hub::new("chat")).aspnetcore_settings(limits).build().unwrap();
        let start = "<html data-max-aspnetcore-message=\"100\" data-max-classic-message=\"65536\" lang=\"en\">";
        assert!(html(&limited).contains(start));
        let limits = aspnetcore::Settings { max_message: None, ..Default::default() };
        let unlimited = Engine::builder().hub("/chat", Hub::new("chat")).aspnetcore_settings(limits).build().unwrap();
        assert!(html(&unlimited).contains("<html data-max-classic-message=\"65536\" lang=\"en\">"));
    }

    #[test]
    fn page_complies_with_its_policy() {
        for forbidden in ["<script>", "<style", " style=", " onclick=", "http://", "https://", "//cdn"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        for (name, kind, text) in FILES {
            let forbidden = if kind.starts_with("text/css") { "url(" } else { "eval(" };
            assert!(!text.contains(forbidden), "{name}");
        }
    }

    #[test]
    fn page_has_elements_that_script_uses() {
        let found = include_str!("page/page.js").split("byId(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let ids: BTreeSet<_> = found.collect();
        for id in &ids {
            assert!(PAGE.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(ids.len() > 10, "element ids are found in the script: {ids:?}");
    }
}
