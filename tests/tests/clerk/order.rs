//! Deliveries that come late, twice, or in another order than things happened: the end is always the same.

use serde_json::{Value, json};
use tollgate_protocol::{Code, Revoked, edge::Outcome};

use super::{CLERK, Kind, World, claims, deleted, event, forged::over_both, identity, user};

/// Every order of so many things.
fn orders(of: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..of {
        let insert = |order: Vec<usize>| {
            (0..=order.len()).map(move |place| [&order[..place], &[next], &order[place..]].concat())
        };
        all = all.into_iter().flat_map(insert).collect();
    }
    all
}

/// The events of one person, each delivered twice, in every order.
async fn in_every_order(world: &World, person: &str, events: &[Value]) -> Vec<String> {
    let mut people = Vec::new();
    for order in orders(events.len()) {
        let name = order.iter().map(ToString::to_string).collect::<String>();
        let id = format!("user_{person}{name}");
        for place in order.iter().chain(&order) {
            let text = events[*place].to_string().replace("PERSON", &id);
            let event: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(world.deliver(&format!("msg_{person}{name}_{place}"), &event).await, 204, "{id} {place}");
        }
        people.push(id);
    }
    people
}

async fn whatever_the_order_the_newest_state_holds(kind: Kind) {
    let world = World::start(kind).await;
    let named = |mut data: Value, name: &str| {
        data["first_name"] = json!(name);
        data
    };
    let events = [
        event("user.created", &named(user("PERSON", "PERSON-a@x.test", 0), "First")),
        event("user.updated", &named(user("PERSON", "PERSON-b@x.test", 10), "Second")),
        event("user.updated", &named(user("PERSON", "PERSON-c@x.test", 20), "Third")),
    ];
    let people = in_every_order(&world, "a", &events).await;
    assert_eq!(people.len(), 6);
    for id in &people {
        let user = world.linked(CLERK, id).await.expect("made");
        let expected = format!("{}-c@x.test", id.to_lowercase());
        assert_eq!(user.email.as_ref().map(|email| email.as_str()), Some(expected.as_str()), "{id}");
        assert_eq!((user.name.as_deref(), user.email_verified, user.is_active), (Some("Third"), true, true), "{id}");
    }
    assert_eq!(world.everybody().await.len(), 6);
    world.running.shutdown().await;
}

async fn whatever_the_order_who_is_deleted_stays_so(kind: Kind) {
    let world = World::start(kind).await;
    let events = [
        event("user.created", &user("PERSON", "PERSON-a@x.test", 0)),
        event("user.updated", &user("PERSON", "PERSON-b@x.test", 10)),
        deleted("PERSON"),
    ];
    for id in in_every_order(&world, "a", &events).await {
        let held = world.linked(CLERK, &id).await;
        assert!(held.as_ref().is_none_or(|user| !user.is_active && user.email.is_none()), "{id}: {held:?}");
        // A token that was issued before: the edge refuses who is inactive, and nobody is made.
        match world.resolve(&claims(&id)).await {
            Outcome::Identity(identity) => assert!(held.is_some() && !identity.is_active, "{id}"),
            Outcome::Refused(code) => assert_eq!((held.is_none(), code), (true, Code::UserUnknown), "{id}"),
        }
        assert_eq!(world.linked(CLERK, &id).await.is_some(), held.is_some(), "{id}");
        // A sign-up after that has another id, and may have either address.
        let again = format!("{id}again");
        let event = event("user.created", &user(&again, &format!("{id}-b@x.test"), 30));
        assert_eq!(world.deliver(&format!("msg_{again}"), &event).await, 204);
        let fresh = world.linked(CLERK, &again).await.expect("made");
        assert!(fresh.is_active && held.is_none_or(|old| old.id != fresh.id), "{id}");
    }
    world.running.shutdown().await;
}

async fn a_token_before_its_event_and_an_event_before_its_token_make_one_user(kind: Kind) {
    let world = World::start(kind).await;
    let created = |id: &str| event("user.created", &user(id, &format!("{id}@x.test"), 0));
    let by_token = identity(world.resolve(&claims("user_t")).await);
    assert_eq!((by_token.email, by_token.name), (None, None), "the token says no more");
    assert_eq!(world.deliver("msg_t", &created("user_t")).await, 204);
    let known = identity(world.resolve(&claims("user_t")).await);
    assert_eq!((known.user_id, known.email.as_deref()), (by_token.user_id, Some("user_t@x.test")));
    assert_eq!(known.name.as_deref(), Some("Ada"));

    assert_eq!(world.deliver("msg_e", &created("user_e")).await, 204);
    let by_event = world.linked(CLERK, "user_e").await.expect("made");
    assert_eq!(identity(world.resolve(&claims("user_e")).await).user_id, by_event.id.as_str());
    assert_eq!(world.everybody().await.len(), 2);
    world.running.shutdown().await;
}

async fn being_banned_holds_until_it_ends(kind: Kind) {
    let world = World::start(kind).await;
    for (number, (member, value, active)) in [
        ("banned", false, true),
        ("banned", true, false),
        ("locked", true, true),
        ("deprovisioned", true, false),
        ("deprovisioned", false, true),
    ]
    .into_iter()
    .enumerate()
    {
        let seconds = i64::try_from(number).expect("small");
        let mut data = user("user_1", "ada@x.test", seconds);
        data[member] = json!(value);
        assert_eq!(world.deliver(&format!("msg_{number}"), &event("user.updated", &data)).await, 204);
        let is_active = identity(world.resolve(&claims("user_1")).await).is_active;
        assert_eq!(is_active, active, "{member} = {value}");
    }
    world.running.shutdown().await;
}

async fn sessions_that_end_are_revoked(kind: Kind) {
    let world = World::start(kind).await;
    for (number, kind) in ["session.revoked", "session.ended", "session.removed"].into_iter().enumerate() {
        let session = json!({"object": "session", "id": format!("sess_{number}"), "user_id": "user_1", "status": "x"});
        for _ in 0..2 {
            assert_eq!(world.deliver(&format!("msg_{number}"), &event(kind, &session)).await, 204);
        }
    }
    let mut revoked = world.sync().await.revocations;
    revoked.sort_by(|one, other| one.id.cmp(&other.id));
    let ids: Vec<&str> = revoked.iter().map(|revocation| revocation.id.as_str()).collect();
    assert_eq!(ids, ["sess_0", "sess_1", "sess_2"]);
    assert!(revoked.iter().all(|one| one.what == Revoked::Session && one.issuer.as_deref() == Some(CLERK)));
    world.running.shutdown().await;
}

over_both! {
    whatever_the_order_the_newest_state_holds
    whatever_the_order_who_is_deleted_stays_so
    a_token_before_its_event_and_an_event_before_its_token_make_one_user
    being_banned_holds_until_it_ends
    sessions_that_end_are_revoked
}
