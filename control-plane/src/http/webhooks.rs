//! Webhooks over HTTP: three headers and the raw body. It must not know what an event means.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::HeaderMap,
};
use utoipa::openapi::{Object, Type};

use super::{
    Shared,
    answer::Nothing,
    error::{ApiCode, Refusal},
    observe::RequestId,
    openapi::{Draft, Input},
    params::Id,
};
use crate::{
    clerk::svix::{Headers, SignatureFault},
    domain::Actor,
    service::{ServiceError, webhooks::WebhookFault},
};

/// Largest body.
const MAX_BODY: usize = 256 * 1024;
/// The headers of a delivery, after the name of the family.
const NAMES: [&str; 3] = ["id", "timestamp", "signature"];

/// A request as it came: the signature is over the bytes of its body.
#[derive(Debug)]
pub(super) struct Delivery(Request);

impl FromRequest<Shared> for Delivery {
    type Rejection = core::convert::Infallible;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Self::Rejection> {
        Ok(Self(request))
    }
}

impl Input for Delivery {
    fn describe(draft: &mut Draft) {
        for name in NAMES {
            let meaning = "As Svix signs deliveries. All three are needed, once each; `webhook-…` does as well.";
            draft.header(&format!("svix-{name}"), false, meaning, Object::with_type(Type::String).into());
        }
        draft.codes(&[ApiCode::BodyTooLarge]);
    }
}

/// `POST /webhooks/clerk`: the first instance.
pub(super) async fn clerk(shared: Shared, delivery: Delivery) -> Result<Nothing, Refusal> {
    take(&shared, "", delivery).await
}

/// `POST /webhooks/clerk/{id}`: one of the others, by its name.
pub(super) async fn clerk_instance(shared: Shared, (Id(name), delivery): (Id, Delivery)) -> Result<Nothing, Refusal> {
    take(&shared, &name, delivery).await
}

async fn take(shared: &Shared, name: &str, Delivery(request): Delivery) -> Result<Nothing, Refusal> {
    let sender = shared.webhooks.sender(name).ok_or(Refusal::new(ApiCode::NotFound))?;
    let (parts, body) = request.into_parts();
    let refuse = |fault: SignatureFault| {
        shared.metrics.webhooks.with_label_values(&["none", fault.as_str()]).inc();
        refusal(fault.into())
    };
    let headers = headers(&parts.headers).ok_or(SignatureFault::Headers).map_err(refuse)?;
    // Before the body is read: most of what Clerk has not sent ends here.
    headers.check_time(shared.app.clock.now()).map_err(refuse)?;
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| Refusal::new(ApiCode::BodyTooLarge))?;
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.as_str());
    let app = shared.app.acting(Actor::Clerk, request_id);
    sender.take(&app, &shared.metrics, headers, &body).await.map_err(|fault| {
        if let WebhookFault::Service(ServiceError::Store(error)) = &fault {
            shared.metrics.count_store_error(error);
        }
        refusal(fault)
    })?;
    Ok(Nothing)
}

fn refusal(fault: WebhookFault) -> Refusal {
    match fault {
        WebhookFault::Signature(_) | WebhookFault::NoEvent(_) => {
            tracing::warn!(%fault, "webhook refused");
            Refusal::new(ApiCode::WebhookRefused)
        }
        WebhookFault::Service(error) => error.into(),
    }
}

/// The headers, by Svix's names or by those of Standard Webhooks: all three of one family, each of them once.
fn headers(map: &HeaderMap) -> Option<Headers<'_>> {
    let is_there = |family: &&str| NAMES.iter().any(|name| map.contains_key(format!("{family}-{name}")));
    let family = ["svix", "webhook"].into_iter().find(is_there)?;
    let one = |name: &str| {
        let mut values = map.get_all(format!("{family}-{name}")).iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() { None } else { Some(value) }
    };
    let [id, timestamp, signature] = NAMES.map(one);
    Some(Headers { id: id?, timestamp: timestamp?, signature: signature? })
}
