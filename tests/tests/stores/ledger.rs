//! What every store does with credits: entries, reservations, counted use, months.

use std::sync::Arc;

use tollgate::{
    domain::{
        Actor, Happening, KeyId, Stamp, Timestamp, User, UserId,
        ledger::{
            Allowances, Batch, Count, DailyUsage, Entry, EntryKind, LeaseCall, LeaseId, Posted, Posting, Purpose, Take,
            TakeOutcome, UseOutcome, Used, tally::Tally,
        },
    },
    store::{AuditFilter, Conflict, FeedPage, Store, StoreError},
};

use tollgate_tests::wait::{PATIENCE, until};

use super::{
    Place, futures_all,
    records::{BY, NOW, by, key, user},
};

const NONE: &Allowances = &Allowances { free: 0, pro: 0, enterprise: 0 };
const DAY: i64 = 24 * 3600;

fn ada() -> UserId {
    UserId::new("ada")
}

async fn with_ada(place: &Place, change: impl FnOnce(&mut User)) -> Arc<dyn Store> {
    let store = place.open().await;
    let mut ada = user("ada");
    change(&mut ada);
    store.insert_user(&ada, &BY).await.expect("inserted");
    store
}

fn posting(purpose: Purpose, amount: i64, key: &str) -> Posting {
    Posting { user: ada(), key: key.into(), purpose, amount, note: None }
}

fn entry(posted: Posted) -> (Entry, bool) {
    match posted {
        Posted::Done { entry, replayed } => (entry, replayed),
        other => panic!("not done: {other:?}"),
    }
}

fn take(id: &str, wanted: i64, least: i64) -> Take {
    let (id, expires_at) = (LeaseId::new(id), NOW.plus_seconds(60));
    Take { id, user: ada(), wanted, least, expires_at, share: 1, recall: false }
}

fn used(id: &str, used: i64) -> Used {
    Used { id: LeaseId::new(id), used }
}

async fn taken(store: &Arc<dyn Store>, take: Take) -> TakeOutcome {
    let call = LeaseCall { node: "n1".into(), take: vec![take], ..LeaseCall::default() };
    store.lease(&call, NONE, &BY).await.expect("leased").taken.remove(0)
}

/// (left, set aside, used) as the account says, after all of its ledger was added up.
async fn sums(store: &Arc<dyn Store>) -> (i64, i64, i64) {
    let account = store.account(&ada(), NONE, &BY).await.expect("an account");
    let mut entries = store.entries(&ada(), None, 100_000).await.expect("entries");
    entries.reverse();
    let mut tally = Tally::default();
    entries.iter().for_each(|entry| tally.add(entry));
    let open = store.open_reservations(&ada()).await.expect("reservations");
    let faults = tally.faults(&account, 0, &open);
    assert!(faults.is_empty(), "{faults:?}");
    let user = store.user(&ada()).await.expect("read").expect("the user");
    assert_eq!((user.tokens_remaining, user.tokens_used), (account.remaining, account.used));
    (account.remaining, account.reserved, account.used)
}

