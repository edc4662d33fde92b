//! What is only watched, counted: batches once, sums of many nodes, pages, and a new beginning.

use tollgate::{
    domain::Timestamp,
    store::{AuditFilter, KEPT_SAMPLES, Watched},
};

use super::{
    Place, futures_all,
    records::{NOW, by},
};

fn count(route: &str, code: &str, count: u64, at: i64, samples: &[&str]) -> Watched {
    let (first, last) = (NOW.plus_seconds(at), NOW.plus_seconds(at + 1));
    let samples = samples.iter().map(|sample| (*sample).to_owned()).collect();
    Watched { route: route.to_owned(), code: code.to_owned(), count, first, last, samples }
}

pub(crate) async fn batches_are_counted_once_and_come_in_pages(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let first =
        [count("GET h/a/**", "role_required", 3, 10, &["a", "b"]), count("/b", "missing_credential", 1, 10, &[])];
    assert!(store.add_watched("one", 1, &first, NOW).await.expect("added"));
    assert!(!other.add_watched("one", 1, &first, NOW).await.expect("known"), "the same batch again");
    let more = [count("GET h/a/**", "role_required", 4, 5, &["c", "d", "e", "f"])];
    assert!(other.add_watched("two", 7, &more, NOW).await.expect("added"));
    assert!(!store.add_watched("two", 6, &more, NOW).await.expect("older"));
    let all = store.watched(None, 9).await.expect("read");
    let names: Vec<_> = all.iter().map(|count| (&*count.route, &*count.code, count.count)).collect();
    assert_eq!(names, [("/b", "missing_credential", 1), ("GET h/a/**", "role_required", 7)]);
    let sum = &all[1];
    assert_eq!((sum.first, sum.last), (NOW.plus_seconds(5), NOW.plus_seconds(11)));
    assert_eq!((sum.samples.len(), sum.samples.join(" ")), (KEPT_SAMPLES, "b c d e f".to_owned()));

    // Many nodes at once: nothing is lost.
    let many = (0..16_u64).map(|n| {
        let store = if n % 2 == 0 { &store } else { &other }.clone();
        let one = [count("/b", "missing_credential", 2, 20, &[]), count(&format!("/{n:02}"), "x", 1, 20, &[])];
        async move { store.add_watched(&format!("node{n}"), 1, &one, NOW).await }
    });
    for added in futures_all(many).await {
        assert!(added.expect("added"));
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.watched(after.as_ref(), 3).await.expect("read");
        let Some(last) = page.last() else { break };
        after = Some((last.route.clone(), last.code.clone()));
        seen.extend(page);
    }
    assert_eq!(seen, store.watched(None, 100).await.expect("read"));
    assert_eq!((seen.len(), seen.iter().map(|count| count.count).sum::<u64>()), (18, 1 + 32 + 7 + 16));

    assert_eq!(store.forget_watched(&by(3)).await.expect("gone"), 18);
    assert_eq!(other.watched(None, 9).await.expect("read"), []);
    assert!(!store.add_watched("one", 1, &first, NOW).await.expect("still known"));
    assert_eq!(store.prune_watched(Timestamp::from_millis(NOW.millis() + 1)).await.expect("pruned"), 18);
    let filter = AuditFilter { subject: Some("shadow".into()), actor: None };
    let entries = store.audit(&filter, None, 9).await.expect("read");
    assert_eq!(entries.len(), 1);
    assert_eq!((&*entries[0].1.action, &entries[0].1.actor), ("shadow.cleared", &by(3).actor.to_text()));
}
