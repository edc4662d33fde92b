//! The chains of filters that are compared: what an operator would write. It must not know what is sent through them.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use crate::cases::Outcome;

/// A chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Chain {
    /// No filter but the router: what all others have in common.
    Bare,
    /// Tollgate as it is shipped.
    Tollgate,
    /// Tollgate that remembers hardly any token: each one is new.
    TollgateCold,
    /// Tollgate that remembers few tokens, so that the share of known ones can be chosen.
    TollgateFew,
    /// Tollgate without Envoy's native verifier, and without memory: signatures are checked inside the VM.
    TollgateVm,
    /// A module that only makes the calls to the host that the outcome needs.
    Floor(Outcome),
    /// `jwt_authn` with its cache, claims to headers, `rbac` by role, `local_ratelimit` by user.
    Jwt,
    /// The same without the cache.
    JwtCold,
    /// `api_key_auth`, `rbac`, `local_ratelimit` by user, `header_mutation` for what it cannot tell.
    ApiKey,
    /// `ext_authz` over HTTP.
    AuthzHttp,
    /// `ext_authz` over gRPC.
    AuthzGrpc,
}

/// What chains are made of.
pub(crate) struct Parts {
    /// The edge secret.
    pub(crate) secret: String,
    /// The key set of the issuer, as JSON.
    pub(crate) key_set: String,
    /// The issuer, claim `iss`.
    pub(crate) issuer: String,
    /// The filter.
    pub(crate) wasm: String,
    /// API keys, and who they belong to.
    pub(crate) keys: Vec<(String, String)>,
    /// How many headers Tollgate sets for a known API key, and for a known token: the others set as many.
    pub(crate) key_headers: usize,
    pub(crate) token_headers: usize,
    /// Modules that make calls to the host only.
    pub(crate) floors: BTreeMap<Outcome, PathBuf>,
}

/// Most tokens that [`Chain::TollgateFew`] remembers.
pub(crate) const FEW: usize = 500;

impl Chain {
    /// What tables call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "no filter",
            Self::Tollgate => "Tollgate",
            Self::TollgateCold => "Tollgate, token never seen",
            Self::TollgateFew => "Tollgate, few tokens remembered",
            Self::Floor(_) => "host calls only",
            Self::TollgateVm => "Tollgate, RS256 inside the VM",
            Self::Jwt => "jwt_authn (cache) + claims to headers + rbac + local_ratelimit",
            Self::JwtCold => "jwt_authn + claims to headers + rbac + local_ratelimit",
            Self::ApiKey => "api_key_auth + rbac + local_ratelimit + header_mutation",
            Self::AuthzHttp => "ext_authz, HTTP",
            Self::AuthzGrpc => "ext_authz, gRPC",
        }
    }

    /// Its filters, as Envoy reads them (JSON is YAML).
    pub(crate) fn filters(self, parts: &Parts) -> Vec<Value> {
        match self {
            Self::Bare => Vec::new(),
            Self::Tollgate => vec![tollgate(parts, json!({}))],
            Self::TollgateCold => vec![tollgate(parts, json!({"cache": {"tokens": 1}}))],
            Self::TollgateFew => vec![tollgate(parts, json!({"cache": {"tokens": FEW}}))],
            Self::Floor(outcome) => {
                let module = parts.floors[&outcome].display().to_string();
                vec![wasm("floor", &module, json!({}))]
            }
            Self::TollgateVm => vec![tollgate(parts, json!({"cache": {"tokens": 1}, "native_crypto": false}))],
            Self::Jwt => vec![jwt(parts, true), rbac(&role()), limit()],
            Self::JwtCold => vec![jwt(parts, false), rbac(&role()), limit()],
            Self::ApiKey => vec![api_key(parts), rbac(&owner()), limit(), headers(parts.key_headers - 1)],
            Self::AuthzHttp => {
                let server = json!({"server_uri": {"uri": "http://authz", "cluster": "authz", "timeout": "1s"}});
                vec![authz(&json!({"http_service": server}))]
            }
            Self::AuthzGrpc => {
                let service = json!({"envoy_grpc": {"cluster_name": "authz_grpc"}, "timeout": "1s"});
                vec![authz(&json!({"grpc_service": service, "transport_api_version": "V3"}))]
            }
        }
    }
}

fn filter(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.http.{kind}"));
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": config})
}