pub(crate) async fn a_share_is_taken_and_what_is_missing_is_recalled(place: &Place) {
    let store = with_ada(place, |ada| ada.tokens_remaining = 100).await;
    let head = store.head().await.expect("a head");
    let part = |id: &str, least, share| Take { share, ..take(id, 1_000, least) };
    for (id, least, share, wanted) in [("s1", 1, 4, 25), ("s2", 30, 8, 30), ("s3", 1, 100, 1), ("s4", 1, 1, 44)] {
        let TakeOutcome::Granted(one) = taken(&store, part(id, least, share)).await else { panic!("{id}") };
        assert_eq!(one.amount, wanted, "{id}");
    }
    let recalls = async || match store.since(&head, 100).await.expect("entries") {
        FeedPage::Entries(entries, _) => {
            let ours = Happening::Recall(ada());
            entries.iter().filter(|entry| entry.happening == ours).count()
        }
        FeedPage::Lost(_) => panic!("lost"),
    };
    assert_eq!(taken(&store, take("r1", 1, 1)).await, TakeOutcome::Exhausted { reserved: 100 });
    assert_eq!(recalls().await, 0, "nobody waits for it");
    let call =
        LeaseCall { node: "n1".into(), take: vec![Take { recall: true, ..take("r2", 1, 1) }], ..LeaseCall::default() };
    let receipt = store.lease(&call, NONE, &BY).await.expect("answered");
    assert_eq!((receipt.recalled, receipt.taken), (vec![ada()], vec![TakeOutcome::Exhausted { reserved: 100 }]));
    until("a recall is told", PATIENCE, || async { (recalls().await == 1).then_some(()) }).await;
    // Where nobody holds anything, nobody is asked for it.
    let settle = ["s1", "s2", "s3", "s4"].map(|id| used(id, 0)).to_vec();
    let all = LeaseCall { node: "n1".into(), settle, take: vec![take("s5", 100, 100)], ..LeaseCall::default() };
    assert!(matches!(store.lease(&all, NONE, &BY).await.expect("answered").taken[0], TakeOutcome::Granted(_)));
    let spent = LeaseCall {
        node: "n1".into(),
        settle: vec![used("s5", 100)],
        take: vec![Take { recall: true, ..take("r3", 1, 1) }],
        ..LeaseCall::default()
    };
    let receipt = store.lease(&spent, NONE, &BY).await.expect("answered");
    assert_eq!((receipt.recalled, receipt.taken), (vec![], vec![TakeOutcome::Exhausted { reserved: 0 }]));
    assert_eq!(sums(&store).await, (0, 0, 100));
}

pub(crate) async fn what_is_posted_stands_once(place: &Place) {
    let store = with_ada(place, |_| {}).await;
    let head = store.head().await.expect("head");
    let stamp = Stamp { actor: Actor::User(UserId::new("boss")), ..by(5) };
    let mut grant = posting(Purpose::Grant, 500, "g1");
    grant.note = Some("sorry \u{1F40C}".into());
    let (first, replayed) = entry(store.post(&grant, NONE, &stamp).await.expect("posted"));
    assert_eq!(
        (first.seq, first.kind, first.amount, first.balance, replayed),
        (1, EntryKind::Grant, 500, 10_500, false)
    );
    assert_eq!(
        (first.actor.as_str(), first.at, first.note.as_deref()),
        ("user:boss", stamp.at, Some("sorry \u{1F40C}"))
    );
    assert_eq!(entry(store.post(&grant, NONE, &by(9)).await.expect("posted")), (first.clone(), true));

    for (other, what) in [
        (Posting { amount: 501, ..grant.clone() }, "amount"),
        (Posting { note: None, ..grant.clone() }, "note"),
        (Posting { purpose: Purpose::Adjust, ..grant.clone() }, "purpose"),
    ] {
        let refused = store.post(&other, NONE, &stamp).await;
        assert!(matches!(refused, Err(StoreError::Conflict(Conflict::LedgerKey))), "{what}: {refused:?}");
    }
    store.insert_user(&user("bob"), &BY).await.expect("inserted");
    let bobs = Posting { user: UserId::new("bob"), ..grant.clone() };
    let refused = store.post(&bobs, NONE, &stamp).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::LedgerKey))), "{refused:?}");
    let nobodys = Posting { user: UserId::new("nobody"), ..posting(Purpose::Grant, 1, "g2") };
    assert!(matches!(store.post(&nobodys, NONE, &stamp).await, Err(StoreError::NotFound)));

    let (spent, _) = entry(store.post(&posting(Purpose::Consume, 300, "c1"), NONE, &by(6)).await.expect("posted"));
    assert_eq!((spent.seq, spent.amount, spent.used, spent.balance), (2, -300, 300, 10_200));
    let too_much = posting(Purpose::Consume, 10_201, "c2");
    assert_eq!(store.post(&too_much, NONE, &by(6)).await.expect("posted"), Posted::Exhausted);
    let (less, _) = entry(store.post(&posting(Purpose::Adjust, -10_000, "a1"), NONE, &by(7)).await.expect("posted"));
    assert_eq!((less.amount, less.used, less.balance), (-10_000, 0, 200));
    let below = store.post(&posting(Purpose::Adjust, -201, "a2"), NONE, &by(7)).await.expect("posted");
    assert_eq!(below, Posted::Exhausted);
    assert_eq!(sums(&store).await, (200, 0, 300));

    let FeedPage::Entries(told, _) = store.since(&head, 100).await.expect("feed") else { panic!("lost") };
    let told = told.iter().filter(|one| one.happening == Happening::User(ada())).count();
    assert_eq!(told, 2, "the grant and the adjustment");
    let of_ada = AuditFilter { subject: Some("ada".into()), ..AuditFilter::default() };
    let log = store.audit(&of_ada, None, 10).await.expect("audit");
    let actions: Vec<_> = log.iter().map(|(_, entry)| entry.action.as_str()).collect();
    assert_eq!(actions, ["tokens.adjusted", "tokens.granted", "user.created"]);
    let granted = log[1].1.after.as_ref().expect("after");
    assert_eq!((&granted["tokens_remaining"], &granted["amount"]), (&10_500.into(), &500.into()));
    assert_eq!(store.user(&ada()).await.expect("read").expect("ada").updated_at, NOW.plus_seconds(7));
}

