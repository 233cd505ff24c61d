//! What of a message's head is for the next one only, and what is said anew.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// Who a request is made for: the id of the API key.
pub const PRINCIPAL: HeaderName = HeaderName::from_static("aisaas-principal");
/// Where clients may put the key instead.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Headers that begin with this are of the platform, never of a client.
const OF_THE_PLATFORM: &str = "aisaas-";
/// How the gateway calls itself to services.
const VIA: &str = "1.1 ai-saas-platform";

/// The protocol that a client wants to change to (RFC 9110, section 7.8).
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_wanted = connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| is_wanted).cloned()
}

/// Removes what is between two neighbours only (RFC 9110, section 7.6.1).
/// `Trailer` is not: trailers are passed on, and this says which will come.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .filter(|name| *name != header::TRAILER)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|option| !option.is_empty())
}

/// Makes the head that a client sent the one that a service gets.
pub fn prepare(headers: &mut HeaderMap, uri: &Uri, peer: Option<SocketAddr>) {
    let takes_trailers = headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    // The key stays here, and so does what only the gateway may say.
    for name in [header::AUTHORIZATION, API_KEY, HeaderName::from_static("x-real-ip")] {
        headers.remove(name);
    }
    let of_the_platform: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(OF_THE_PLATFORM)).cloned().collect();
    for name in of_the_platform {
        headers.remove(name);
    }
    // Answered here, when the body is asked for.
    headers.remove(header::EXPECT);
    join_cookies(headers);
    forwarded(headers, uri, peer);
    headers.append(header::VIA, HeaderValue::from_static(VIA));
}

/// HTTP/2 may send each cookie by itself, HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Whom the request comes from, and what it was sent to: RFC 7239, and what
/// was in use before. What clients say themselves is not believed.
fn forwarded(headers: &mut HeaderMap, uri: &Uri, peer: Option<SocketAddr>) {
    let host = headers.remove(header::HOST).or_else(|| HeaderValue::from_str(uri.authority()?.as_str()).ok());
    let host_text =
        host.as_ref().and_then(|host| host.to_str().ok()).filter(|host| !host.contains(['"', '\\']));
    let mut elements = Vec::new();
    if let Some(peer) = peer {
        elements.push(match peer.ip().to_canonical() {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        });
    }
    if let Some(host) = host_text {
        elements.push(format!("host=\"{host}\""));
    }
    elements.push("proto=http".to_owned());
    let address = peer.map(|peer| peer.ip().to_canonical().to_string());
    set(headers, header::FORWARDED, HeaderValue::try_from(elements.join(";")).ok());
    let address = address.and_then(|address| HeaderValue::try_from(address).ok());
    set(headers, HeaderName::from_static("x-forwarded-for"), address);
    set(headers, HeaderName::from_static("x-forwarded-host"), host);
    let proto = HeaderValue::from_static("http");
    set(headers, HeaderName::from_static("x-forwarded-proto"), Some(proto));
    headers.remove("x-forwarded-port");
    headers.remove("x-forwarded-prefix");
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

/// Whether a service that resolves `.` and `..` would see another path than
/// the one that was looked up in the table of scopes.
pub fn has_dot_segments(path: &str) -> bool {
    let plain = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    plain.split(['/', '\\']).any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_between_neighbours_stays_there() {
        let mut headers = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("connection", "trailer"),
            ("keep-alive", "timeout=5"),
            ("x-mine", "1"),
            ("te", "gzip"),
            ("trailer", "digest"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("content-type", "text/csv"),
        ]);
        remove_hop_by_hop(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "trailer"]);
    }

    #[test]
    fn a_client_cannot_speak_for_the_gateway() {
        let mut headers = headers(&[
            ("host", "api.example.com"),
            ("authorization", "Bearer aisaas_x"),
            ("x-api-key", "aisaas_x"),
            ("aisaas-principal", "admin"),
            ("forwarded", "for=10.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("te", "trailers, deflate"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ]);
        prepare(&mut headers, &Uri::from_static("/v1/x"), Some("192.0.2.7:4711".parse().unwrap()));
        for gone in ["host", "authorization", "x-api-key", "aisaas-principal"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers["forwarded"], "for=192.0.2.7;host=\"api.example.com\";proto=http");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "api.example.com");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(headers["via"], VIA);
    }

    #[test]
    fn an_upgrade_is_wanted_by_both_headers() {
        let wanted = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&wanted).unwrap(), "websocket");
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade(&headers(&[("connection", "upgrade")])), None);
    }

    #[test]
    fn a_path_means_what_it_says() {
        for path in ["/v1/../v2", "/v1/%2E%2e/v2", "/v1/.%2e", "/v1/./x", "/v1/a%2F..", "/v1\\..\\x"] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in ["/v1/datasets/a.b", "/v1/...", "/v1/a%20b", "/v1/a%2Fb"] {
            assert!(!has_dot_segments(path), "{path}");
        }
    }
}
