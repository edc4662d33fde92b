//! How much memory Envoy has with the filter, beside the same Envoy without: at the start, with as many identities as a
//! worker remembers, and after many requests of which half are junk. It must not know what the filter keeps.

use std::{borrow::Cow, fmt::Write as _};

use tollgate_benches::{budget::Budget, process};
use tollgate_tests::http::{self, Request};

use crate::{
    Args,
    cases::Sent,
    chain::Chain,
    load::{self, CONNECTIONS},
    people::{self, KEYS, api, well_formed},
    world::{Edge, World},
};

/// API keys that are used: with the users of the tokens, about as many identities as a worker remembers at most.
const IDENTITIES: usize = 49_500;
/// Looks at the memory while requests come.
const STEPS: u64 = 5;
/// Of so many junk keys one has a good checksum, and is asked for at the control plane.
const ASKED: u64 = 100;
/// Numbers of keys that nobody has.
const NOBODY: u64 = 1 << 40;
const CHAINS: [Chain; 2] = [Chain::Tollgate, Chain::Bare];

/// What both Envoys have at one moment, in kB; and what the filter says that it remembers.
struct Stage {
    name: String,
    resident: [u64; 2],
    tokens: u64,
    identities: u64,
}

impl Stage {
    fn added(&self) -> f64 {
        self.resident[0] as f64 - self.resident[1] as f64
    }
}

/// Measures all stages. Returns the table.
pub(crate) async fn run(world: &mut World, args: &Args, budget: &Budget) -> String {
    world.end_edges();
    let number = args.requests;
    println!("memory: making {} more API keys", IDENTITIES - KEYS);
    let mut keys: Vec<Vec<u8>> = world.requests[&Sent::Keys].clone();
    keys.extend(people::keys(&world.stack, KEYS..IDENTITIES).await.iter().map(|(key, _)| api().api_key(key).bytes()));
    let first = world.requests[&Sent::Keys][0].clone();
    for chain in CHAINS {
        world.start(chain, &first, 200).await;
    }
    let mut stages = vec![look(world, "at the start").await];
    // Each key once.
    send(world, |_, connection| keys.iter().skip(connection).step_by(CONNECTIONS).map(|key| (Cow::from(key), 200)))
        .await;
    // And each user of a token.
    let tokens = &world.requests[&Sent::Tokens];
    send(world, |_, connection| {
        tokens.iter().skip(connection).step_by(CONNECTIONS).map(|token| (Cow::from(token), 200))
    })
    .await;
    let known =
        look(world, &format!("with {} API keys and the users of {} tokens known", keys.len(), tokens.len())).await;
    stages.push(known);
    for step in 0..STEPS {
        let numbers = number * step / STEPS..number * (step + 1) / STEPS;
        let requests = &world.requests;
        send(world, |chain, connection| {
            let mine = numbers.clone().skip(connection).step_by(CONNECTIONS);
            let keys = &keys;
            mine.map(move |number| {
                let place = usize::try_from(number / 2).expect("small");
                if number % 2 == 0 {
                    return (Cow::from(&keys[place % keys.len()]), 200);
                }
                (junk(requests, place), if chain == Chain::Bare { 200 } else { 401 })
            })
        })
        .await;
        stages.push(look(world, &format!("after {} further requests", numbers.end)).await);
    }
    world.end_edges();
    table(budget, &stages)
}

/// A request that is refused, unlike most before it.
fn junk(requests: &people::Requests, number: usize) -> Cow<'_, [u8]> {
    let of = |sent| {
        let all = &requests[&sent];
        Cow::from(&all[number / 4 % all.len()])
    };
    match number % 4 {
        0 => of(Sent::BadSignatures),
        1 => of(Sent::Expired),
        2 => Cow::from(api().bearer(&format!("junk.{number}.junk")).bytes()),
        _ => {
            let key = well_formed(NOBODY + number as u64);
            let is_asked = (number as u64 / 4).is_multiple_of(ASKED);
            Cow::from(api().api_key(&if is_asked { key } else { people::junk(&key) }).bytes())
        }
    }
}

async fn send<'r, I: Iterator<Item = load::Asked<'r>>>(world: &World, requests: impl Fn(Chain, usize) -> I) {
    for chain in CHAINS {
        let edge = world.edge(chain);
        load::each(edge.addr, edge.pid(), |connection| requests(chain, connection)).await;
    }
}

async fn look(world: &World, name: &str) -> Stage {
    let [ours, bare] = CHAINS.map(|chain| world.edge(chain));
    let resident = [ours, bare].map(|edge| process::resident(edge.pid()) / 1024);
    println!("memory: {name}: {} kB, without {} kB", resident[0], resident[1]);
    let (tokens, identities) =
        (stat(ours, "tollgate_cached_tokens").await, stat(ours, "tollgate_cached_identities").await);
    Stage { name: name.to_owned(), resident, tokens, identities }
}

async fn stat(edge: &Edge, name: &str) -> u64 {
    // The filter tells it each 100 ms.
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    let answer = http::send(edge.admin, &Request::get(&format!("/stats?filter={name}"))).await.expect("stats");
    answer.text().rsplit_once(": ").and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0)
}

fn table(budget: &Budget, stages: &[Stage]) -> String {
    let mut text = format!(
        "{}\n\nResident memory of Envoy with one worker, beside the same Envoy without a filter that gets the same requests. \
         The filter runs in one VM of the worker and one of the main thread; how much memory a VM has is not told by Envoy, so \
         the difference stands for it: V8, the compiled module, both VMs, what they share, and statistics. Half of the further \
         requests are known API keys in turn; the others are junk: bad signatures, expired tokens, what is no token, API \
         keys that nobody has, a hundredth of them with a good checksum.\n\n\
         | | with Tollgate MB | without MB | difference MB | remembered: identities | tokens |\n\
         | --- | --- | --- | --- | --- | --- |\n",
        tollgate_benches::machine()
    );
    for stage in stages {
        let [ours, bare] = stage.resident.map(|kb| kb as f64 / 1e3);
        let _ = writeln!(
            text,
            "| {} | {ours:.1} | {bare:.1} | {:.1} | {} | {} |",
            stage.name,
            stage.added() / 1e3,
            stage.identities,
            stage.tokens
        );
    }
    let [start, known, early, .., late] = stages else { unreachable!("all stages") };
    let each = (known.added() - start.added()) * 1e3 / known.identities.max(1) as f64;
    let ratio = late.added() / early.added();
    let _ = write!(
        text,
        "\nAn identity takes {each:.0} bytes of it.\n\n| | ratio | target | |\n| --- | --- | --- | --- |\n\
         | difference after all requests ÷ after the first fifth of them | {ratio:.2} | {} |\n",
        budget.verdict("memory: flat", ratio)
    );
    text
}