pub(crate) async fn entries_come_in_pages(place: &Place) {
    let store = with_ada(place, |_| {}).await;
    for number in 1..=7 {
        store.post(&posting(Purpose::Grant, number, &format!("g{number}")), NONE, &BY).await.expect("posted");
    }
    let amounts = async |before, limit| -> Vec<i64> {
        store.entries(&ada(), before, limit).await.expect("entries").iter().map(|entry| entry.amount).collect()
    };
    assert_eq!(amounts(None, 3).await, [7, 6, 5]);
    assert_eq!(amounts(Some(5), 3).await, [4, 3, 2]);
    assert_eq!(amounts(Some(2), 3).await, [1]);
    assert!(amounts(Some(1), 3).await.is_empty());
    assert_eq!(amounts(Some(u64::MAX), 1).await, [7]);
    assert!(store.entries(&UserId::new("nobody"), None, 3).await.expect("entries").is_empty());
}

pub(crate) async fn reservations_take_what_is_there_and_no_more(place: &Place) {
    let store = with_ada(place, |ada| ada.tokens_remaining = 100).await;
    let TakeOutcome::Granted(first) = taken(&store, take("l1", 60, 1)).await else { panic!("not granted") };
    assert_eq!((first.amount, first.used, first.is_open, first.node.as_str()), (60, 0, true, "n1"));
    assert_eq!(taken(&store, take("l1", 60, 1)).await, TakeOutcome::Granted(first), "the same wish");
    assert_eq!(taken(&store, take("l2", 60, 41)).await, TakeOutcome::Exhausted { reserved: 60 });
    let TakeOutcome::Granted(second) = taken(&store, take("l2", 60, 40)).await else { panic!("not granted") };
    assert_eq!((second.amount, sums(&store).await), (40, (0, 100, 0)));
    assert_eq!(taken(&store, take("l3", 1, 1)).await, TakeOutcome::Exhausted { reserved: 100 });
    let mut nobodys = take("l4", 1, 1);
    nobodys.user = UserId::new("nobody");
    assert_eq!(taken(&store, nobodys).await, TakeOutcome::Unknown);
    assert_eq!(store.count_open_reservations().await.expect("a number"), 2);

    // What comes back goes first, and may be taken in the same message.
    let call = LeaseCall {
        node: "n1".into(),
        settle: vec![used("l2", 15), used("none", 1)],
        renew: vec![(used("l1", 20), NOW.plus_seconds(90)), (used("none", 1), NOW.plus_seconds(90))],
        take: vec![take("l5", 30, 1)],
    };
    let receipt = store.lease(&call, NONE, &BY).await.expect("leased");
    assert_eq!(receipt.settled, [UseOutcome::Ended, UseOutcome::Unknown]);
    let UseOutcome::Open(renewed) = &receipt.renewed[0] else { panic!("{receipt:?}") };
    assert_eq!((renewed.used, renewed.expires_at), (20, NOW.plus_seconds(90)));
    assert_eq!(receipt.renewed[1], UseOutcome::Unknown);
    let TakeOutcome::Granted(third) = &receipt.taken[0] else { panic!("{receipt:?}") };
    assert_eq!((third.amount, sums(&store).await), (25, (0, 65, 35)));
    let kinds: Vec<_> = receipt.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Usage, EntryKind::Settle, EntryKind::Usage, EntryKind::Reserve]);
    let again = store.lease(&call, NONE, &BY).await.expect("leased");
    assert_eq!((again.settled, again.renewed, again.taken), (receipt.settled, receipt.renewed, receipt.taken));
    assert!(again.entries.is_empty(), "nothing is made twice");
}