fn tollgate(parts: &Parts, more: Value) -> Value {
    let mut settings = json!({
        "realm": "bench",
        "control_plane": {"cluster": "control_plane", "edge_secret": parts.secret},
    });
    if let (Value::Object(settings), Value::Object(more)) = (&mut settings, more) {
        settings.extend(more);
    }
    wasm("tollgate", &parts.wasm, settings)
}

fn wasm(name: &str, module: &str, settings: Value) -> Value {
    let vm = json!({
        "vm_id": "bench", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}},
    });
    let configuration = json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": settings});
    let config = json!({"name": name, "root_id": name, "vm_config": vm, "configuration": configuration});
    filter("wasm", "wasm.v3.Wasm", json!({ "config": config }))
}

/// As many claims to headers as Tollgate sets, and the payload for `rbac`.
fn jwt(parts: &Parts, cache: bool) -> Value {
    let claims = ["sub", "email", "name", "sid", "azp", "role", "sts", "iss", "exp", "iat", "jti", "nbf"];
    assert!(parts.token_headers <= claims.len(), "{} headers need as many claims", parts.token_headers);
    let headers: Vec<Value> = claims
        .iter()
        .take(parts.token_headers)
        .map(|claim| match *claim {
            "sub" => json!({"header_name": "x-auth-user-id", "claim_name": claim}),
            _ => json!({"header_name": format!("x-auth-{claim}"), "claim_name": claim}),
        })
        .collect();
    let mut provider = json!({
        "issuer": parts.issuer,
        "local_jwks": {"inline_string": parts.key_set},
        "claim_to_headers": headers,
        "payload_in_metadata": "claims",
    });
    if cache {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 20_000, "jwt_max_token_size": 8_192});
    }
    let rules = json!([{"match": {"prefix": "/"}, "requires": {"provider_name": "clerk"}}]);
    filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", json!({"providers": {"clerk": provider}, "rules": rules}))
}

fn api_key(parts: &Parts) -> Value {
    let keys: Vec<Value> = parts.keys.iter().map(|(key, client)| json!({"key": key, "client": client})).collect();
    let config = json!({
        "credentials": keys,
        "key_sources": [{"header": "x-api-key"}],
        "forwarding": {"header": "x-auth-user-id", "hide_credentials": true},
    });
    filter("api_key_auth", "api_key_auth.v3.ApiKeyAuth", config)
}

/// `api_key_auth` knows one thing of a client. So many others are told by constants, which costs least.
fn headers(number: usize) -> Value {
    let set = |number: usize| {
        let header = json!({"key": format!("x-auth-fact-{number}"), "value": "of a client's usual length"});
        json!({"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}})
    };
    let all: Vec<Value> = (0..number).map(set).collect();
    let config = json!({"mutations": {"request_mutations": all}});
    filter("header_mutation", "header_mutation.v3.HeaderMutation", config)
}

fn role() -> Value {
    let path = json!([{"key": "claims"}, {"key": "role"}]);
    let value = json!({"string_match": {"exact": "user"}});
    json!({"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": value}})
}

/// `api_key_auth` knows no role: whose key it is has to do.
fn owner() -> Value {
    json!({"header": {"name": "x-auth-user-id", "string_match": {"prefix": "usr_"}}})
}

fn rbac(principal: &Value) -> Value {
    let policy = json!({"permissions": [{"any": true}], "principals": [principal]});
    filter("rbac", "rbac.v3.RBAC", json!({"rules": {"action": "ALLOW", "policies": {"users": policy}}}))
}

/// A bucket for each user, larger than what is sent.
fn limit() -> Value {
    let bucket = json!({"max_tokens": 100_000_000, "tokens_per_fill": 100_000_000, "fill_interval": "60s"});
    let all = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    let action = json!({"request_headers": {"header_name": "x-auth-user-id", "descriptor_key": "user"}});
    let config = json!({
        "stat_prefix": "limit",
        "token_bucket": bucket,
        "filter_enabled": all,
        "filter_enforced": all,
        "rate_limits": [{"actions": [action]}],
        "descriptors": [{"entries": [{"key": "user"}], "token_bucket": bucket}],
        "max_dynamic_descriptors": 20_000,
    });
    filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", config)
}

fn authz(config: &Value) -> Value {
    filter("ext_authz", "ext_authz.v3.ExtAuthz", config.clone())
}
