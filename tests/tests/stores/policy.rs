//! The policy that a store keeps: it comes back whole, and of two who change it at once none undoes the other.

use tollgate::store::{AuditFilter, Conflict, KeptPolicy};

use super::{
    Place, futures_all,
    records::{by, conflict},
};

pub(crate) async fn a_policy_is_put_for_one_state_and_leaves_an_entry(place: &Place) {
    let store = place.open().await;
    assert_eq!((store.policy_version().await.expect("read"), store.policy().await.expect("read")), (0, None));
    assert_eq!(conflict(store.put_policy("a", Some(1), &by(1)).await), Conflict::Revision);
    let text = "default = \"deny\" # \u{e9}\n";
    let first = store.put_policy(text, Some(0), &by(1)).await.expect("put");
    let expected = KeptPolicy { version: 1, text: text.to_owned(), at: by(1).at, by: by(1).actor.to_text() };
    assert_eq!(first, expected);
    assert_eq!(conflict(store.put_policy("b", Some(0), &by(2)).await), Conflict::Revision);
    let long = "# long\n".repeat(100_000);
    let second = store.put_policy(&long, None, &by(2)).await.expect("put");
    let other = place.open().await;
    assert_eq!((other.policy_version().await.expect("read"), other.policy().await.expect("read")), (2, Some(second)));
    other.put_policy("", Some(2), &by(3)).await.expect("put");
    assert_eq!(store.policy().await.expect("read").map(|kept| (kept.version, kept.text)), Some((3, String::new())));

    let filter = AuditFilter { subject: Some("policy".into()), actor: None };
    let entries = store.audit(&filter, None, 9).await.expect("read");
    let shown: Vec<_> = entries.iter().map(|(_, entry)| entry).collect();
    assert!(shown.iter().all(|entry| entry.action == "policy.changed"), "{shown:?}");
    let after = |n: usize, member: &str| shown[n].after.as_ref().expect("after")[member].clone();
    assert_eq!((shown.len(), after(2, "version"), after(2, "text")), (3, 1.into(), text.into()));
    assert_eq!((&shown[2].before, after(1, "text"), after(1, "version")), (&None, ().into(), 2.into()));
    assert_eq!(shown[0].before, shown[1].after, "a long text is known by its hash");
}

pub(crate) async fn of_many_who_saw_the_same_one_wins(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    for round in 0..3 {
        let puts = (0..8).map(|n| {
            let store = if n % 2 == 0 { &store } else { &other }.clone();
            async move { store.put_policy(&format!("# {round} {n}"), Some(round), &by(1)).await }
        });
        let outcomes = futures_all(puts).await;
        let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        assert_eq!(store.policy().await.expect("read").as_ref(), Some(won[0]));
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            assert_eq!(conflict(outcome), Conflict::Revision);
        }
    }
}