pub(crate) async fn late_doubled_and_excessive_reports_are_booked_once(place: &Place) {
    let store = with_ada(place, |ada| ada.tokens_remaining = 100).await;
    taken(&store, take("l1", 60, 1)).await;
    let report = async |number: u64, total| {
        let batch = Batch { node: "n1".into(), number, leases: vec![used("l1", total)], ..Batch::default() };
        store.book(&batch, NONE, &BY).await.expect("booked")
    };
    // (number of the batch, total) -> (left, set aside, used), uncovered
    for (number, total, wanted, uncovered) in [
        (1, 20, (40, 40, 20), 0),
        (1, 20, (40, 40, 20), 0),
        (3, 50, (40, 10, 50), 0),
        (2, 30, (40, 10, 50), 0),
        (4, 70, (30, 0, 70), 0),
        (5, 110, (0, 0, 110), 10),
    ] {
        report(number, total).await;
        let entries = store.entries(&ada(), None, 100).await.expect("entries");
        let found: i64 = entries.iter().map(|entry| entry.uncovered).sum();
        assert_eq!((sums(&store).await, found), (wanted, uncovered), "{number} {total}");
    }
    let call = LeaseCall { settle: vec![used("l1", 110)], ..LeaseCall::default() };
    store.lease(&call, NONE, &BY).await.expect("settled");
    store.post(&posting(Purpose::Grant, 10, "g"), NONE, &BY).await.expect("granted");
    let receipt = report(6, 115).await;
    assert_eq!(receipt.ended_leases, ["l1"]);
    assert_eq!(sums(&store).await, (5, 0, 115), "late, but not lost");
    let renew = LeaseCall { renew: vec![(used("l1", 116), NOW.plus_seconds(600))], ..LeaseCall::default() };
    assert_eq!(store.lease(&renew, NONE, &BY).await.expect("answered").renewed, [UseOutcome::Ended]);
    assert_eq!(taken(&store, take("l1", 5, 1)).await, TakeOutcome::Ended, "an old wish takes nothing again");
    assert_eq!(sums(&store).await, (4, 0, 116));
}

pub(crate) async fn what_nobody_renews_is_settled_at_its_last_report(place: &Place) {
    let store = with_ada(place, |ada| ada.tokens_remaining = 100).await;
    for (id, wanted) in [("l1", 30), ("l2", 30), ("l3", 30)] {
        taken(&store, take(id, wanted, 1)).await;
    }
    let renew = LeaseCall {
        renew: vec![(used("l1", 10), NOW.plus_seconds(60)), (used("l2", 5), NOW.plus_seconds(120))],
        ..LeaseCall::default()
    };
    store.lease(&renew, NONE, &by(30)).await.expect("renewed");
    assert!(store.settle_expired(10, NONE, &by(59)).await.expect("looked").is_empty());
    let settled = store.settle_expired(1, NONE, &by(60)).await.expect("settled");
    assert_eq!(settled.len(), 1, "one at a time where one is asked for");
    let rest = store.settle_expired(10, NONE, &by(60)).await.expect("settled");
    let mut back: Vec<i64> = settled.iter().chain(&rest).map(|entry| entry.amount).collect();
    back.sort_unstable();
    assert_eq!((back, sums(&store).await), (vec![20, 30], (60, 25, 15)));
    // Renewed too late: settled at what it says.
    let late = LeaseCall { renew: vec![(used("l2", 9), NOW.plus_seconds(500))], ..LeaseCall::default() };
    assert_eq!(store.lease(&late, NONE, &by(121)).await.expect("answered").renewed, [UseOutcome::Ended]);
    assert_eq!(sums(&store).await, (81, 0, 19));
    assert!(store.settle_expired(10, NONE, &by(999)).await.expect("looked").is_empty());
}

