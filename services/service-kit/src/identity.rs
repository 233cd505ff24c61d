//! Who calls: service-account tokens of Kubernetes, made for one callee and
//! verified by it without asking anybody.
//!
//! ```text
//!   caller: a projected token with the callee's    ──Authorization: Bearer──▶ callee: signature, issuer,
//!           audience, renewed by the kubelet and                              audience, time, subject
//!           read anew when what was read is half a minute old
//! ```
//!
//! The keys come with the configuration, which the operator keeps up to date.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use crate::problem::Problem;

/// Clocks of nodes may differ by so much, in seconds.
const LEEWAY: u64 = 30;
/// What signs service-account tokens, and nothing that a public key could be abused for.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384];

/// The service that makes a request; an extension of every request that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name, as in the table of services.
    pub service: String,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is none.
    #[error("The request has no token: send `Authorization: Bearer TOKEN`.")]
    Missing,
    /// It is no token, or nobody known has signed it.
    #[error("The token is not one that this cluster has signed.")]
    Unknown,
    /// It is over, or not yet begun.
    #[error("The token has expired, or is not valid yet.")]
    Expired,
    /// It was made for somebody else.
    #[error("The token was made for another service.")]
    WrongAudience,
    /// It is whose it says, but that one may not call.
    #[error("`{0}` may not call this service.")]
    NotAllowed(String),
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::NotAllowed(_) => Self::forbidden(error.to_string()),
            _ => Self::unauthorized(error.to_string()),
        }
    }
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// They are no set of keys (RFC 7517).
    #[error("the keys of the trusted issuer cannot be read")]
    Keys(#[source] serde_json::Error),
    /// There is none that signatures can be verified by.
    #[error("there is no key among those of the trusted issuer that can be used here")]
    NoKey,
}

/// What trust is made from.
#[derive(Clone, Copy, Debug)]
pub struct TrustSettings<'a> {
    /// Who signs: the cluster's API server.
    pub issuer: &'a str,
    /// For whom tokens have to be made: this service.
    pub audience: &'a str,
    /// The keys of the issuer, as a JSON Web Key Set (RFC 7517).
    pub keys: &'a serde_json::Value,
    /// Names of the services that may call, by the subjects of their tokens.
    pub callers: &'a BTreeMap<String, String>,
    /// Those who may call beside them.
    pub accounts: Option<NamespaceAccounts<'a>>,
}

/// Every service account of a namespace, as one caller: for pods that run under
/// an account that their author chooses.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceAccounts<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The name that all of them have as a caller, unless they have one of their
    /// own.
    pub caller: &'a str,
}

/// Who may call a service. Can be replaced while requests come in.
#[derive(Debug)]
pub struct Trust {
    current: RwLock<Arc<Trusted>>,
}

struct Trusted {
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
    callers: BTreeMap<String, String>,
    /// What the subjects of further callers begin with, and the name of those.
    accounts: Option<(String, String)>,
}

impl std::fmt::Debug for Trusted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Trusted").field("callers", &self.callers).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl Trust {
    /// Trust in these callers.
    ///
    /// # Errors
    /// If the keys cannot be used.
    pub fn new(settings: TrustSettings<'_>) -> Result<Self, TrustError> {
        Ok(Self { current: RwLock::new(Arc::new(Trusted::new(settings)?)) })
    }

    /// Trusts these from now on, and nobody else. If the keys cannot be used,
    /// nothing changes.
    ///
    /// # Errors
    /// If the keys cannot be used.
    pub fn replace(&self, settings: TrustSettings<'_>) -> Result<(), TrustError> {
        let trusted = Arc::new(Trusted::new(settings)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = trusted;
        Ok(())
    }

    /// The service that a token belongs to.
    ///
    /// # Errors
    /// If the token is not to be believed, or its service may not call.
    pub fn verify(&self, token: &str) -> Result<Caller, IdentityError> {
        let trusted = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let key = decode_header(token)
            .ok()
            .and_then(|header| header.kid)
            .and_then(|kid| trusted.keys.get(&kid))
            .ok_or(IdentityError::Unknown)?;
        // The algorithm of the token has to be one of those of its key.
        let mut validation = trusted.validation.clone();
        validation.algorithms.retain(|algorithm| key.family().algorithms().contains(algorithm));
        let token = decode::<Claims>(token, key, &validation).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => IdentityError::Expired,
            ErrorKind::InvalidAudience => IdentityError::WrongAudience,
            _ => IdentityError::Unknown,
        })?;
        let subject = token.claims.sub;
        match trusted.caller(&subject) {
            Some(service) => Ok(Caller { service: service.to_owned() }),
            None => Err(IdentityError::NotAllowed(subject)),
        }
    }
}

