//! Tokens of service accounts, as an API server signs them.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

// Made for these tests, and used nowhere else.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzdbv+uXH/PIX+mc0\n\
    zOPnjjKILVUvzGOVMo3tSahCLIOhRANCAARxnoLF8ElCsX7Mk4BKF4IQNOOeR1e8\n\
    MUz+AR8oO80upvcTkjq0uLBBWS22QcH1mMIS9yoSFfTApeOjC3ewRd2L\n\
    -----END PRIVATE KEY-----";
const AUDIENCE: &str = "test-analysis-base.test.aisaas.dev";
/// The gateway's account.
pub const GATEWAY: &str = "system:serviceaccount:test:gateway";

fn key() -> EncodingKey {
    EncodingKey::from_ec_pem(KEY.as_bytes()).expect("key")
}

/// The section `trust` of a configuration: the gateway may call, and so may
/// AnalysisJobs, if they are to.
pub fn trust(analysis_jobs: bool) -> Value {
    let mut jwk = Jwk::from_encoding_key(&key(), Algorithm::ES256).expect("public key");
    jwk.common.key_id = Some("one".to_owned());
    json!({
        "issuer": "cluster",
        "audience": AUDIENCE,
        "keys": {"keys": [jwk]},
        "callers": {GATEWAY: "monolith"},
        "analysisJobs": analysis_jobs,
    })
}

/// A token of an account for the service.
pub fn token(subject: &str) -> String {
    let now = get_current_timestamp();
    let claims =
        json!({"iss": "cluster", "aud": [AUDIENCE], "sub": subject, "exp": now + 600, "nbf": now - 1});
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) };
    encode(&header, &claims, &key()).expect("token")
}