pub(crate) async fn a_batch_is_counted_once(place: &Place) {
    let store = with_ada(place, |_| {}).await;
    store.insert_key(&key("k1", "ada", 7), &BY).await.expect("inserted");
    let count = |user: &str, key: Option<&str>, requests, tokens, seconds| Count {
        user: UserId::new(user),
        key: key.map(KeyId::new),
        requests,
        tokens,
        last_used_at: NOW.plus_seconds(seconds),
    };
    let head = store.head().await.expect("head");
    let mut batch = Batch {
        node: "n1".into(),
        number: 1,
        counts: vec![
            count("ada", Some("k1"), 3, 30, -10),
            count("nobody", None, 5, 5, 0),
            count("ada", None, 1, 0, -20),
            count("ada", Some("k1"), 1, 1, -15),
        ],
        leases: vec![used("none", 4)],
    };
    let first = store.book(&batch, NONE, &BY).await.expect("booked");
    assert_eq!(
        (first.unknown_users.clone(), first.unknown_leases.clone()),
        (vec!["nobody".into()], vec!["none".into()])
    );
    assert!(!first.replayed);
    store.insert_user(&user("nobody"), &BY).await.expect("inserted");
    let again = store.book(&batch, NONE, &by(99)).await.expect("booked");
    assert_eq!((&again.unknown_users, &again.unknown_leases), (&first.unknown_users, &first.unknown_leases));
    assert!(again.replayed);
    batch.node = "n2".into();
    batch.counts = vec![count("ada", None, 1, 2, -DAY), count("ada", Some("k1"), 1, 0, -100)];
    store.book(&batch, NONE, &BY).await.expect("booked");

    let usage = store.daily_usage(&ada(), "2000-01-01", "2100-01-01").await.expect("usage");
    let day = |day: &str, key: Option<&str>, requests, tokens| DailyUsage {
        day: day.into(),
        key: key.map(KeyId::new),
        requests,
        tokens,
    };
    // The moment of these tests is 2027-01-15, 08:00.
    let today = "2027-01-15";
    assert_eq!(usage, [day("2027-01-14", None, 1, 2), day(today, None, 1, 0), day(today, Some("k1"), 5, 31)]);
    assert_eq!(store.daily_usage(&ada(), today, today).await.expect("usage").len(), 2);
    let last = async || store.keys_of(&ada()).await.expect("keys")[0].last_used_at;
    assert_eq!(last().await, Some(NOW.plus_seconds(-10)), "it only moves forward");
    // An Envoy whose clock runs ahead does not take the key along.
    batch.number = 2;
    batch.counts = vec![count("ada", Some("k1"), 1, 0, 5000)];
    store.book(&batch, NONE, &by(1)).await.expect("booked");
    assert_eq!(last().await, Some(NOW.plus_seconds(1)));
    let FeedPage::Entries(told, _) = store.since(&head, 100).await.expect("feed") else { panic!("lost") };
    let happenings: Vec<_> = told.into_iter().map(|one| one.happening).collect();
    assert_eq!(happenings, [Happening::User(UserId::new("nobody"))], "counting is not told");

    assert_eq!(store.forget_batches(NOW).await.expect("forgotten"), 0);
    assert_eq!(store.forget_batches(NOW.plus_seconds(10)).await.expect("forgotten"), 3);
}