impl Trusted {
    fn new(settings: TrustSettings<'_>) -> Result<Self, TrustError> {
        let set: JwkSet = serde_json::from_value(settings.keys.clone()).map_err(TrustError::Keys)?;
        let keys: HashMap<String, DecodingKey> = set
            .keys
            .iter()
            .filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(key).ok()?)))
            .collect();
        if keys.is_empty() {
            return Err(TrustError::NoKey);
        }
        let mut validation = Validation {
            algorithms: ALGORITHMS.to_vec(),
            leeway: LEEWAY,
            validate_nbf: true,
            ..Validation::default()
        };
        validation.set_audience(&[settings.audience]);
        validation.set_issuer(&[settings.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let accounts = settings
            .accounts
            // Without it, the accounts of every namespace would be meant.
            .filter(|accounts| !accounts.namespace.is_empty())
            .map(|accounts| (account_prefix(accounts.namespace), accounts.caller.to_owned()));
        Ok(Self { keys, validation, callers: settings.callers.clone(), accounts })
    }

    /// The name of the caller with this subject, if it may call.
    fn caller(&self, subject: &str) -> Option<&str> {
        if let Some(service) = self.callers.get(subject) {
            return Some(service.as_str());
        }
        let (prefix, caller) = self.accounts.as_ref()?;
        let account = subject.strip_prefix(prefix.as_str())?;
        // The name of an account has no colon.
        (!account.is_empty() && !account.contains(':')).then_some(caller.as_str())
    }
}

/// What the subjects of the service accounts of a namespace begin with
/// (Kubernetes, `serviceaccount.MakeUsername`).
fn account_prefix(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:")
}