pub(crate) async fn a_month_refills_once_whoever_asks_first(place: &Place) {
    let allowances = Allowances { free: 1_000, ..Allowances::default() };
    let (store, other) = (with_ada(place, |ada| ada.tokens_remaining = 40).await, place.open().await);
    let first = store.account(&ada(), &allowances, &by(20 * DAY)).await.expect("an account");
    assert_eq!((first.remaining, first.seq), (40, 0), "the first month needs none");
    let consume = posting(Purpose::Consume, 30, "c");
    store.post(&consume, &allowances, &by(20 * DAY)).await.expect("posted");

    let head = store.head().await.expect("head");
    let stores = [&store, &other];
    let asks = (0..16).map(|number| {
        let store = Arc::clone(stores[number % 2]);
        async move {
            let stamp = by(32 * DAY);
            let amount = i64::try_from(number).expect("small") + 1;
            let call = LeaseCall {
                node: "n".into(),
                take: vec![take(&format!("l{number}"), amount, amount)],
                ..LeaseCall::default()
            };
            match number % 4 {
                0 => drop(store.lease(&call, &allowances, &stamp).await.expect("leased")),
                _ => drop(store.account(&ada(), &allowances, &stamp).await.expect("an account")),
            }
        }
    });
    futures_all(asks).await;
    let entries = store.entries(&ada(), None, 100).await.expect("entries");
    let refills: Vec<_> = entries.iter().filter(|entry| entry.kind == EntryKind::Refill).collect();
    assert_eq!(refills.len(), 1, "{entries:?}");
    assert_eq!((refills[0].amount, refills[0].key.as_str()), (990, "refill:ada:2027-02-15"));
    assert_eq!(refills[0].actor, "system");
    let account = store.account(&ada(), &allowances, &by(33 * DAY)).await.expect("an account");
    assert_eq!((account.remaining + account.reserved, account.month_used), (1_000, 0));
    let FeedPage::Entries(told, _) = store.since(&head, 100).await.expect("feed") else { panic!("lost") };
    assert!(told.iter().any(|one| one.happening == Happening::User(ada())), "a refill is told");
}

pub(crate) async fn the_limit_of_a_month_holds(place: &Place) {
    let store = with_ada(place, |ada| ada.monthly_limit = Some(100)).await;
    store.post(&posting(Purpose::Consume, 50, "c1"), NONE, &BY).await.expect("posted");
    let TakeOutcome::Granted(lease) = taken(&store, take("l1", 80, 1)).await else { panic!("not granted") };
    assert_eq!(lease.amount, 50);
    let more = posting(Purpose::Consume, 1, "c2");
    assert_eq!(store.post(&more, NONE, &BY).await.expect("posted"), Posted::Exhausted);
    let settle = LeaseCall { settle: vec![used("l1", 49)], ..LeaseCall::default() };
    store.lease(&settle, NONE, &BY).await.expect("settled");
    entry(store.post(&more, NONE, &BY).await.expect("posted"));
    assert_eq!(taken(&store, take("l2", 1, 1)).await, TakeOutcome::Exhausted { reserved: 0 });
    let next_month = by(31 * DAY);
    entry(store.post(&posting(Purpose::Consume, 100, "c3"), NONE, &next_month).await.expect("posted"));
    let account = store.account(&ada(), NONE, &next_month).await.expect("an account");
    assert_eq!((account.month_used, account.used, account.remaining), (100, 200, 9_800));
    assert_eq!(account.month_start, Some(Timestamp::from_seconds(1_802_649_600)), "2027-02-15");
}

pub(crate) async fn many_at_once_never_take_what_is_not_there(place: &Place) {
    let store = with_ada(place, |ada| ada.tokens_remaining = 1_000).await;
    let other = place.open().await;
    let tasks = (0..32_i64).map(|number| {
        let store = Arc::clone(if number % 2 == 0 { &store } else { &other });
        tokio::spawn(async move {
            let mut got = 0;
            for round in 0..6 {
                let id = format!("l{number}-{round}");
                if let TakeOutcome::Granted(one) = taken(&store, take(&id, 17, 1)).await {
                    got += one.amount;
                    if round % 2 == 0 {
                        let batch = Batch {
                            node: format!("n{number}"),
                            number: round,
                            leases: vec![used(&id, one.amount)],
                            ..Batch::default()
                        };
                        store.book(&batch, NONE, &BY).await.expect("booked");
                    }
                }
                let posting = posting(Purpose::Consume, 5, &format!("c{number}-{round}"));
                if let Posted::Done { .. } = store.post(&posting, NONE, &BY).await.expect("posted") {
                    got += 5;
                }
            }
            got
        })
    });
    let got: i64 = futures_all(tasks).await.into_iter().map(|got| got.expect("a task")).sum();
    let (left, reserved, used) = sums(&store).await;
    assert_eq!((got, left), (1_000, 0), "all of it, and no more");
    assert_eq!(reserved + used, 1_000);
    assert_eq!(sums(&other).await, (left, reserved, used));
}