/// The token of a request.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// Lets in requests of services that may call, and tells the routes which it is.
pub(crate) async fn require(State(trust): State<Arc<Trust>>, mut request: Request, next: Next) -> Response {
    let verified =
        bearer(request.headers()).ok_or(IdentityError::Missing).and_then(|token| trust.verify(token));
    match verified {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => {
            tracing::info!(%error, path = request.uri().path(), "A request was refused.");
            Problem::from(error).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
    use serde_json::{Value, json};

    // Made for this test, and used nowhere else.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzdbv+uXH/PIX+mc0\n\
        zOPnjjKILVUvzGOVMo3tSahCLIOhRANCAARxnoLF8ElCsX7Mk4BKF4IQNOOeR1e8\n\
        MUz+AR8oO80upvcTkjq0uLBBWS22QcH1mMIS9yoSFfTApeOjC3ewRd2L\n\
        -----END PRIVATE KEY-----";
    const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQggRdOQFUZD2JJnljg\n\
        g3JF0tHW9KOJjQ0UCH4nHsXNr+ihRANCAAT84C+/tkunWuTTk00m2B5O/1x3RCj6\n\
        HBy7KTo7X6p66kzzphco3rqnnDt2qyMb9ShZ1qBoYqUxzbpF1gzIbTfw\n\
        -----END PRIVATE KEY-----";

    const SUBJECT: &str = "system:serviceaccount:demo:platform";

    fn key(pem: &str) -> EncodingKey {
        EncodingKey::from_ec_pem(pem.as_bytes()).unwrap()
    }

    fn keys(pem: &str, id: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&key(pem), Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        json!({ "keys": [jwk] })
    }

    fn callers() -> BTreeMap<String, String> {
        BTreeMap::from([(SUBJECT.to_owned(), "monolith".to_owned())])
    }

    fn settings<'a>(keys: &'a Value, callers: &'a BTreeMap<String, String>) -> TrustSettings<'a> {
        TrustSettings { issuer: "cluster", audience: "analysis", keys, callers, accounts: None }
    }

    fn trust() -> Trust {
        Trust::new(settings(&keys(KEY, "one"), &callers())).unwrap()
    }

    fn token(pem: &str, id: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = get_current_timestamp();
        let mut claims =
            json!({ "iss": "cluster", "aud": ["analysis"], "sub": SUBJECT, "exp": now + 60, "nbf": now - 1 });
        change(&mut claims);
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims, &key(pem)).unwrap()
    }

    #[test]
    fn a_caller_is_known_by_its_token() {
        assert_eq!(trust().verify(&token(KEY, "one", |_| {})).unwrap().service, "monolith");
    }

    #[test]
    fn a_token_is_not_believed_without_reason() {
        let now = get_current_timestamp();
        let refused = |token: &str| trust().verify(token).unwrap_err();
        let changed = |claim: &str, value: Value| refused(&token(KEY, "one", |claims| claims[claim] = value));
        assert_eq!(refused("nonsense"), IdentityError::Unknown);
        assert_eq!(refused(&token(KEY, "two", |_| {})), IdentityError::Unknown);
        assert_eq!(refused(&token(OTHER_KEY, "one", |_| {})), IdentityError::Unknown);
        assert_eq!(changed("iss", json!("other")), IdentityError::Unknown);
        assert_eq!(changed("aud", json!(["mail"])), IdentityError::WrongAudience);
        assert_eq!(changed("exp", json!(now - 60)), IdentityError::Expired);
        assert_eq!(changed("nbf", json!(now + 600)), IdentityError::Expired);
        let other = "system:serviceaccount:demo:other";
        assert_eq!(changed("sub", json!(other)), IdentityError::NotAllowed(other.to_owned()));
        for claim in ["iss", "aud", "exp", "sub"] {
            let without = token(KEY, "one", |claims| drop(claims.as_object_mut().unwrap().remove(claim)));
            assert_eq!(refused(&without), IdentityError::Unknown, "{claim}");
        }
    }

    #[test]
    fn every_account_of_a_namespace_is_a_caller_where_that_is_wanted() {
        let (keys, callers) = (keys(KEY, "one"), callers());
        let trusting = |namespace: &str| {
            let accounts = Some(NamespaceAccounts { namespace, caller: "analysis-job" });
            Trust::new(TrustSettings { accounts, ..settings(&keys, &callers) }).unwrap()
        };
        let caller = |trust: &Trust, subject: &str| {
            let token = token(KEY, "one", |claims| claims["sub"] = json!(subject));
            trust.verify(&token).map(|caller| caller.service)
        };
        let trust = trusting("demo");
        assert_eq!(caller(&trust, "system:serviceaccount:demo:default").unwrap(), "analysis-job");
        assert_eq!(caller(&trust, "system:serviceaccount:demo:a.b").unwrap(), "analysis-job");
        // One that has a name of its own keeps it.
        assert_eq!(caller(&trust, SUBJECT).unwrap(), "monolith");
        for other in [
            "system:serviceaccount:demo2:default",
            "system:serviceaccount:dem:default",
            "system:serviceaccount:demo:",
            "system:serviceaccount:demo:a:b",
            "system:serviceaccount:demo",
            "system:node:demo",
            "system:serviceaccount::default",
            "xsystem:serviceaccount:demo:default",
        ] {
            let refused = IdentityError::NotAllowed(other.to_owned());
            assert_eq!(caller(&trust, other).unwrap_err(), refused);
        }
        // No namespace is not every namespace.
        assert!(caller(&trusting(""), "system:serviceaccount::default").is_err());
        assert!(caller(&trusting(""), "system:serviceaccount:demo:default").is_err());
        // And what else a token has to be, it has to be.
        let stolen = token(KEY, "one", |claims| {
            claims["sub"] = json!("system:serviceaccount:demo:default");
            claims["aud"] = json!(["mail"]);
        });
        assert_eq!(trust.verify(&stolen).unwrap_err(), IdentityError::WrongAudience);
    }

    #[test]
    fn a_token_without_a_signature_or_signed_with_the_public_key_is_not_believed() {
        let signed = token(KEY, "one", |_| {});
        let claims = signed.split('.').nth(1).unwrap();
        // {"alg":"none","kid":"one"}
        let unsigned = format!("eyJhbGciOiJub25lIiwia2lkIjoib25lIn0.{claims}.");
        assert_eq!(trust().verify(&unsigned).unwrap_err(), IdentityError::Unknown);
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
        let public = keys(KEY, "one").to_string();
        let exp = get_current_timestamp() + 60;
        let claims = json!({ "iss": "cluster", "aud": ["analysis"], "sub": SUBJECT, "exp": exp });
        let forged = encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
        assert_eq!(trust().verify(&forged).unwrap_err(), IdentityError::Unknown);
    }

    #[test]
    fn keys_are_replaced_while_the_service_runs() {
        let trust = trust();
        assert!(trust.replace(settings(&json!({ "keys": [] }), &callers())).is_err());
        assert!(trust.verify(&token(KEY, "one", |_| {})).is_ok());
        trust.replace(settings(&keys(OTHER_KEY, "two"), &callers())).unwrap();
        assert!(trust.verify(&token(KEY, "one", |_| {})).is_err());
        assert!(trust.verify(&token(OTHER_KEY, "two", |_| {})).is_ok());
    }

    #[test]
    fn a_token_stands_behind_the_word_bearer() {
        let bearer_of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(bearer_of("Bearer a.b").as_deref(), Some("a.b"));
        assert_eq!(bearer_of("bearer  a").as_deref(), Some("a"));
        assert_eq!(bearer_of("Basic a"), None);
        assert_eq!(bearer_of("Bearer "), None);
    }
}
